"""What becomes of a topic while it is read: shortened by retention, given more partitions, removed."""

from __future__ import annotations

import pytest

from event_center.errors import UnknownTopic
from event_center.log.detail import Use
from event_center.log.port import Batch, Log
from event_center.model import Shard
from tests.log.harness import Harness, Member, flat, joined, numbered
from tests.waiting import until_true


async def reopened(member: Member, shard: int, **offsets: int) -> None:
    """Open an open gate anew, as an owner does when a topic has grown."""
    await member.leases[Shard(shard)].open_gate(offsets)


class TestRetention:
    async def test_a_gap_is_told(self, harness: Harness, log: Log) -> None:
        """What was to be read next and is gone comes as a batch without records, before the rest."""
        await log.publish(numbered("orders", 10))
        await harness.trim("orders", 6)
        async with await joined(log, ["orders"], 1) as member:
            member.offsets = {"orders": 3}
            await member.has(0)
            gap, *rest = await member.fetched(4)
        assert (list(gap.records), gap.topic, gap.partition, gap.after) == ([], "orders", 0, 6)
        assert [record.offset for record in flat(rest, "orders", 0)] == [6, 7, 8, 9]

    async def test_all_is_gone(self, harness: Harness, log: Log) -> None:
        """The gap is told also if nothing follows it."""
        await log.publish(numbered("orders", 10))
        await harness.trim("orders", 10)
        async with await joined(log, ["orders"], 1) as member:
            member.offsets = {"orders": 3}
            await member.has(0)
            found: list[Batch] = []
            while not found:
                found = await member.group.fetch(member.tokens, 10)
            assert [(list(batch.records), batch.after) for batch in found] == [([], 10)]
            assert (await member.group.watermarks(Shard(0)))["orders"] == 10

    async def test_reads_begin_at_the_oldest(self, harness: Harness, log: Log) -> None:
        """Whoever reads without a lease passes over what is gone."""
        await log.publish(numbered("orders", 10))
        await harness.trim("orders", 6)
        offsets = [r.offset async for batch in log.read("orders", 0) for r in batch]
        assert offsets == [6, 7, 8, 9]


class TestGrowth:
    async def test_new_partitions_are_read(self, harness: Harness, log: Log) -> None:
        """Once the group has looked, a gate that is opened anew reads partitions q mod N."""
        await log.publish(numbered("orders", 3))
        async with await joined(log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            assert not await member.group.look()
            assert len(flat(await member.fetched(3), "orders", 0)) == 3
            await harness.grow("orders", 6)
            await log.topics()

            async def seen() -> bool:
                return await member.group.look()

            await until_true(seen)
            assert not await member.group.look()
            await log.publish(
                [*numbered("orders", 2, partition=4), *numbered("orders", 1, start=3)]
            )
            await reopened(member, 0, orders=3)
            await reopened(member, 1)
            found = await member.fetched(3)
            assert await member.group.watermarks(Shard(0)) == {"orders": 4, "orders/4": 2}
        assert [record.offset for record in flat(found, "orders", 4)] == [0, 1]
        assert [record.offset for record in flat(found, "orders", 0)] == [3]
        assert {batch.shard for batch in found} == {0}


class TestMadeAnew:
    async def test_it_has_another_id(self, harness: Harness, log: Log) -> None:
        """A topic that was removed is gone; made anew, it is not the one that it was."""
        before = (await log.topics())["orders"]
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            await harness.remove("orders")
            assert "orders" not in await log.topics()
            with pytest.raises(UnknownTopic, match="orders"):
                await member.group.look()
            await log.create({"orders": 4})
            after = (await log.topics())["orders"]
        assert (after.name, after.partitions) == (before.name, before.partitions)
        assert after.id != before.id


class TestDescribe:
    async def test_offsets_of_every_partition(self, harness: Harness, log: Log) -> None:
        """A topic is described with its oldest offsets and the ones that come next."""
        await log.publish(numbered("orders", 10))
        await harness.trim("orders", 6)
        described = {detail.name: detail for detail in await log.describe()}
        assert described.keys() >= {"orders", "history"}
        first = described["orders"].partitions[0]
        assert (first.partition, first.next) == (0, 10)
        assert [part[1:] for part in described["history"].partitions] == [(0, 0)] * 4
        assert log.flaws(described["orders"], Use.EVENTS) == []
