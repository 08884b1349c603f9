"""What a takeover restores, and what is read without a lease."""

from __future__ import annotations

import random

import pytest

from event_center.errors import UnknownTopic
from event_center.log.port import Log
from event_center.model import Shard
from tests.log.harness import (
    Harness,
    entries_of,
    joined,
    numbered,
    puts,
    records_of,
    restored,
)
from tests.waiting import until_true


class TestRestore:
    async def test_nothing(self, log: Log) -> None:
        """A shard without cuts restores nothing."""
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            assert member.state == {shard: {} for shard in range(4)}

    async def test_after_many_cuts(self, log: Log) -> None:
        """Exactly the last committed entries come back, whatever cuts led there."""
        chance = random.Random(7)
        expected: dict[bytes, bytes] = {}
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            for number in range(60):
                entries: dict[bytes, bytes | None] = {}
                for _ in range(chance.randrange(40)):
                    key = b"wf-%d" % chance.randrange(150)
                    entries[key] = None if chance.random() < 0.3 else b"%d" % number
                await lease.commit(puts(entries))
                for key, value in entries.items():
                    if value is None:
                        expected.pop(key, None)
                    else:
                        expected[key] = value
            assert await restored(lease) == expected

    async def test_takeover_midway(self, harness: Harness, log: Log) -> None:
        """Owner after owner crashes; each finds exactly what those before it had committed."""
        expected: dict[bytes, bytes] = {}
        current = log
        for turn in range(4):
            async with await joined(current, ["orders"], 1) as member:
                await member.has(0)
                assert member.state[Shard(0)] == expected
                for number in range(10):
                    key = b"%d" % (turn * 5 + number)
                    await member.leases[Shard(0)].commit(puts({key: b"turn %d" % turn}))
                    expected[key] = b"turn %d" % turn
                member.stop()
                await harness.crash(current)
            current = await harness.open()

    async def test_large(self, harness: Harness, log: Log) -> None:
        """Many entries come in several batches, each key once."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            entries: dict[bytes, bytes | None] = {b"%06d" % n: b"v%d" % n for n in range(12_345)}
            await member.leases[Shard(0)].commit(puts(entries))
            assert await restored(member.leases[Shard(0)]) == entries
            member.stop()
            await log.close()
        async with await joined(await harness.open(), ["orders"], 1) as member:
            await member.has(0)
            assert member.state[Shard(0)] == entries


class TestRead:
    async def test_ranges(self, log: Log) -> None:
        """A read has the records from `start` to before `stop`, or to the watermark."""
        await log.publish(numbered("orders", 20))
        for start, stop, expected in (
            (0, None, range(20)),
            (5, None, range(5, 20)),
            (0, 5, range(5)),
            (5, 8, range(5, 8)),
            (8, 8, range(0)),
            (8, 5, range(0)),
            (15, 99, range(15, 20)),
            (99, None, range(0)),
        ):
            found = await records_of(log, "orders", start=start, stop=stop)
            assert [record.offset for record in found] == list(expected)

    async def test_ends_at_the_watermark_of_its_beginning(self, log: Log) -> None:
        """What is published during a read is not part of it."""
        await log.publish(numbered("orders", 3_000))
        batches = log.read("orders", 0)
        seen = len(await anext(batches))
        await log.publish(numbered("orders", 10, start=3_000))
        async for batch in batches:
            seen += len(batch)
        assert seen == 3_000

    async def test_unknown(self, log: Log) -> None:
        """Reading what is not there says so, and what there is."""
        for topic, partition in (("nowhere", 0), ("orders", 4), ("orders", -1)):
            with pytest.raises(UnknownTopic, match="orders"):
                await log.watermark(topic, partition)
            with pytest.raises(UnknownTopic, match="orders"):
                await records_of(log, topic, partition)

    async def test_entries_by_prefix(self, log: Log) -> None:
        """Only entries whose keys begin with the prefix are read."""
        keys = [b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"ab", b"b", b"\xff", b"\xff\xff1", b""]
        async with await joined(log, ["orders"], 2) as member:
            await member.has(0, 1)
            await member.leases[Shard(1)].commit(puts({key: b"v" + key for key in keys}))
        for prefix in (b"", b"a", b"a\xff", b"ab", b"\xff", b"\xff\xff", b"zzz"):
            expected = {key: b"v" + key for key in keys if key.startswith(prefix)}
            assert await entries_of(log, 1, prefix) == expected
        assert await entries_of(log, 0) == {}

    async def test_one_entry(self, log: Log) -> None:
        """One entry is read by its key; None where there is none."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            await member.leases[Shard(0)].commit(puts({b"a": b"1"}))
        assert await log.entry(Shard(0), b"a") == b"1"
        assert await log.entry(Shard(0), b"b") is None
        assert await log.entry(Shard(3), b"a") is None

    async def test_by_another_process(self, harness: Harness, log: Log) -> None:
        """Another process reads what was committed, without joining anything."""
        other = await harness.open()
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            for number in range(5):
                entries: dict[bytes, bytes | None] = {b"n": b"%d" % number}
                await member.leases[Shard(0)].commit(puts(entries, *numbered("history", 1)))

                async def visible(wanted: int = number) -> bool:
                    return await other.entry(Shard(0), b"n") == b"%d" % wanted

                await until_true(visible)
                (*_, newest) = await records_of(other, "history")
                assert await other.watermark("history", 0) == newest.offset + 1
                assert len(await records_of(other, "history")) == number + 1

    async def test_entries_are_of_one_moment(self, log: Log) -> None:
        """A long read of entries has those of its beginning, whatever is committed meanwhile."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            keys = [b"%06d" % n for n in range(25_000)]
            await member.leases[Shard(0)].commit(puts(dict.fromkeys(keys, b"old")))
            batches = log.entries(Shard(0))
            values = {value for _, value in await anext(batches)}
            await member.leases[Shard(0)].commit(puts(dict.fromkeys(keys, b"new")))
            async for batch in batches:
                values |= {value for _, value in batch}
        assert values == {b"old"}
