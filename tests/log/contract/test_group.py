"""Membership: shards move with joins, leaves and crashes, and tokens tell one time from another."""

from __future__ import annotations

import asyncio

import pytest

from event_center.errors import LogInUse
from event_center.log.port import Assigned, Batch, Change, Log, Lost, Revoked
from event_center.model import Shard
from tests.log.harness import (
    Harness,
    brings_nothing,
    flat,
    joined,
    numbered,
    puts,
)
from tests.waiting import PATIENCE_S, turns, until, until_true


class TestGroup:
    async def test_one_member_has_all(self, log: Log) -> None:
        """The only member is assigned every shard, each once."""
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            assert member.group.shards == 4
            assert sorted(change.shard for change in member.seen) == [0, 1, 2, 3]

    async def test_second_member_gets_its_part(self, harness: Harness, log: Log) -> None:
        """A second member gets half of the shards; the others stay where they are."""
        async with await joined(log, ["orders"], 4) as first:
            await first.has(0, 1, 2, 3)
            kept = dict(first.tokens)
            async with await joined(await harness.open(), ["orders"], 4) as second:
                await second.owns(2)
                await first.owns(2)
                assert set(first.leases) | set(second.leases) == {0, 1, 2, 3}
                assert all(first.tokens[shard] == kept[shard] for shard in first.tokens)
                assert not any(isinstance(change, Lost) for change in first.seen)

    async def test_many_members(self, harness: Harness, log: Log) -> None:
        """Members differ by at most one shard; with more members than shards some have none."""
        members = [await joined(log, ["orders"], 4)]
        async with members[0]:
            members.append(await joined(await harness.open(), ["orders"], 4))
            members.append(await joined(await harness.open(), ["orders"], 4))
            async with members[1], members[2]:
                await until(lambda: sorted(len(one.leases) for one in members) == [1, 1, 2])
                owned = sorted(shard for one in members for shard in one.leases)
                assert owned == [0, 1, 2, 3]

    async def test_leave(self, harness: Harness, log: Log) -> None:
        """A member that leaves gives its shards back."""
        async with await joined(log, ["orders"], 4) as first:
            await first.has(0, 1, 2, 3)
            async with await joined(await harness.open(), ["orders"], 4) as second:
                await second.owns(2)
                await first.owns(2)
                second.stop()
                for lease in second.leases.values():
                    await lease.release()
                await second.group.leave()
                await first.has(0, 1, 2, 3)

    async def test_leave_with_leases(self, harness: Harness, log: Log) -> None:
        """Also leases that were not released do not keep a shard from its next owner."""
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            second = await joined(await harness.open(), ["orders"], 2)
            async with second:
                await second.owns(1)
                first.stop()
                await first.group.leave()
                await second.has(0, 1)

    async def test_close_leaves(self, harness: Harness, log: Log) -> None:
        """A log that is closed has left its group; closing again does nothing."""
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            first.stop()
            await log.close()
            await log.close()
            async with await joined(await harness.open(), ["orders"], 2) as second:
                await second.has(0, 1)

    async def test_crash(self, harness: Harness, log: Log) -> None:
        """The shards of a member that crashed go to the others, with what it had committed."""
        async with await joined(log, ["orders"], 4) as first:
            await first.has(0, 1, 2, 3)
            async with await joined(await harness.open(), ["orders"], 4) as second:
                await second.owns(2)
                await first.owns(2)
                shard = min(first.leases)
                await first.leases[shard].commit(puts({b"a": b"1"}, orders=3))
                first.stop()
                await harness.crash(log)
                await second.has(0, 1, 2, 3)
                assert second.state[shard] == {b"a": b"1"}

    async def test_crash_of_the_only_member(self, harness: Harness, log: Log) -> None:
        """A member that joins after a crash gets everything."""
        async with await joined(log, ["orders"], 4) as first:
            await first.has(0, 1, 2, 3)
            first.stop()
            await harness.crash(log)
        async with await joined(await harness.open(), ["orders"], 4) as second:
            await second.has(0, 1, 2, 3)

    async def test_tokens_rise(self, harness: Harness, log: Log) -> None:
        """Each assignment of a shard has a greater token than the one before, whoever gets it."""
        tokens: dict[Shard, list[int]] = {Shard(0): [], Shard(1): []}
        for _ in range(3):
            one = await harness.open()
            async with await joined(one, ["orders"], 2) as member:
                await member.has(0, 1)
                for shard, token in member.tokens.items():
                    tokens[shard].append(token)
                member.stop()
                await one.close()
        for given in tokens.values():
            assert given == sorted(set(given))

    async def test_another_number_of_shards(self, harness: Harness, log: Log) -> None:
        """A group has one number of shards; who wants another is told which it has."""
        async with await joined(log, ["orders"], 4) as first:
            await first.has(0, 1, 2, 3)
            other = await harness.open()
            with pytest.raises(LogInUse, match="4 shards"):
                await other.join(["orders"], 3)
            await first.has(0, 1, 2, 3)

    async def test_no_batch_of_an_older_token(self, harness: Harness, log: Log) -> None:
        """After a shard came back, only its new token brings records."""
        await log.publish(numbered("orders", 10, partition=1))
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            old = dict(first.tokens)
            second = await joined(await harness.open(), ["orders"], 2)
            async with second:
                await second.owns(1)
                (moved,) = second.leases
                assert await brings_nothing(first.group, {moved: old[moved]})
                second.stop()
                await second.group.leave()
                await first.has(0, 1)
                assert first.tokens[moved] > old[moved]
                assert await brings_nothing(first.group, {moved: old[moved]})
                found = await first.fetched(10)
        assert {batch.token for batch in found} == {first.tokens[moved]} or moved != 1
        assert len(flat(found, "orders", 1)) == 10

    async def test_revoked_before_it_moves(self, harness: Harness, log: Log) -> None:
        """The next owner waits until the lease is released; until then its holder can commit."""
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            first.holding = True
            async with await joined(await harness.open(), ["orders"], 2) as second:
                await until(lambda: any(isinstance(change, Revoked) for change in first.seen))
                (shard,) = set(first.leases) - set(first.tokens)
                await first.leases[shard].commit(puts({b"last": b"cut"}))
                assert not second.seen
                await first.leases.pop(shard).release()
                await second.has(shard)
                assert second.state[shard] == {b"last": b"cut"}

    async def test_fetch_returns_when_assignments_change(self, harness: Harness, log: Log) -> None:
        """A fetch does not sleep through a change of assignment."""
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            async with asyncio.TaskGroup() as tasks, asyncio.timeout(PATIENCE_S):
                fetching = tasks.create_task(first.group.fetch(first.tokens, 10))
                second = await joined(await harness.open(), ["orders"], 2)
                async with second:
                    await second.owns(1)
                    assert await fetching == []

    async def test_waiting_for_changes_can_be_cancelled(self, log: Log) -> None:
        """Cancelling the wait for changes loses none of them."""
        group = await log.join(["orders"], 4)
        seen: list[Change] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(seen) < 4:
                waiting = asyncio.ensure_future(group.changes())  # noqa: TID251 - to be cancelled
                await turns()
                waiting.cancel()
                try:
                    seen.append(await waiting)
                except asyncio.CancelledError:
                    seen.append(await group.changes())
        assert all(isinstance(change, Assigned) for change in seen)
        assert sorted(change.shard for change in seen) == [0, 1, 2, 3]

    async def test_a_handover_loses_no_record(self, harness: Harness, log: Log) -> None:
        """Records published while shards move are all read by one owner or the next."""
        async with await joined(log, ["orders"], 2) as first:
            await first.has(0, 1)
            for start in range(0, 40, 10):
                await log.publish(numbered("orders", 10, partition=1, start=start))
            early: list[Batch] = await first.fetched(40)
            async with await joined(await harness.open(), ["orders"], 2) as second:
                second.offsets = {"orders": len(flat(early, "orders", 1))}
                await log.publish(numbered("orders", 10, partition=1, start=40))
                await second.owns(1)
                await first.owns(1)
                owner = second if Shard(1) in second.leases else first
                late = await owner.fetched(10)
        found = flat([*early, *late], "orders", 1)
        assert [record.offset for record in found] == list(range(50))

    async def test_members(self, harness: Harness, log: Log) -> None:
        """Everybody who opens the log can ask who is in the group; who has left is not."""
        looker = await harness.open()
        assert await looker.members() == []
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            assert len(await looker.members()) == 1
            async with await joined(await harness.open(), ["orders"], 4) as second:
                await second.owns(2)
                assert len(await looker.members()) == 2
                await second.group.leave()
            await member.group.leave()

        async def empty() -> bool:
            return await looker.members() == []

        await until_true(empty)
