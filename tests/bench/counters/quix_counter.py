"""
The counter of the case `stream-peers`, as a program of Quix Streams.

    python quix_counter.py BOOTSTRAP APP EVENTS COUNTS WAIT_S

Exactly once: the count in its state store and the record that it writes leave in one transaction,
with the offsets. It waits as its users would, which holds up everything else of the process.
`stream_sides.py` starts it, in an environment that has Quix Streams and not this project.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

from quixstreams import Application

COMMIT_S = 0.1


def main() -> None:
    """Count until somebody ends the process."""
    bootstrap, name, events, counts, wait_s = sys.argv[1:]
    wait = float(wait_s)
    app = Application(
        broker_address=bootstrap,
        consumer_group=name,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_S,
        # It looks whether to commit between two polls: a longer one would delay the last commit.
        consumer_poll_timeout=COMMIT_S,
        state_dir=tempfile.mkdtemp(),
        loglevel="WARNING",
    )

    def count(event: dict[str, Any], state: Any) -> dict[str, Any]:
        if wait:
            time.sleep(wait)
        known = state.get("count", 0) + 1
        state.set("count", known)
        return {
            "workflow_id": event["workflow_id"],
            "event": "counted",
            "payload": {"count": known},
        }

    stream = app.dataframe(app.topic(events, value_deserializer="json"))
    stream.apply(count, stateful=True).to_topic(app.topic(counts, value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main()
