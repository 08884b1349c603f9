"""Members that come and go while others work: who keeps a shard does not notice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

import anyio

from event_center.errors import Fenced, LogInUse, LogUnavailable, NotCommitted, Unknown
from event_center.log.kafka import KafkaLog, open_kafka
from event_center.log.kafka.group import KafkaGroup
from event_center.log.port import Assigned
from event_center.model import Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import Member, clock, joined, numbered, puts
from tests.waiting import PATIENCE_S, until, until_true

SHARDS = 6
CUTS = 3
"""So many more of each shard count as going on."""


class Busy:
    """Makes cuts of all that a member has, and reads its records, for as long as it is open."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.cuts: Counter[Shard] = Counter()
        self.read: Counter[Shard] = Counter()
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
            for shard in list(self.member.leases):
                async with self.member.cutting:
                    await self._cut_one(shard)
            await asyncio.sleep(0.01)

    async def _cut_one(self, shard: Shard) -> None:
        lease = self.member.leases.get(shard)
        if lease is None:
            return
        try:
            await lease.commit(puts({b"n": b"%d" % self.cuts[shard]}))
            self.cuts[shard] += 1
        except (Fenced, NotCommitted):
            return
        except Unknown:
            if shard in self.member.tokens:
                await self.member.take_over(shard, self.member.tokens[shard])

    async def _fetch(self) -> None:
        while not self._over:
            for batch in await self.member.group.fetch(self.member.tokens, 100):
                self.read[batch.shard] += len(batch.records)

    async def goes_on(self) -> None:
        """Wait for more cuts, and all of five records, of every shard that the member has now."""
        shards = set(self.member.leases)
        cuts, read = Counter(self.cuts), Counter(self.read)
        await self.member.log.publish(
            [record for q in shards for record in numbered("many", 5, partition=int(q))]
        )
        await until(lambda: all(self.cuts[one] >= cuts[one] + CUTS for one in shards))
        await until(lambda: all(self.read[one] >= read[one] + 5 for one in shards))


async def test_shards_that_stay_go_on_during_a_rebalance(
    kafka_harness: KafkaHarness, kafka_log: KafkaLog
) -> None:
    """However long a rebalance takes, who keeps a shard hears nothing and goes on meanwhile."""
    await kafka_log.create({"many": SHARDS})
    kafka_harness.options = replace(kafka_harness.options, rebalance_timeout_s=PATIENCE_S)
    async with AsyncExitStack() as stack:
        members = []
        for _ in range(2):
            log = await kafka_harness.open()
            member = await stack.enter_async_context(await joined(log, ["many"], SHARDS))
            members.append(member)
        for member in members:
            await member.owns(SHARDS // 2)
        works = [await stack.enter_async_context(Busy(member)) for member in members]
        had = [dict(member.tokens) for member in members]
        heard = [len(member.seen) for member in members]
        third, fourth = await kafka_harness.open(), await kafka_harness.open()
        async with await joined(third, ["many"], SHARDS) as late, asyncio.TaskGroup() as tasks:
            await late.owns(2)
            standing, moved = asyncio.Event(), set(late.tokens)
            group: Any = late.group
            group._membership.on_partitions_revoked = lambda _: standing.wait()
            joining = tasks.create_task(fourth.join(["many"], SHARDS), name="a fourth member")
            await until(lambda: not any(at_rest(member) for member in members))
            for work in works:
                await work.goes_on()
            assert not any(at_rest(member) for member in members)
            assert not joining.done()
            standing.set()
            moved |= await first_share(await joining)
            for work in works:
                await work.goes_on()
        for log in (third, fourth):
            await log.close()
        for member in members:
            await member.owns(SHARDS // 2)
        for member, before, since in zip(members, had, heard, strict=True):
            assert {change.shard for change in member.seen[since:]} <= moved
            stayed = set(before) - moved
            assert stayed
            assert {shard: member.tokens[shard] for shard in stayed} == {
                shard: before[shard] for shard in stayed
            }


def at_rest(member: Member) -> bool:
    """Whether this member is not in the middle of joining."""
    group: Any = member.group
    return bool(group._membership._at_rest.is_set())


async def first_share(group: KafkaGroup) -> set[Shard]:
    """The shard that a member is given which has heard nothing yet."""
    change = await group.changes()
    assert isinstance(change, Assigned)
    return {change.shard}


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
        logs = [await named(kafka_harness, "same") for _ in range(2)]
        async with asyncio.timeout(PATIENCE_S):
            refused = await heard_by(logs)
        assert "instance_id 'same'" in str(refused)
        del kafka_log

    async def test_a_second_member_that_comes_later(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """One of two is told within a session that its id is taken; the other one is a member."""
        # At a daemon's pace neither is in the middle of joining when the other one comes.
        session_s = 30.0
        pace = {"heartbeat_s": 0.5, "session_timeout_s": session_s}
        logs = [await named(kafka_harness, "same", **pace) for _ in range(2)]
        first: Any = await logs[0].join(["orders"], 4)
        await first.changes()
        second: Any = await logs[1].join(["orders"], 4)
        async with asyncio.TaskGroup() as tasks:
            ends = {tasks.create_task(end_of(group)): group for group in (first, second)}
            told, others = await asyncio.wait(
                ends, timeout=session_s, return_when=asyncio.FIRST_COMPLETED
            )
            for other in others:
                other.cancel()
        [refused], [other] = told, others
        assert "instance_id 'same'" in str(refused.result())
        await until_true(partial(is_member, ends[other]))
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


async def named(harness: KafkaHarness, instance_id: str, **more: Any) -> KafkaLog:
    """A log whose members have this instance_id."""
    options = replace(harness.options, instance_id=instance_id, **more)
    log = await open_kafka(options, clock=clock)
    harness.logs.append(log)
    return log


async def end_of(group: KafkaGroup) -> LogInUse:
    """What ends a member that follows its changes."""
    try:
        while True:
            await group.changes()
    except LogInUse as error:
        return error


async def is_member(group: Any) -> bool:
    """Whether the brokers say so."""
    try:
        await group._membership.confirm()
    except LogUnavailable:
        return False
    return True


async def heard_by(logs: Sequence[KafkaLog]) -> LogInUse:
    """The first refusal that a member of one of these hears, while it joins or later."""
    refused: list[LogInUse] = []

    async def hear(log: KafkaLog) -> None:
        try:
            group = await log.join(["orders"], 4)
            while True:
                await group.changes()
        except LogInUse as error:
            refused.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for log in logs:
            tasks.start_soon(hear, log)
    return refused[0]
