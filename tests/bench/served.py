"""
A member in a process of its own, for the cases that need several, or a memory that is theirs alone.

    python -m tests.bench.served BOOTSTRAP PREFIX SHARDS serve | notes | restore | bare

`serve` does what it is told line by line on its standard input: `begin` measuring, `end N` it once N
shards are quiet, `quiet N`; each is answered by a line of JSON. `notes` also tells of every callback
that starts. `restore` takes every shard over, `bare` reads the same records into a dict: one line says
how long it took and how much memory. `members.py` and `restoring.py` start these.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from event_center.engine.member import Member
from event_center.log.kafka import KafkaOptions, heap, open_kafka
from event_center.plugins.context import Context
from tests.bench.broker import options_at
from tests.bench.measure import Meter
from tests.bench.work import clock, member_on, plan, silence, totals
from tests.waiting import until_true


def _say(**told: object) -> None:
    print(json.dumps(told), flush=True)


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _notes(ctx: Context) -> None:
    _say(started=ctx.workflow_id, at=time.monotonic())


async def _serve(options: KafkaOptions, shards: int, *, notes: bool) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    log = await open_kafka(options, clock=clock)
    meter, before = Meter(), 0
    async with member_on(log, plan(_notes if notes else None, shards)) as member:
        while line := (await lines.readline()).decode().split():
            match line:
                case ["quiet", count]:
                    await _quiet(member, int(count))
                    _say(shards=sorted(member.owners))
                case ["begin"]:
                    before = totals(member).get("applied", 0)
                    meter.__enter__()
                    _say(begun=True)
                case ["end", count]:
                    await _quiet(member, int(count))
                    meter.__exit__(None, None, None)
                    reading = meter.reading(totals(member).get("applied", 0) - before)
                    _say(**reading._asdict())
                case _:
                    raise ValueError(f"told {line}, which means nothing here")
    await log.close()


async def _quiet(member: Member, shards: int) -> None:
    """Wait until so many shards are ours, all is decided, and nothing runs."""

    async def done() -> bool:
        return len(await member.quiet()) == shards

    await until_true(done)


async def _opened(member: Member, shards: int) -> bool:
    """Whether so many shards are ours and can take records."""
    return sum(owner.ready for owner in member.owners.values()) == shards


async def _restore(options: KafkaOptions, shards: int) -> None:
    log = await open_kafka(options, clock=clock)
    before, meter = resident(), Meter()
    with meter:
        member = Member(log, plan(None, shards))
        running = asyncio.get_running_loop().create_task(member.run())
        await until_true(lambda: _opened(member, shards))
    await asyncio.sleep(2 * heap.LATER_S)  # what was read through has gone back by then
    held = sum(len(one._parts.workflows.by_id) for one in member.owners.values() if one._parts)
    _say(**meter.reading(held)._asdict(), resident=resident() - before)
    await member.stop()
    await running
    await log.close()


async def _bare(options: KafkaOptions, shards: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=options.bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    topic = options.topic_prefix + options.snapshots
    places = [TopicPartition(topic, q) for q in range(shards)]
    consumer.assign(places)
    for place in places:
        consumer.seek(place, 0)
    ends = await consumer.end_offsets(places)
    found: dict[bytes, bytes] = {}
    before, meter = resident(), Meter()
    with meter:
        while places:
            for records in (await consumer.getmany(timeout_ms=50, max_records=10_000)).values():
                for record in records:
                    found[record.key] = record.value
            places = [one for one in places if await consumer.position(one) < ends[one]]
    _say(**meter.reading(len(found))._asdict(), resident=resident() - before)
    await consumer.stop()


def main() -> None:
    """Read the arguments and do it."""
    bootstrap, prefix, shards, what = sys.argv[1:]
    options = options_at(bootstrap, prefix)
    with silence():
        match what:
            case "restore":
                asyncio.run(_restore(options, int(shards)))
            case "bare":
                asyncio.run(_bare(options, int(shards)))
            case _:
                asyncio.run(_serve(options, int(shards), notes=what == "notes"))


if __name__ == "__main__":
    main()
