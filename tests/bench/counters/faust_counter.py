"""
The counter of the case `stream-peers`, as a program of Faust.

    python faust_counter.py BOOTSTRAP APP EVENTS COUNTS WAIT_S

Exactly once: the count in its table and the record that it writes leave in one transaction, with the
offsets. One event is dealt with after the other: a table allows no more. `stream_sides.py` starts it,
in an environment that has Faust and not this project.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import Any

import faust
import orjson

COMMIT_S = 0.1
SHARDS = 8


def main() -> None:
    """Count until somebody ends the process."""
    bootstrap, name, events, counts, wait_s = sys.argv[1:]
    wait = float(wait_s)
    app = faust.App(
        name,
        broker=f"aiokafka://{bootstrap}",
        store="memory://",
        datadir=tempfile.mkdtemp(),
        processing_guarantee="exactly_once",
        broker_commit_interval=COMMIT_S,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        topic_partitions=SHARDS,
        topic_replication_factor=1,
        topic_disable_leader=True,
        web_enabled=False,
    )
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw"}
    source = app.topic(events, **raw, value_serializer="raw", partitions=SHARDS)
    target = app.topic(counts, **raw, value_serializer="raw", partitions=SHARDS)
    table = app.Table("counts", default=int, partitions=SHARDS, key_type=str, value_type=int)

    async def count(stream: Any) -> None:
        async for key, value in stream.items():
            workflow_id = orjson.loads(value)["workflow_id"]
            if wait:
                await asyncio.sleep(wait)
            known = table[workflow_id] + 1
            table[workflow_id] = known
            told = {"workflow_id": workflow_id, "event": "counted", "payload": {"count": known}}
            await target.send(key=key, value=orjson.dumps(told))

    app.agent(source)(count)
    app.finalize()
    faust.Worker(app, loglevel="warn").execute_from_commandline()


if __name__ == "__main__":
    main()
