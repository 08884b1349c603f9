"""The cut: entries, records and offsets become visible together, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from event_center.errors import NotCommitted
from event_center.log.port import Assigned, Cut, Lease, Log
from event_center.model import Outgoing, Shard
from tests.log.harness import (
    Harness,
    entries_of,
    joined,
    numbered,
    puts,
    records_of,
    restored,
    values_of,
)
from tests.waiting import turns


async def leased(log: Log) -> Lease:
    """A lease of the only shard of a group."""
    group = await log.join(["orders"], 1)
    change = await group.changes()
    assert isinstance(change, Assigned)
    return await group.lease(change.shard, change.token)


def history(value: bytes, partition: int = 0) -> Outgoing:
    """A record of the history."""
    return Outgoing("history", b"k", value, partition=partition)


class TestCut:
    async def test_all_of_it(self, harness: Harness, log: Log) -> None:
        """When a commit returns, everything of the cut is there for everyone."""
        lease = await leased(log)
        await lease.commit(puts({b"a": b"1", b"b": b""}, history(b"x"), history(b"y"), orders=7))
        other = await harness.open()
        for one in (log, other):
            assert await entries_of(one, 0) == {b"a": b"1", b"b": b""}
            assert await one.entry(Shard(0), b"a") == b"1"
            assert await values_of(one, "history") == [b"x", b"y"]
            assert await one.watermark("history", 0) == 2

    async def test_durable(self, harness: Harness, log: Log) -> None:
        """What was committed is there after a crash."""
        lease = await leased(log)
        await lease.commit(puts({b"a": b"1"}, history(b"x")))
        await harness.crash(log)
        other = await harness.open()
        assert await entries_of(other, 0) == {b"a": b"1"}
        assert await values_of(other, "history") == [b"x"]

    async def test_empty(self, log: Log) -> None:
        """An empty cut is a cut."""
        lease = await leased(log)
        await lease.commit(Cut())
        assert await entries_of(log, 0) == {}

    async def test_overwrite_and_remove(self, log: Log) -> None:
        """The last put of a key counts; a removed key is absent, also if it never was there."""
        lease = await leased(log)
        await lease.commit(puts({b"a": b"1", b"b": b"1", b"c": b"1"}))
        await lease.commit(puts({b"a": b"2", b"b": None, b"never": None}))
        assert await entries_of(log, 0) == {b"a": b"2", b"c": b"1"}
        assert await log.entry(Shard(0), b"b") is None
        await lease.commit(puts({b"b": b"3", b"c": None}))
        assert await entries_of(log, 0) == {b"a": b"2", b"b": b"3"}

    async def test_order_of_records(self, log: Log) -> None:
        """Records lie in the order of their cut, partition by partition, after the cut before."""
        lease = await leased(log)
        for start in range(0, 60, 20):
            mixed = [history(b"%d" % n, n % 3) for n in range(start, start + 20)]
            await lease.commit(puts({}, *mixed))
        for q in range(3):
            assert await values_of(log, "history", q) == [b"%d" % n for n in range(q, 60, 3)]
            offsets = [record.offset for record in await records_of(log, "history", q)]
            assert offsets == sorted(set(offsets))

    @pytest.mark.parametrize("size", [1, 2, 7, 64, 100, 1_000, 5_000])
    async def test_any_size(self, log: Log, size: int) -> None:
        """Cuts of any size are written whole: puts, overwrites, removals and records."""
        lease = await leased(log)
        keys = [b"wf-%06d" % n for n in range(size)]
        records = [history(b"%d" % n) for n in range(size)]
        await lease.commit(puts(dict.fromkeys(keys, b"first"), *records))
        await lease.commit(puts(dict.fromkeys(keys[::2], b"second")))
        assert await entries_of(log, 0) == {
            key: b"first" if n % 2 else b"second" for n, key in enumerate(keys)
        }
        await lease.commit(puts(dict.fromkeys(keys[1:])))
        assert await entries_of(log, 0) == {keys[0]: b"second"}
        assert await values_of(log, "history") == [b"%d" % n for n in range(size)]

    async def test_large_and_binary_entries(self, log: Log) -> None:
        """Keys and values are any bytes, long ones included."""
        entries: dict[bytes, bytes | None] = {
            b"": b"empty key",
            b"\x00": b"\x00\xff",
            b"\xff\xff": b"",
            b"large": bytes(range(256)) * 2_000,
        }
        lease = await leased(log)
        await lease.commit(puts(entries))
        assert await entries_of(log, 0) == entries
        assert await restored(lease) == entries

    async def test_not_committed(self, harness: Harness, log: Log) -> None:
        """After NotCommitted nothing of the cut is there, and the same cut can be tried again."""
        lease = await leased(log)
        await lease.commit(puts({b"a": b"1"}))
        cut = puts({b"a": b"2", b"b": b"2"}, history(b"x"), orders=4)
        for _ in range(2):
            await harness.refuse_next_cut(log)
            with pytest.raises(NotCommitted):
                await lease.commit(cut)
            assert await restored(lease) == {b"a": b"1"}
            assert await log.watermark("history", 0) == 0
        await lease.commit(cut)
        assert await restored(lease) == {b"a": b"2", b"b": b"2"}
        assert await values_of(log, "history") == [b"x"]

    async def test_record_without_a_place(self, log: Log) -> None:
        """A cut with a record for a topic that is not there is not written, and names it."""
        lease = await leased(log)
        for bad in (Outgoing("nowhere", b"k", b"v"), history(b"v", partition=4)):
            with pytest.raises(NotCommitted, match=bad.topic):
                await lease.commit(puts({b"a": b"1"}, history(b"x"), bad))
        assert await entries_of(log, 0) == {}
        assert await log.watermark("history", 0) == 0
        await lease.commit(puts({b"a": b"1"}, history(b"x")))
        assert await values_of(log, "history") == [b"x"]

    async def test_several_shards_at_once(self, log: Log) -> None:
        """Cuts of different shards at the same time are each whole and in their own order."""
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)

            async def work(shard: Shard) -> None:
                for number in range(20):
                    key = b"%d-%d" % (shard, number)
                    cut = puts({key: b"x", b"last": key}, history(key, 3))
                    await member.leases[shard].commit(cut)

            async with asyncio.TaskGroup() as tasks:
                for shard in member.leases:
                    tasks.create_task(work(shard))
        found = await values_of(log, "history", 3)
        for shard in member.leases:
            mine = [b"%d-%d" % (shard, number) for number in range(20)]
            assert [value for value in found if value in mine] == mine
            assert await entries_of(log, shard) == {**dict.fromkeys(mine, b"x"), b"last": mine[-1]}

    async def test_publishing_beside_cuts(self, log: Log) -> None:
        """Records of cuts and of publishers share a partition without losing their order."""
        lease = await leased(log)

        async def publish() -> None:
            for number in range(20):
                await log.publish(numbered("history", 3, start=1_000 + 3 * number))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(publish())
            for number in range(20):
                await lease.commit(puts({}, *numbered("history", 2, start=2 * number)))
        found = [int(value or b"") for value in await values_of(log, "history")]
        assert [number for number in found if number < 1_000] == list(range(40))
        assert [number for number in found if number >= 1_000] == list(range(1_000, 1_060))


class TestOneMoment:
    # What `at_least_once` on Kafka does not promise: it writes records before the entries of their cut.

    async def test_a_reader_never_sees_a_part(self, harness: Harness, log: Log) -> None:
        """Someone who reads all the time sees the entries of one cut, never of two."""
        lease = await leased(log)
        keys = [b"%03d" % n for n in range(200)]
        await lease.commit(puts(dict.fromkeys(keys, b"0"), history(b"0")))
        other = await harness.open()
        done = asyncio.Event()

        async def read() -> int:
            looks = 0
            while not done.is_set() or not looks:
                before = len(await values_of(other, "history"))
                values = set((await entries_of(other, 0)).values())
                after = len(await values_of(other, "history"))
                assert len(values) == 1
                assert before <= int(values.pop()) + 1 <= after
                looks += 1
                await turns()
            return looks

        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            for number in range(1, 30):
                value = b"%d" % number
                await lease.commit(puts(dict.fromkeys(keys, value), history(value)))
            done.set()
        assert reading.result() > 0

    async def test_cancelled(self, log: Log) -> None:
        """A commit that is cancelled is written whole or not at all; a new lease tells which."""
        group = await log.join(["orders"], 1)
        change = await group.changes()
        assert isinstance(change, Assigned)
        for number in range(6):
            lease = await group.lease(Shard(0), change.token)
            before = len(await restored(lease))
            async with asyncio.TaskGroup() as tasks:
                cut = puts({b"%d-%d" % (number, n): b"x" for n in range(10)}, history(b"x"))
                committing = tasks.create_task(lease.commit(cut))
                await turns(number)
                committing.cancel()
            newer = await group.lease(Shard(0), change.token)
            after = len(await restored(newer))
            assert after - before in {0, 10}
            assert len(await values_of(log, "history")) == after // 10
