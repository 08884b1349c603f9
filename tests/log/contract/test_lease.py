"""The lease: who has leased last is the only one who writes."""

from __future__ import annotations

import contextlib

import pytest

from event_center.errors import Fenced, LogUnavailable, NotCommitted, Unknown
from event_center.log.port import Assigned, Group, Log
from event_center.model import Outgoing, Shard, Token
from tests.log.harness import Harness, entries_of, joined, puts, restored, values_of


async def assigned(group: Group) -> Token:
    """The token of shard 0, of a group with one shard."""
    change = await group.changes()
    assert isinstance(change, Assigned)
    return change.token


class TestLease:
    async def test_fences_the_former_owner(self, harness: Harness, log: Log) -> None:
        """A zombie can commit until somebody else has leased, and nothing after that."""
        async with await joined(log, ["orders"], 1) as zombie:
            await zombie.has(0)
            lease = zombie.leases[Shard(0)]
            zombie.stop()
            await harness.crash(log)
            await lease.commit(puts({b"a": b"1"}))
            other = await harness.open()
            async with await joined(other, ["orders"], 1) as owner:
                await owner.has(0)
                assert owner.state[Shard(0)] == {b"a": b"1"}
                with pytest.raises(Fenced, match="shard 0"):
                    await lease.commit(
                        puts({b"a": b"2"}, Outgoing("history", b"k", b"late", partition=0))
                    )
                with pytest.raises(Fenced):
                    await lease.commit(puts({b"a": b"3"}))
                with pytest.raises(Fenced):
                    await lease.open_gate({})
                with pytest.raises(Fenced):
                    await restored(lease)
                await lease.release()
                await owner.leases[Shard(0)].commit(puts({b"b": b"1"}))
            assert await entries_of(other, 0) == {b"a": b"1", b"b": b"1"}
            assert await values_of(other, "history") == []

    async def test_of_a_stale_token(self, harness: Harness, log: Log) -> None:
        """An assignment that is over gives no lease."""
        async with await joined(log, ["orders"], 1) as first:
            await first.has(0)
            old = first.tokens[Shard(0)]
            first.stop()
            await first.group.leave()
            with pytest.raises(Fenced):
                await first.group.lease(Shard(0), old)
            async with await joined(await harness.open(), ["orders"], 1) as second:
                await second.has(0)
                with pytest.raises(Fenced):
                    await second.group.lease(Shard(0), old)
                with pytest.raises(Fenced):
                    await first.group.lease(Shard(0), second.tokens[Shard(0)])
                await second.leases[Shard(0)].commit(puts({b"a": b"1"}))

    async def test_again_with_the_same_token(self, log: Log) -> None:
        """While the assignment stands its shard can be leased again; the older lease is fenced."""
        group = await log.join(["orders"], 1)
        token = await assigned(group)
        first = await group.lease(Shard(0), token)
        await first.commit(puts({b"a": b"1"}))
        second = await group.lease(Shard(0), token)
        with pytest.raises(Fenced):
            await first.commit(puts({b"a": b"2"}))
        await first.release()
        assert await restored(second) == {b"a": b"1"}
        await second.commit(puts({b"a": b"3"}))
        assert await entries_of(log, 0) == {b"a": b"3"}

    async def test_release_twice(self, log: Log) -> None:
        """Releasing again does nothing, and a released lease writes nothing."""
        group = await log.join(["orders"], 1)
        lease = await group.lease(Shard(0), await assigned(group))
        await lease.release()
        await lease.release()
        with pytest.raises(Fenced):
            await lease.commit(puts({b"a": b"1"}))
        assert await entries_of(log, 0) == {}

    async def test_released_on_a_log_that_is_gone(self, harness: Harness, log: Log) -> None:
        """However a release ends, the lease writes nothing more and others get the shard."""
        async with await joined(log, ["orders"], 1) as first:
            await first.has(0)
            lease = first.leases[Shard(0)]
            first.stop()
            await harness.crash(log)
            with contextlib.suppress(NotCommitted, Unknown, LogUnavailable):
                await lease.release()
            with pytest.raises(Fenced):
                await lease.commit(puts({b"a": b"1"}))
            other = await harness.open()
            async with await joined(other, ["orders"], 1) as owner:
                await owner.has(0)
                await owner.leases[Shard(0)].commit(puts({b"a": b"2"}))
            assert await entries_of(other, 0) == {b"a": b"2"}

    async def test_fenced_while_it_restores(self, log: Log) -> None:
        """A restore that is overtaken by another lease ends with Fenced."""
        group = await log.join(["orders"], 1)
        token = await assigned(group)
        lease = await group.lease(Shard(0), token)
        await lease.commit(puts({b"%06d" % n: b"x" for n in range(25_000)}))
        batches = lease.restore()
        await anext(batches)
        newer = await group.lease(Shard(0), token)
        with pytest.raises(Fenced):
            async for _ in batches:
                pass
        assert len(await restored(newer)) == 25_000

    async def test_shards_are_apart(self, log: Log) -> None:
        """Leases of different shards neither fence nor see each other."""
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            for shard, lease in member.leases.items():
                await lease.commit(puts({b"key": b"%d" % shard}))
            for shard in member.leases:
                assert await entries_of(log, shard) == {b"key": b"%d" % shard}

    @pytest.mark.parametrize("written", [False, True])
    async def test_after_unknown(self, harness: Harness, log: Log, written: bool) -> None:
        """A lease whose commit ended Unknown writes nothing more; the next one tells the answer."""
        group = await log.join(["orders"], 1)
        token = await assigned(group)
        lease = await group.lease(Shard(0), token)
        await lease.commit(puts({b"a": b"1"}))
        await harness.lose_next_cut(log, written=written)
        record = Outgoing("history", b"k", b"v", partition=0)
        with pytest.raises(Unknown):
            await lease.commit(puts({b"a": b"2", b"b": b"2"}, record, orders=5))
        with pytest.raises(Unknown):
            await lease.commit(puts({b"c": b"3"}))
        newer = await group.lease(Shard(0), token)
        after = {b"a": b"2", b"b": b"2"} if written else {b"a": b"1"}
        assert await restored(newer) == after
        assert await values_of(log, "history") == ([b"v"] if written else [])
        await lease.release()
        await newer.commit(puts({b"d": b"4"}))
        assert await entries_of(log, 0) == {**after, b"d": b"4"}
