"""A restore that begins with what was kept reads only the tail, and comes to the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from event_center.log.kafka import KafkaLog
from event_center.log.kafka.lease import KEPT_S, KafkaLease, Mark
from event_center.log.port import Kept
from event_center.model import Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import Member, joined, puts, restored

FIRST = {b"k%03d" % n: b"1" for n in range(500)}
CHANGED = {b"k001": b"2", b"k002": None, b"new": b"3"}


async def again(member: Member) -> KafkaLease:
    """Another lease of shard 0."""
    lease = await member.group.lease(Shard(0), member.tokens[Shard(0)])
    assert isinstance(lease, KafkaLease)
    return lease


async def read_with(
    lease: KafkaLease, kept: Kept | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[bytes, bytes], int]:
    """What is restored, and how many offsets were read for it."""
    read = 0
    batches = lease._reading._batches

    def counted(place: Any, start: int, stop: int) -> Any:
        nonlocal read
        read += stop - start
        return batches(place, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(lease._reading, "_batches", counted)
        entries = {key: value async for batch in lease.restore(kept) for key, value in batch}
    return entries, read


async def test_only_the_tail_is_read(kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process has written since is found, removals too; the rest is not read again."""
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        lease = member.leases[Shard(0)]
        await lease.commit(puts(FIRST))
        await lease.commit(puts({b"k000": b"9"}))
        kept = Kept({**FIRST, b"k000": b"9"}, lease.mark)
        other = await again(member)  # as another process would
        await restored(other)
        await other.commit(puts(CHANGED))
        third = await again(member)
        warm, tail = await read_with(third, kept, monkeypatch)
        full, everything = await read_with(third, None, monkeypatch)
    assert warm == full == expected({**FIRST, b"k000": b"9"}, CHANGED)
    assert tail < 20
    assert everything > 500


def expected(
    held: Mapping[bytes, bytes], changes: Mapping[bytes, bytes | None]
) -> dict[bytes, bytes]:
    """Entries with these changes."""
    return {key: value for key, value in {**held, **changes}.items() if value is not None}


async def test_what_the_log_can_not_continue_is_not_used(
    kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark outside of the partition, too old, or of another log: everything is read."""
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        lease = member.leases[Shard(0)]
        await lease.commit(puts({b"a": b"1"}))
        assert isinstance(lease, KafkaLease)
        assert lease.mark is not None
        strange = Kept({b"strange": b"1"}, lease.mark)
        for mark in (
            Mark(1_000_000, lease.mark.at),
            Mark(lease.mark.offset, lease.mark.at - KEPT_S),
            17,
        ):
            newer = await again(member)
            entries, _ = await read_with(newer, strange._replace(mark=mark), monkeypatch)
            assert entries == {b"a": b"1"}


async def test_a_cut_of_unknown_end_is_read_back(
    kafka_harness: KafkaHarness, kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark from before a cut that may have been written finds out whether it was."""
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        lease = member.leases[Shard(0)]
        await lease.commit(puts({b"a": b"1"}))
        kept = Kept({b"a": b"1"}, lease.mark)
        await kafka_harness.lose_next_cut(kafka_log, written=True)
        with pytest.raises(Exception, match="nobody knows"):
            await lease.commit(puts({b"a": b"2"}))
        newer = await again(member)
        assert (await read_with(newer, kept, monkeypatch))[0] == {b"a": b"2"}


async def test_why_old_marks_are_not_used(
    kafka_harness: KafkaHarness, kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal that compaction forgot is missed by a restore from before it: the twin of `KEPT_S`."""
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        lease = member.leases[Shard(0)]
        await lease.commit(puts({b"a": b"1", b"b": b"1"}))
        kept = Kept(await restored(lease), lease.mark)
        await lease.commit(puts({b"a": None}))
        aged = await kafka_harness.compact(kept)
        entries, _ = await read_with(await again(member), aged, monkeypatch)
        assert entries == {b"b": b"1"}
        monkeypatch.setattr("event_center.log.kafka.lease.KEPT_S", float("inf"))
        entries, _ = await read_with(await again(member), aged, monkeypatch)
        assert entries == {b"a": b"1", b"b": b"1"}
