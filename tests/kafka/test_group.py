"""Members that come and go while others work: who keeps a shard does not notice."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Self

import anyio

from event_center.errors import Fenced, LogInUse
from event_center.log.kafka import KafkaLog, open_kafka
from event_center.log.kafka.group import KafkaGroup
from event_center.model import Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import Member, clock, flat, joined, numbered, puts
from tests.waiting import until

SHARDS = 6
PAUSE_S = 1.0
"""The longest gap between two cuts that counts as going on: ten times what this broker needs."""


class Busy:
    """Makes cuts of all that a member has, and reads its records, for as long as it is open."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.at: dict[Shard, list[float]] = defaultdict(list)
        self.read: dict[Shard, int] = defaultdict(int)
        self._tasks = asyncio.TaskGroup()
        self._over = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.create_task(self._cut(), name="cuts")
        self._tasks.create_task(self._fetch(), name="fetches")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._over = True
        await self._tasks.__aexit__(*error)  # type: ignore[arg-type]  # what `async with` gives

    async def _cut(self) -> None:
        while not self._over:
            for shard, lease in list(self.member.leases.items()):
                try:
                    await lease.commit(puts({b"n": b"%d" % len(self.at[shard])}))
                except Fenced:
                    continue
                self.at[shard].append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.01)

    async def _fetch(self) -> None:
        while not self._over:
            for batch in await self.member.group.fetch(self.member.tokens, 100):
                self.read[batch.shard] += len(batch.records)

    def longest_pause(self, shard: Shard) -> float:
        """Between two cuts of this shard."""
        times = self.at[shard]
        return max(b - a for a, b in itertools.pairwise(times))


async def test_shards_that_stay_go_on_during_a_rebalance(
    kafka_harness: KafkaHarness, kafka_log: KafkaLog
) -> None:
    """Two members work, a third joins and leaves: who keeps a shard hears nothing and never pauses."""
    await kafka_log.create({"many": SHARDS})
    async with AsyncExitStack() as stack:
        members = []
        for log in (kafka_log, await kafka_harness.open()):
            member = await stack.enter_async_context(await joined(log, ["many"], SHARDS))
            members.append(member)
        for member in members:
            await member.owns(SHARDS // 2)
        works = [await stack.enter_async_context(Busy(member)) for member in members]
        leases = [dict(member.leases) for member in members]
        heard = [len(member.seen) for member in members]
        third = await kafka_harness.open()
        async with await joined(third, ["many"], SHARDS) as late:
            await late.owns(2)
            await kafka_log.publish(
                [r for q in range(SHARDS) for r in numbered("many", 5, partition=q)]
            )
            moved = set(late.leases)
            kept = set(map(Shard, range(SHARDS))) - moved
            await until(lambda: all(any(w.read[shard] == 5 for w in works) for shard in kept))
            found = await late.fetched(10)
            assert {len(flat(found, "many", int(shard))) for shard in moved} == {5}
        await third.close()
        for member in members:
            await member.owns(SHARDS // 2)
        for member, work, before, since in zip(members, works, leases, heard, strict=True):
            stayed = set(before) - moved
            assert len(stayed) == 2
            for shard in stayed:
                assert member.leases[shard] is before[shard]
                assert work.longest_pause(shard) < PAUSE_S
            assert {change.shard for change in member.seen[since:]} <= moved


class TestInstances:
    async def test_a_member_that_comes_back_disturbs_nobody(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """Under its own instance_id a restarted member has its shards back; the others hear nothing."""
        async with await joined(kafka_log, ["orders"], 4) as member:
            first = await named(kafka_harness, "one")
            async with await joined(first, ["orders"], 4) as before:
                await before.owns(2)
                await member.owns(2)
                had, heard = set(before.leases), len(member.seen)
                before.stop()
                await first.close()
            again = await named(kafka_harness, "one")
            async with await joined(again, ["orders"], 4) as after:
                await after.has(*had)
                assert len(member.seen) == heard

    async def test_two_members_with_one_id(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """One of two is told that its id is taken, and which; it does not fight for the shards."""
        groups = []
        for _ in range(2):
            log = await named(kafka_harness, "same")
            groups.append(await log.join(["orders"], 4))
        async with asyncio.timeout(15):
            refused = await heard_by(groups)
        assert "instance_id 'same'" in str(refused)
        del kafka_log

    async def test_a_coordination_that_has_ended_is_begun_anew(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """A member whose consumer has given up joins again, and has its shards without an operator."""
        async with await joined(kafka_log, ["orders"], 2) as member:
            await member.has(0, 1)
            group: Any = member.group
            consumer = group._membership._consumer
            consumer._coordinator.ensure_active_group = fail
            other = await kafka_harness.open()
            async with await joined(other, ["orders"], 2) as second:
                await second.owns(1)
                await member.owns(1)


async def fail(*_: object) -> None:
    """What a client does in a case that it does not know."""
    raise RuntimeError("made to fail by a test")


async def named(harness: KafkaHarness, instance_id: str) -> KafkaLog:
    """A log whose members have this instance_id."""
    options = replace(harness.options, instance_id=instance_id)
    log = await open_kafka(options, clock=clock)
    harness.logs.append(log)
    return log


async def heard_by(groups: Sequence[KafkaGroup]) -> LogInUse:
    """The first refusal that one of these members hears."""
    refused: list[LogInUse] = []

    async def hear(group: KafkaGroup) -> None:
        try:
            while True:
                await group.changes()
        except LogInUse as error:
            refused.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for group in groups:
            tasks.start_soon(hear, group)
    return refused[0]
