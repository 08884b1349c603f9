"""What a member fetches: order, limits, turns, and only what it is ready for."""

from __future__ import annotations

import asyncio

from event_center.log.port import Batch, Log
from event_center.model import Outgoing, Shard, Token
from tests.log.harness import (
    Harness,
    brings_nothing,
    flat,
    joined,
    numbered,
    puts,
)
from tests.waiting import PATIENCE_S, turns


def count(batches: list[Batch]) -> int:
    """How many records these batches have."""
    return sum(len(batch.records) for batch in batches)


class TestFetch:
    async def test_order_without_gaps(self, log: Log) -> None:
        """Every record of a partition comes once, in order."""
        for start in range(0, 100, 10):
            await log.publish(numbered("orders", 10, start=start))
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            found = flat(await member.fetched(100, limit=7), "orders", 0)
        assert [record.offset for record in found] == list(range(100))
        assert [record.value for record in found] == [b"%d" % n for n in range(100)]

    async def test_headers_keys_and_nulls(self, log: Log) -> None:
        """A fetched record is the record that was published."""
        headers = (("type", b"x"), ("raw", b"\xff\x00"))
        await log.publish(
            [
                Outgoing("orders", None, None, partition=0, timestamp_ms=5),
                Outgoing("orders", b"", b"v", headers=headers, partition=0, timestamp_ms=6),
            ]
        )
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            found = flat(await member.fetched(2), "orders", 0)
        assert [tuple(record) for record in found] == [
            (0, 5, None, None, ()),
            (1, 6, b"", b"v", headers),
        ]

    async def test_from_the_gate_on(self, log: Log) -> None:
        """Reading begins at the offset that the gate was opened at; at the oldest where none is."""
        await log.create({"payments": 4})
        await log.publish([*numbered("orders", 10), *numbered("payments", 3)])
        async with await joined(log, ["orders", "payments"], 1) as member:
            member.offsets = {"orders": 7}
            await member.has(0)
            found = await member.fetched(6)
        assert [record.offset for record in flat(found, "orders", 0)] == [7, 8, 9]
        assert [record.offset for record in flat(found, "payments", 0)] == [0, 1, 2]

    async def test_batches_name_their_origin(self, log: Log) -> None:
        """A batch says its shard, token, topic and partition, and the watermark."""
        await log.publish(numbered("orders", 5, partition=3))
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            (batch,) = await member.fetched(2, limit=2)
            token = member.tokens[Shard(3)]
        assert batch[:4] == (3, token, "orders", 3)
        assert batch.watermark == 5
        assert len(batch.records) == 2

    async def test_limit(self, log: Log) -> None:
        """A fetch never returns more than its limit, in sum over the partitions."""
        await log.publish([Outgoing("orders", b"k", b"", partition=n % 4) for n in range(200)])
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            seen = 0
            while seen < 200:
                batches = await member.group.fetch(member.tokens, 9)
                assert count(batches) <= 9
                seen += count(batches)
        assert seen == 200

    async def test_turns(self, log: Log) -> None:
        """A long backlog of one partition does not starve the others."""
        await log.publish(numbered("orders", 3_000))
        for partition in (1, 2, 3):
            await log.publish(numbered("orders", 5, partition=partition))
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            early: list[Batch] = []
            while count(early) < 300:
                early += await member.group.fetch(member.tokens, 20)
        for partition in (1, 2, 3):
            assert len(flat(early, "orders", partition)) == 5

    async def test_turns_with_a_tiny_limit(self, log: Log) -> None:
        """Partitions take turns also where the limit is less than their number."""
        for partition in range(4):
            await log.publish(numbered("orders", 50, partition=partition))
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            early = await member.fetched(20, limit=1)
        assert all(flat(early, "orders", partition) for partition in range(4))

    async def test_only_ready_shards(self, log: Log) -> None:
        """Shards that are not named stay where they are."""
        for partition in range(4):
            await log.publish(numbered("orders", 5, partition=partition))
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            ready = {shard: member.tokens[shard] for shard in (Shard(1), Shard(2))}
            some: list[Batch] = []
            while count(some) < 10:
                some += await member.group.fetch(ready, 100)
            assert {batch.shard for batch in some} == {1, 2}
            rest = await member.fetched(10)
        assert {batch.shard for batch in rest} == {0, 3}
        assert [record.offset for record in flat(rest, "orders", 0)] == list(range(5))

    async def test_paused_shards(self, log: Log) -> None:
        """Of a paused shard only urgent topics are delivered; the others follow, none is lost."""
        await log.create({"commands": 4})
        for partition in (0, 1):
            await log.publish(numbered("orders", 5, partition=partition))
            await log.publish(numbered("commands", 3, partition=partition))
        async with await joined(log, ["orders", "commands"], 2, ["commands"]) as member:
            await member.has(0, 1)
            some: list[Batch] = []
            while count(some) < 5 + 3 + 3:
                some += await member.group.fetch(member.tokens, 4, [Shard(0)])
            places = {(batch.topic, batch.partition) for batch in some}
            assert places == {("orders", 1), ("commands", 0), ("commands", 1)}
            rest = await member.fetched(5)
        assert [record.offset for record in flat(rest, "orders", 0)] == list(range(5))

    async def test_urgent_topics_first(self, log: Log) -> None:
        """A long backlog does not keep an urgent record waiting."""
        await log.create({"commands": 4})
        await log.publish(numbered("orders", 2_000))
        await log.publish(numbered("commands", 3))
        async with await joined(log, ["orders", "commands"], 1, ["commands"]) as member:
            await member.has(0)
            early = await member.fetched(4, limit=4)
            assert len(flat(early, "commands", 0)) == 3
            rest = await member.fetched(1_999, limit=500)
        found = flat([*early, *rest], "orders", 0)
        assert [record.offset for record in found] == list(range(2_000))

    async def test_only_open_gates(self, log: Log) -> None:
        """Nothing comes of a shard before its gate is open."""
        await log.publish(numbered("orders", 5))
        group = await log.join(["orders"], 1)
        change = await group.changes()
        token = Token(getattr(change, "token", 0))
        lease = await group.lease(Shard(0), token)
        assert await brings_nothing(group, {Shard(0): token})
        await lease.open_gate({})
        batches: list[Batch] = []
        while count(batches) < 5:
            batches += await group.fetch({Shard(0): token}, 10)
        assert [record.offset for record in flat(batches, "orders", 0)] == list(range(5))
        await lease.release()
        assert await brings_nothing(group, {Shard(0): token})

    async def test_wakes_up(self, harness: Harness, log: Log) -> None:
        """A fetch that waits returns what another process publishes meanwhile."""
        other = await harness.open()
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            for number in range(5):
                async with asyncio.TaskGroup() as tasks:
                    fetching = tasks.create_task(member.fetched(1))
                    await turns(5)
                    assert not fetching.done()
                    await other.publish([Outgoing("orders", b"k", b"%d" % number, partition=2)])
                (record,) = flat(fetching.result(), "orders", 2)
                assert record == (number, record.timestamp_ms, b"k", b"%d" % number, ())

    async def test_empty_after_a_while(self, log: Log) -> None:
        """With nothing to return, a fetch returns that, after a bounded wait."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            async with asyncio.timeout(PATIENCE_S):
                assert await member.group.fetch(member.tokens, 10) == []

    async def test_cancelled(self, log: Log) -> None:
        """A fetch that is cancelled loses no records."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            for number in range(10):
                async with asyncio.TaskGroup() as tasks:
                    fetching = tasks.create_task(member.group.fetch(member.tokens, 10))
                    await turns()
                    publishing = tasks.create_task(log.publish(numbered("orders", 1, start=number)))
                    await turns(number)
                    fetching.cancel()
                    await publishing
                if not fetching.cancelled() and fetching.result():
                    (seen,) = flat(fetching.result(), "orders", 0)
                else:
                    (seen,) = flat(await member.fetched(1), "orders", 0)
                assert seen.offset == number

    async def test_what_a_cut_publishes(self, log: Log) -> None:
        """Records of a cut are fetched like any other, by their partition's owner."""
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            emitted = [Outgoing("orders", b"k", b"%d" % n, partition=n) for n in range(4)]
            await member.leases[Shard(1)].commit(puts({b"a": b"1"}, *emitted))
            found = await member.fetched(4)
        for partition in range(4):
            assert [r.value for r in flat(found, "orders", partition)] == [b"%d" % partition]

    async def test_more_partitions_than_shards(self, log: Log) -> None:
        """Partition q belongs to shard q mod N, and its offset is named topic/q."""
        for partition in range(4):
            await log.publish(numbered("orders", 5, partition=partition))
        async with await joined(log, ["orders"], 2) as member:
            member.offsets = {"orders": 1, "orders/2": 2, "orders/3": 3}
            await member.has(0, 1)
            found = await member.fetched(4 + 4 + 3 + 2)
            watermarks = await member.group.watermarks(Shard(1))
        assert {(batch.shard, batch.partition) for batch in found} == {
            (0, 0),
            (0, 2),
            (1, 1),
            (1, 3),
        }
        assert [record.offset for record in flat(found, "orders", 3)] == [3, 4]
        assert watermarks == {"orders": 5, "orders/3": 5}

    async def test_watermarks(self, harness: Harness, log: Log) -> None:
        """The watermarks of a shard are those of its partitions, as of now."""
        other = await harness.open()
        async with await joined(log, ["orders", "history"], 4) as member:
            await member.has(0, 1, 2, 3)
            assert await member.group.watermarks(Shard(2)) == {"orders": 0, "history": 0}
            await other.publish([*numbered("orders", 3, partition=2), *numbered("history", 1)])
            assert await member.group.watermarks(Shard(2)) == {"orders": 3, "history": 0}
            assert await member.group.watermarks(Shard(0)) == {"orders": 0, "history": 1}
