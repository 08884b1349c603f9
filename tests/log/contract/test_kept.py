"""What a process kept of a shard, and what a restore makes of it: the answer is always the whole truth."""

from __future__ import annotations

import pytest

from event_center.errors import Fenced, Unknown
from event_center.log.port import Assigned, Group, Kept, Lease, Log
from event_center.model import Outgoing, Shard, Token
from tests.log.harness import Harness, Member, joined, numbered, puts, restored, values_of
from tests.waiting import until_true

Entries = dict[bytes, bytes | None]

FIRST = {b"%03d" % n: b"first" for n in range(40)}
CHANGES: tuple[Entries, ...] = (
    {b"000": b"second", b"001": None, b"new": b"second"},
    {b"new": None, b"002": None, b"003": b"third"},
    {b"002": b"back", b"newer": b"third"},
)
"""Puts of old and new keys, removals, a key that comes back, one that comes and goes."""
LAST = {
    **{key: value for key, value in FIRST.items() if key != b"001"},
    b"000": b"second",
    b"002": b"back",
    b"003": b"third",
    b"newer": b"third",
}
RECORD = Outgoing("history", b"k", b"lost", partition=0)


class Holder:
    """Leases the only shard of a group, again and again."""

    def __init__(self, group: Group, token: Token) -> None:
        self._group = group
        self._token = token

    async def lease(self) -> Lease:
        """A lease, by which all earlier ones are fenced."""
        return await self._group.lease(Shard(0), self._token)


async def holder(log: Log) -> Holder:
    """The holder of the only shard of a group that is joined here."""
    group = await log.join(["orders"], 1)
    change = await group.changes()
    assert isinstance(change, Assigned)
    return Holder(group, change.token)


async def gone(member: Member) -> None:
    """Release the only shard, and leave."""
    member.stop()
    await member.leases[Shard(0)].release()
    await member.group.leave()


class TestKept:
    async def test_what_another_process_has_written(self, harness: Harness, log: Log) -> None:
        """A shard that comes back has what was put and removed while it was elsewhere."""
        async with await joined(log, ["orders"], 1) as first:
            await first.has(0)
            lease = first.leases[Shard(0)]
            await lease.commit(puts(dict(FIRST)))
            kept = Kept(await restored(lease), lease.mark)
            await gone(first)
        other = await harness.open()
        async with await joined(other, ["orders"], 1) as second:
            await second.has(0)
            for entries in CHANGES:
                await second.leases[Shard(0)].commit(puts(entries))
            await gone(second)
        async with await joined(log, ["orders"], 1) as again:
            await again.has(0)
            assert await restored(again.leases[Shard(0)], kept) == LAST
            assert again.state[Shard(0)] == LAST

    async def test_a_mark_moves_with_each_cut(self, log: Log) -> None:
        """After any cut, what is held with the mark of then is as good as the whole."""
        only = await holder(log)
        lease = await only.lease()
        held: dict[bytes, bytes] = await restored(lease)
        everything: Entries = dict(FIRST)
        for entries in (everything, *CHANGES):
            await lease.commit(puts(entries))
            held |= {key: value for key, value in entries.items() if value is not None}
            held = {key: value for key, value in held.items() if entries.get(key, b"") is not None}
            newer = await only.lease()
            assert await restored(newer, Kept(held, lease.mark)) == held
            lease = newer
        assert held == LAST

    async def test_of_an_empty_shard(self, log: Log) -> None:
        """What was nothing when it was kept is whatever was written since."""
        only = await holder(log)
        lease = await only.lease()
        kept = Kept(await restored(lease), lease.mark)
        assert kept.entries == {}
        assert await restored(lease, kept) == {}
        await lease.commit(puts(dict(FIRST)))
        assert await restored(lease, kept) == FIRST

    async def test_without_a_mark(self, log: Log) -> None:
        """What nobody knows the time of is not taken for the truth."""
        only = await holder(log)
        lease = await only.lease()
        await lease.commit(puts(dict(FIRST)))
        assert await restored(lease, Kept({b"strange": b"1"}, None)) == FIRST

    @pytest.mark.parametrize("written", [False, True])
    async def test_after_a_cut_of_unknown_end(
        self, harness: Harness, log: Log, written: bool
    ) -> None:
        """What was kept before such a cut tells, once restored, whether it was written."""
        only = await holder(log)
        lease = await only.lease()
        await lease.commit(puts(dict(FIRST)))
        kept = Kept(await restored(lease), lease.mark)
        await harness.lose_next_cut(log, written=written)
        with pytest.raises(Unknown):
            await lease.commit(puts(CHANGES[0]))
        newer = await only.lease()
        found = await restored(newer, kept)
        assert found == await restored(newer)
        assert (found.get(b"new") == b"second") is written

    async def test_of_a_lease_that_is_lost(self, log: Log) -> None:
        """Whoever was fenced restores nothing, whatever he kept."""
        only = await holder(log)
        lease = await only.lease()
        await lease.commit(puts(dict(FIRST)))
        kept = Kept(await restored(lease), lease.mark)
        await only.lease()
        with pytest.raises(Fenced):
            await restored(lease, kept)


class TestInFlight:
    async def test_a_cut_in_flight_is_not_seen(self, harness: Harness, log: Log) -> None:
        """Nobody reads of a cut that is not decided; what others publish meanwhile is not lost."""
        only = await holder(log)
        lease = await only.lease()
        await harness.lose_next_cut(log, written=False)
        with pytest.raises(Unknown):
            await lease.commit(puts({b"a": b"1"}, RECORD))
        assert await values_of(log, "history") == []
        assert await log.entry(Shard(0), b"a") is None
        other = await harness.open()
        (position,) = await other.publish(numbered("history", 1))
        newer = await only.lease()
        assert await restored(newer) == {}

        async def seen() -> bool:
            return await log.watermark("history", 0) == position.offset + 1

        await until_true(seen)
        assert await values_of(log, "history") == [b"0"]
