"""
Every protection of a takeover once more without it: what it is for then happens.

The protections are switched off by replacing parts of the log in the test; there is no option for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from event_center.errors import Fenced
from event_center.log.gates import Place
from event_center.log.kafka import KafkaLog, KafkaOptions, open_kafka
from event_center.log.kafka.reading import Reading
from event_center.log.kafka.supply import Supply
from event_center.log.port import Batch
from event_center.model import Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import clock, entries_of, joined, numbered, puts, restored
from tests.waiting import until

PROTECTED = pytest.mark.parametrize("protected", [True, False])


def name_of_its_own(options: KafkaOptions, shard: int) -> str:
    """For producers that have other names in each process: none of them fences another."""
    return f"{options.group_id}.{shard}.{id(options)}"


@PROTECTED
async def test_the_fence(
    kafka_harness: KafkaHarness, protected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A former owner's late cut is refused; where producers do not fence, it overwrites the new one's."""
    if not protected:
        monkeypatch.setattr(KafkaOptions, "transactional_id", name_of_its_own)
    first, second = await kafka_harness.open(), await own_log(kafka_harness)
    await first.create({"orders": 1})
    async with await joined(first, ["orders"], 1) as zombie:
        await zombie.has(0)
        old = zombie.leases[Shard(0)]
        await old.commit(puts({b"seq": b"1"}))
        await kafka_harness.crash(first)
        async with await joined(second, ["orders"], 1) as owner:
            await owner.has(0)
            await owner.leases[Shard(0)].commit(puts({b"seq": b"2"}))
            late = old.commit(puts({b"seq": b"1 again"}))
            if protected:
                with pytest.raises(Fenced):
                    await late
            else:
                await late
            found = await entries_of(second, 0)
            assert found == {b"seq": b"2" if protected else b"1 again"}


async def own_log(harness: KafkaHarness) -> KafkaLog:
    """A log with options of its own, as another process has."""
    log = await open_kafka(replace(harness.options), clock=clock)
    harness.logs.append(log)
    return log


@PROTECTED
async def test_the_fence_comes_before_the_restore(
    kafka_harness: KafkaHarness, kafka_log: KafkaLog, protected: bool
) -> None:
    """What a former owner commits until it is fenced is restored; read before, it would be missed."""
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        old = member.leases[Shard(0)]
        await old.commit(puts({b"a": b"1"}))
        other = await kafka_harness.open()
        if protected:
            await old.commit(puts({b"a": b"2"}))
            lease = await member.group.lease(Shard(0), member.tokens[Shard(0)])
            memory = await restored(lease)
            with pytest.raises(Fenced):
                await old.commit(puts({b"a": b"3"}))
        else:
            memory = await entries_of(other, 0)
            await old.commit(puts({b"a": b"2"}))
            await member.group.lease(Shard(0), member.tokens[Shard(0)])
        assert (memory == await entries_of(other, 0)) is protected


@PROTECTED
async def test_the_target_counts_open_transactions(
    kafka_harness: KafkaHarness,
    kafka_log: KafkaLog,
    protected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A foreign writer's open transaction delays a restore; to what is committed, it would be short."""
    if not protected:
        monkeypatch.setattr(Reading, "highs", committed_ends)
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        old = member.leases[Shard(0)]
        await old.commit(puts({b"a": b"1"}))
        stranger = await foreign_writer(kafka_harness)
        await old.commit(puts({b"a": b"2"}))
        lease = await member.group.lease(Shard(0), member.tokens[Shard(0)])
        async with asyncio.TaskGroup() as tasks:
            restoring = tasks.create_task(restored(lease))
            if protected:
                await asyncio.wait([restoring], timeout=1.0)
                assert not restoring.done()
            else:
                await asyncio.wait([restoring])
            await stranger.abort_transaction()
        assert restoring.result() == {b"a": b"2" if protected else b"1"}
        await stranger.stop()


async def committed_ends(self: Reading, places: Iterable[Place]) -> dict[Place, int]:
    """Where what is committed ends, as a read_committed consumer says."""
    return await self._offsets(self._stable.end_offsets, places)


async def foreign_writer(harness: KafkaHarness) -> AIOKafkaProducer:
    """Somebody who may not write to the snapshots, and does: its transaction is open."""
    made = AIOKafkaProducer(
        bootstrap_servers=harness.options.bootstrap,
        transactional_id=f"{harness.options.topic_prefix}stranger",
    )
    await made.start()
    await made.begin_transaction()
    real = harness.options.topic_prefix + harness.options.snapshots
    await made.send_and_wait(real, b"x", key=b"foreign", partition=0)
    return made


class Interrupting:
    """A consumer on whose next records something else comes in before they are looked at."""

    def __init__(self, consumer: Any, happens: Callable[[], None]) -> None:
        self._consumer = consumer
        self._happens: Callable[[], None] | None = happens

    async def fetched(self, places: Any, wait_s: float) -> Any:
        got = await self._consumer.fetched(places, wait_s)
        if got and self._happens is not None:
            happens, self._happens = self._happens, None
            happens()
        return got

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


@PROTECTED
async def test_records_of_an_older_assignment(
    kafka_log: KafkaLog, protected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll that began before its gate was opened anew delivers nothing to the new one."""
    if not protected:
        monkeypatch.setattr(Supply, "_changed", Supply._point)
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        group: Any = member.group
        supply: Supply = group._supply

        def reopened() -> None:
            supply.close(Shard(0))
            begins = {("orders", q): 0 for q in range(4)}
            supply.open(Shard(0), member.tokens[Shard(0)], {}, begins)

        await until(lambda: supply._consumer is not None)
        supply._interrupt()  # without the protection, nothing tells it that a gate was opened
        await kafka_log.publish(numbered("orders", 5))
        await member.fetched(5)
        supply._consumer = Interrupting(supply._consumer, reopened)
        supply._interrupt()  # the poll under way is of the consumer as it was
        await kafka_log.publish(numbered("orders", 3))
        found = offsets(await member.fetched(3))
    assert (found[:3] == [0, 1, 2]) is protected


def offsets(batches: Sequence[Batch]) -> list[int]:
    """The offsets of all records."""
    return [record.offset for batch in batches for record in batch.records]
