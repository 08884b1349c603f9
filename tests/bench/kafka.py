"""
Case `kafka`: the whole engine on a Kafka broker of its own, exactly once, beside a bare loop on it.

Eight shards, history on. A member serves workflows that exist; then a backlog appears at once and is
measured until it is decided and durable. Without and with a callback every event is for another
workflow, so that nothing collapses in a cut. The bare loop fetches, parses, counts in a dict, dumps,
and writes as many records of the same sizes, with a transactional producer per partition: for a
callback, those of both cuts in one transaction. By CPU of
this process; callbacks that wait, and an idle system, by the clock on the wall.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import anyio
import orjson
from aiokafka import AIOKafkaProducer

from event_center.log.kafka import KafkaLog
from event_center.model import Shard
from event_center.plugins.context import Context
from scripts.broker import NoBroker
from tests.bench.broker import Site, broker, broker_cpu_s
from tests.bench.measure import Meter, Reading, Readings, in_turns
from tests.bench.measure import run as run_side
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import (
    APP,
    TOPIC,
    Size,
    Work,
    check_applied,
    make_topics,
    member_on,
    plan,
    record,
)

EVENTS = 100_000
SHARDS = 8
FEW_WORKFLOWS = 10_000
TRANSACTION = 5_000
"""Records that the bare loop asks for at once."""
WAIT_S = 0.01
PUBLISHED = 200
"""Events of an idle system."""
HISTORY = f"{APP}.history"
SNAPSHOTS = f"{APP}.snapshots"

WITHOUT_CALLBACK = Target(limit=11, at_least=False)
BESIDE_BARE = Target(limit=1.6, at_least=False)
WITH_CALLBACK = Target(limit=13, at_least=False)
CATCHING_UP = Target(limit=9, at_least=False)
BESIDE_EIGHT = Target(limit=1.5, at_least=False)
WAITING = Target(limit=35_000)
HALF_START = Target(limit=15, at_least=False)
ALL_START = Target(limit=50, at_least=False)


class Sizes(NamedTuple):
    """The mean sizes of what the engine writes, in bytes."""

    snapshot: int
    history: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What one side of the case does."""

    events: int
    workflows: int
    shards: int = SHARDS
    work: Work | None = None
    ids: bool = False


def run(size: Size) -> list[Row]:
    """Measure the case; without a broker it says why not."""
    try:
        broker()
    except NoBroker as error:
        return [Row(case="kafka", what="event_center on Kafka", note=f"no broker: {error}")]
    events = size.or_else(EVENTS)
    few = min(events, FEW_WORKFLOWS)
    written: list[Sizes] = []
    served: list[Reading] = []
    loads = {
        "engine": Load(events=events, workflows=events),
        "ids": Load(events=events, workflows=events, ids=True),
        "callback": Load(events=events, workflows=events, work=_goes_on),
        "catching up": Load(events=events, workflows=few),
        "64 shards": Load(events=events, workflows=events, shards=size.shards),
        "waits": Load(events=events, workflows=few, work=_waits),
    }
    sides = {name: partial(_engine, load, written, served) for name, load in loads.items()}
    bare = {
        "bare": partial(_bare, events, written, 1),
        "bare, twice": partial(_bare, events, written, 2),
    }
    found = in_turns({"engine": sides.pop("engine"), **bare, **sides}, size.rounds)
    idle = partial(_idle, min(events, PUBLISHED), size.apart_s)
    delays = [run_side(idle) for _ in range(size.rounds)]
    return [*_cpu_rows(found), _broker_row(served), *_wall_rows(found, delays)]


def _cpu_rows(found: Readings) -> list[Row]:
    return [
        _cpu(found, "bare", "bare transactional loop, 1 snapshot + 1 record per event"),
        _cpu(found, "engine", "engine, no callback", WITHOUT_CALLBACK),
        _ratio(found, ("engine", "bare"), "engine / bare loop", BESIDE_BARE),
        _cpu(found, "ids", "engine, no callback, events with ids"),
        _cpu(found, "bare, twice", "bare transactional loop, 2 snapshots + 2 records per event"),
        _cpu(found, "callback", "engine, awaited entry callback", WITH_CALLBACK),
        _cpu(found, "catching up", "engine, 10,000 workflows in turn", CATCHING_UP),
        _ratio(found, ("64 shards", "engine"), "64 shards / 8 shards", BESIDE_EIGHT),
    ]


def _cpu(found: Readings, side: str, what: str, target: Target | None = None) -> Row:
    return one_side(
        "kafka",
        what,
        found[side],
        value=lambda reading: reading.cpu_us,
        unit="us",
        higher=False,
        target=target,
    )


def _ratio(found: Readings, sides: tuple[str, str], what: str, target: Target) -> Row:
    return two_sides(
        "kafka",
        what,
        (found[sides[0]], found[sides[1]]),
        value=lambda reading: reading.cpu_us,
        compare=lambda one, other: one / other,
        unit="x",
        higher=False,
        target=target,
    )


def _broker_row(served: list[Reading]) -> Row:
    return one_side(
        "kafka",
        "CPU of the broker, no callback, 8 shards",
        served,
        value=lambda reading: reading.cpu_us,
        unit="us",
        higher=False,
    )


def _wall_rows(found: Readings, delays: list[list[float]]) -> list[Row]:
    rows = [
        one_side(
            "kafka",
            "callback waits 10 ms, 10,000 workflows",
            found["waits"],
            value=lambda reading: reading.per_s,
            unit="/s",
            target=WAITING,
        )
    ]
    for what, share, target in (("p50", 0.5, HALF_START), ("p99", 0.99, ALL_START)):
        values = [_quantile(one, share) * 1e3 for one in delays]
        rows.append(
            Row(
                case="kafka",
                what=f"publish to start of the callback, idle, {what}",
                unit="ms",
                median=statistics.median(values),
                best=min(values),
                target=target,
            )
        )
    return rows


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def _goes_on(ctx: Context) -> None:
    """An entry callback that does not suspend."""


async def _waits(ctx: Context) -> None:
    await anyio.sleep(WAIT_S)


# -- the engine ------------------------------------------------------------------------------------


async def _engine(load: Load, written: list[Sizes], served: list[Reading]) -> Reading:
    """Workflows that exist, and a backlog that appears at once."""
    of = plan(load.work, load.shards)
    async with Site.opened(load.shards) as site:
        log = await site.log()
        await make_topics(log, of)
        await (await site.stage(load.workflows, load.workflows)).reveal()
        async with member_on(log, of) as member:
            await member.until_idle()
            staged = await site.stage(load.events, load.workflows, ids=load.ids)
            before_s = broker_cpu_s()
            with Meter() as meter:
                await staged.reveal()
                await member.until_idle()
            after_s = broker_cpu_s()
            check_applied(member, load.workflows + load.events)
        reading = meter.reading(load.events)
        plain = load.work is None and not load.ids and load.shards == SHARDS
        if plain and load.workflows == load.events:
            written.append(await _sizes(log))
            served.append(Reading(load.events, after_s - before_s, reading.wall_s))
    return reading


async def _sizes(log: KafkaLog) -> Sizes:
    """What the engine wrote, as one shard has it."""
    shard = Shard(0)
    snapshots = [len(value) async for batch in log.entries(shard) for _, value in batch]
    history = [len(r.value or b"") async for batch in log.read(HISTORY, shard) for r in batch]
    return Sizes(round(statistics.mean(snapshots)), round(statistics.mean(history)))


async def _idle(events: int, apart_s: float) -> list[float]:
    """How long after its publishing each of these events starts its callback, in seconds."""
    started: dict[str, float] = {}

    async def notes(ctx: Context) -> None:
        started.setdefault(ctx.workflow_id, time.perf_counter())

    of = plan(notes, SHARDS)
    published: dict[str, float] = {}
    async with Site.opened(SHARDS) as site:
        log, publisher = await site.log(), await site.log()
        await make_topics(log, of)
        async with member_on(log, of) as member:
            await publisher.publish([record(events, events + 1)])
            await member.until_idle()
            for number in range(events):
                event = record(number, events + 1)
                published[(event.key or b"").decode()] = time.perf_counter()
                await publisher.publish([event])
                await anyio.sleep(apart_s)
            await member.until_idle()
    return [started[name] - at for name, at in published.items()]


# -- the bare loop ---------------------------------------------------------------------------------


async def _bare(events: int, written: list[Sizes], times: int) -> Reading:
    sizes = written[-1] if written else Sizes(snapshot=200, history=200)
    async with Site.opened(SHARDS) as site:
        log = await site.log()
        await make_topics(log, plan(None, SHARDS))
        await log.create({SNAPSHOTS: SHARDS})
        writers = [await site.producer(f"bare-{q}") for q in range(SHARDS)]
        staged = await site.stage(events, events)
        consumer, _ = await site.consumer(TOPIC)
        loop = _Loop(site, writers, sizes, times)
        with Meter() as meter:
            await staged.reveal()
            while loop.done < events:
                got = await consumer.getmany(timeout_ms=200, max_records=TRANSACTION)
                async with asyncio.TaskGroup() as tasks:
                    for place, records in got.items():
                        tasks.create_task(loop.cut(place.partition, records))
    return meter.reading(events)


class _Loop:
    """Counts each workflow's events so many times, a transaction per partition at once."""

    def __init__(
        self, site: Site, writers: list[AIOKafkaProducer], sizes: Sizes, times: int
    ) -> None:
        self._writers = writers
        self._topics = site.real(SNAPSHOTS), site.real(HISTORY)
        self._padding = "s" * max(0, sizes.snapshot - 20), "h" * max(0, sizes.history - 60)
        self._times = range(times)
        self._state: dict[str, dict[str, Any]] = {}
        self.done = 0

    async def cut(self, partition: int, records: list[Any]) -> None:
        """Decide these records and commit what came of them."""
        loads, dumps = orjson.loads, orjson.dumps
        padding, told = self._padding
        snapshots, history = [], []
        for got in records:
            body = loads(got.value)
            name = body["workflow_id"]
            known = self._state.get(name) or {"n": 0, "data": padding}
            for _ in self._times:
                self._state[name] = known = {**known, "n": known["n"] + 1}
                snapshots.append((got.key, dumps(known)))
                history.append(
                    (got.key, dumps({"workflow": name, "event": body["event"], "t": told}))
                )
        writer = self._writers[partition]
        await writer.begin_transaction()
        sent = []
        for topic, lines in zip(self._topics, (snapshots, history), strict=True):
            batch = writer.create_batch()
            for key, value in lines:
                if batch.append(timestamp=None, key=key, value=value) is None:
                    sent.append(await writer.send_batch(batch, topic, partition=partition))
                    batch = writer.create_batch()
                    batch.append(timestamp=None, key=key, value=value)
            sent.append(await writer.send_batch(batch, topic, partition=partition))
        for future in sent:
            await future
        await writer.commit_transaction()
        self.done += len(records)
