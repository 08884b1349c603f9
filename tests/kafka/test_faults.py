"""Owners that stand still at the worst moment, and brokers that do: who comes back changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from event_center.errors import Fenced, Unknown
from event_center.failpoint import Step
from event_center.log.gates import Place
from event_center.log.kafka import KafkaLog, open_kafka
from event_center.model import Shard
from scripts.broker import Broker
from tests.crash import daemon
from tests.forked import Forked
from tests.kafka.harness import KafkaHarness
from tests.kafka.project import Project
from tests.log.harness import clock, joined, puts, records_of, restored
from tests.waiting import PATIENCE_S, until_stopped, until_true

EVENTS = 60
IMPATIENT = {
    "EVENT_CENTER__LOG__KAFKA__TRANSACTION_TIMEOUT": "1s",
    "EVENT_CENTER__LOG__KAFKA__REQUEST_TIMEOUT": "1s",
}
"""So that much runs out while a broker is away for a short time."""


class Center(Project):
    """A project whose daemons end or stand still at a step, and whose log can be looked at."""

    def at(self, *arguments: str) -> Forked:
        """Start a daemon that ends once all is done, if it does not end or stop at a step before."""
        return self.started(daemon.main, [str(self.settings), *arguments])

    @asynccontextmanager
    async def log(self) -> AsyncIterator[KafkaLog]:
        """Its log, for one who only reads."""
        options = replace(KafkaHarness(self.bootstrap).options, topic_prefix=self.prefix, app=APP)
        log = await open_kafka(options, clock=clock)
        try:
            yield log
        finally:
            await log.close()

    async def until_nothing_is_open(self) -> None:
        """Wait until a transaction that was open in the snapshots is over."""
        places = [(f"{APP}.snapshots", q) for q in range(4)]
        async with self.log() as log:

            async def is_over() -> bool:
                return not await is_open(log, places)

            await until_true(is_over)

    async def broken(self) -> list[str]:
        """Promises that what is durable breaks, in the words of a reader who knows the formats."""
        async with self.log() as log:
            found: list[str] = []
            outcomes: Counter[tuple[str, int, int]] = Counter()
            for q in range(4):
                snapshots = await records_of(log, f"{APP}.snapshots", q)
                found += going_back([(one.key or b"", one.value) for one in snapshots], q)
                for record in await records_of(log, f"{APP}.history", q):
                    told = orjson.loads(record.value or b"")["data"]
                    if "offset" in told:
                        outcomes[told["topic"], told["partition"], told["offset"]] += 1
                for record in await records_of(log, "orders", q):
                    times = outcomes["orders", q, record.offset]
                    if times != 1:
                        found.append(f"P1: orders/{q}/{record.offset} has {times} outcomes")
            return found


APP = "event-center"


async def is_open(log: KafkaLog, places: Sequence[Place]) -> bool:
    """Whether a transaction is open in one of these partitions."""
    reading = log._cluster.reading
    stable = await reading._offsets(reading._stable.end_offsets, places)
    return stable != await reading.highs(places)


def going_back(written: list[tuple[bytes, bytes | None]], shard: int) -> list[str]:
    """P2 and P6: cuts are numbered without a gap, and no snapshot has a lower seq than the one before."""
    found, cut, seqs = [], 0, dict[bytes, int]()
    for key, value in written:
        if key == b"shard":
            body: Any = orjson.loads(value or b"")
            if body["cut"] != cut + 1:
                found.append(f"P6: shard {shard} has cut {body['cut']} after {cut}")
            cut = body["cut"]
            if body["read"] != sum(body["outcomes"].values()) + sum(body["waiting"].values()):
                found.append(f"P1: cut {cut} of shard {shard} does not add up")
        elif key.startswith(b"s:") and value is not None:
            seq = orjson.loads(value.partition(b"\n")[2])["seq"]
            if seq < seqs.get(key, -1):
                found.append(f"P6: {key!r} goes back to seq {seq}")
            seqs[key] = seq
    return found


@pytest.fixture
def center(tmp_path: Path) -> Iterator[Center]:
    """The order example on the broker of all tests."""
    made = Center(tmp_path)
    yield made
    made.close()


def test_the_reader_finds_what_is_wrong() -> None:
    """A cut that is missing, a snapshot that goes back and counters that do not add up are seen."""

    def entry(cut: int, read: int) -> tuple[bytes, bytes]:
        body = {"cut": cut, "read": read, "outcomes": {"applied": 1}, "waiting": {"queued": 0}}
        return b"shard", orjson.dumps(body)

    well: list[tuple[bytes, bytes | None]] = [(b"s:w", b'x\n{"seq": 2}'), entry(1, 1)]
    assert going_back(well, 0) == []
    assert len(going_back([*well, (b"s:w", b'x\n{"seq": 1}'), entry(3, 2)], 0)) == 3


@pytest.mark.parametrize(
    "step", [Step.LOG_BEGUN, Step.LOG_WRITTEN, Step.LOG_COMMITTED, Step.CUT_BUILT]
)
def test_a_zombie_that_wakes_up(center: Center, step: Step) -> None:
    """A daemon stands still in the middle of a cut, another takes over; awake again it harms nothing."""
    center.publish(0, EVENTS)
    zombie = center.at("--step", step, "--nth", "2", "--halt")
    until_stopped(zombie.pid)
    other = center.at()
    assert other.wait(PATIENCE_S) == 0, center.said()
    os.kill(zombie.pid, signal.SIGCONT)
    assert zombie.wait(PATIENCE_S) == 0, center.said()
    assert asyncio.run(center.broken()) == []
    stats = center.told("stats")
    assert stats["events"]["applied"] == stats["events"]["read"] == EVENTS
    assert stats["workflows"]["by_state"]["order"] == {"completed": EVENTS}


@pytest.mark.parametrize("step", [Step.TAKEOVER_FENCED, Step.TAKEOVER_RESTORED])
def test_a_daemon_that_dies_in_a_takeover(center: Center, step: Step) -> None:
    """The next daemon takes over as if it had never been there."""
    center.publish(0, EVENTS)
    assert center.at().wait(PATIENCE_S) == 0, center.said()
    center.publish(EVENTS, 2 * EVENTS)
    dead = center.at("--step", step, "--nth", "2")
    assert dead.wait(PATIENCE_S) == -signal.SIGKILL
    assert center.at().wait(PATIENCE_S) == 0, center.said()
    assert asyncio.run(center.broken()) == []
    assert center.told("stats")["events"]["applied"] == 2 * EVENTS


def test_a_broker_that_is_silent_and_one_that_is_gone(broker: Broker, tmp_path: Path) -> None:
    """P8: whatever ran out meanwhile, all goes on by itself when the broker is back, and is there once."""
    center = Center(tmp_path, broker.bootstrap)
    patient = center.environment
    try:
        center.publish(0, EVENTS)
        center.environment = patient | IMPATIENT
        daemon = center.daemon()
        center.environment = patient  # who publishes, and gives up, would not try again by itself
        center.until(lambda stats: stats["transitions"] > 0)
        pid = broker.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        time.sleep(
            4
        )  # the clients measure real time: longer than the session, a call, a transaction
        os.kill(pid, signal.SIGCONT)
        center.until(lambda stats: stats["events"]["applied"] == EVENTS)
        center.publish(EVENTS, 2 * EVENTS)
        broker.kill()
        time.sleep(4)
        broker.start()
        center.until(lambda stats: stats["transitions"] == 4 * EVENTS)
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 0, center.said()
        assert asyncio.run(center.broken()) == []
    finally:
        center.end()


def test_an_owner_that_stood_still_for_longer_than_its_transaction(tmp_path: Path) -> None:
    """Nobody else took over: it wakes up without its transaction, and goes on from what is durable."""
    center = Center(tmp_path, session="30s")
    try:
        center.publish(0, EVENTS)
        center.environment |= {"EVENT_CENTER__LOG__KAFKA__TRANSACTION_TIMEOUT": "1s"}
        owner = center.at("--step", Step.LOG_WRITTEN, "--nth", "2", "--halt")
        until_stopped(owner.pid)
        asyncio.run(center.until_nothing_is_open())
        os.kill(owner.pid, signal.SIGCONT)
        assert owner.wait(PATIENCE_S) == 0, center.said()
        assert "shard.lease_lost" in center.said()  # its transaction was open, and is no more
        assert asyncio.run(center.broken()) == []
        stats = center.told("stats")
        assert stats["events"]["applied"] == stats["events"]["read"] == EVENTS
        assert stats["workflows"]["by_state"]["order"] == {"completed": EVENTS}
    finally:
        center.close()


async def test_a_transaction_that_timed_out(kafka_harness: KafkaHarness) -> None:
    """An owner that stood still for longer than its transaction has lost it, and takes over anew."""
    options = replace(
        kafka_harness.options, transaction_timeout_s=1.0, request_timeout_s=PATIENCE_S
    )
    log = await open_kafka(options, clock=clock)
    kafka_harness.logs.append(log)
    await log.create({"orders": 1})

    async def is_over() -> bool:
        return not await is_open(log, [(options.snapshots, 0)])

    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        old: Any = member.leases[Shard(0)]
        await old.commit(puts({b"a": b"1"}))
        old._delivery._producer = Slow(old._delivery._producer, is_over)
        with pytest.raises((Fenced, Unknown)):
            await old.commit(puts({b"a": b"2"}))
        newer = await member.group.lease(Shard(0), member.tokens[Shard(0)])
        assert await restored(newer) == {b"a": b"1"}
        await newer.commit(puts({b"a": b"3"}))


class Slow:
    """A producer that stands still between its batches and its commit until this is so."""

    def __init__(self, producer: Any, condition: Callable[[], Awaitable[bool]]) -> None:
        self._producer = producer
        self._condition = condition

    async def commit_transaction(self) -> None:
        await until_true(self._condition)
        await self._producer.commit_transaction()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)
