"""A partition that can not be read on: it is named, with what to do, and stops no other."""

from __future__ import annotations

import asyncio
from typing import Any

import aiokafka.codec
import pytest
from aiokafka import AIOKafkaProducer

from event_center.errors import DataLost, LogUnavailable
from event_center.log.kafka import KafkaLog
from event_center.log.port import Batch, Group
from event_center.model import Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import Member, flat, joined, numbered
from tests.waiting import PATIENCE_S, until_true


async def publish_packed(harness: KafkaHarness, partition: int, count: int) -> None:
    """Records in one batch that is compressed by lz4, as a foreign producer writes them."""
    producer = AIOKafkaProducer(
        bootstrap_servers=harness.options.bootstrap, compression_type="lz4", linger_ms=50
    )
    await producer.start()
    try:
        real = harness.options.topic_prefix + "orders"
        sent = [
            await producer.send(real, b"packed" * 50, key=b"k", partition=partition)
            for _ in range(count)
        ]
        for one in sent:
            await one
    finally:
        await producer.stop()


async def fetched(member: Member, partitions: dict[int, int]) -> list[str]:
    """Fetch until so many records of each partition have come; what was complained of meanwhile."""
    complaints: list[str] = []
    batches: list[Batch] = []

    async def enough() -> bool:
        try:
            batches.extend(await member.group.fetch(member.tokens, 100))
        except LogUnavailable as error:
            complaints.append(str(error))
        return all(len(flat(batches, "orders", p)) >= n for p, n in partitions.items())

    await until_true(enough)
    assert {p: len(flat(batches, "orders", p)) for p in partitions} == partitions
    return complaints


async def test_records_that_can_not_be_unpacked(
    kafka_harness: KafkaHarness, kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes before them is read, other partitions go on, and a new takeover tries them again."""
    for partition in range(4):
        await kafka_log.publish(numbered("orders", 3, partition=partition))
    await publish_packed(kafka_harness, 0, 2)
    monkeypatch.setattr(aiokafka.codec, "has_lz4", lambda: False)
    async with await joined(kafka_log, ["orders"], 2) as member:
        await member.has(0, 1)
        said = await fetched(member, {0: 3, 1: 3, 2: 3, 3: 3})
        for partition in range(4):
            await kafka_log.publish(numbered("orders", 3, partition=partition))
        said += await fetched(member, {1: 3, 2: 3, 3: 3})
        assert len(said) == 1
        assert "orders/0 can not be read from offset 3 on" in said[0]
        assert "lz4" in said[0]
        assert "restart this process" in said[0]
        monkeypatch.undo()
        lease = await member.group.lease(Shard(0), member.tokens[Shard(0)])
        await lease.open_gate({"orders": 3, "orders/2": 6})
        assert await fetched(member, {0: 5}) == []


async def test_a_partition_that_lost_its_end(kafka_log: KafkaLog) -> None:
    """Whoever reads other shards is not told of it; whoever reads this one is."""
    await kafka_log.publish(numbered("orders", 3))
    async with await joined(kafka_log, ["orders"], 4) as member:
        await member.has(0, 1, 2, 3)
        await fetched(member, {0: 3})
        supply: Any = member.group._supply  # type: ignore[attr-defined]  # of Kafka's group
        supply._reads["orders", 0].cursor = 9
        supply._changed()

        async def lost() -> bool:
            return bool(supply._stuck)

        await until_true(lost)
        others = {shard: token for shard, token in member.tokens.items() if shard != 0}
        await kafka_log.publish(numbered("orders", 2, partition=1))
        assert await brought(member.group, others) == 2
        with pytest.raises(DataLost, match=r"orders/0 .*offset 9.* ends at 3"):
            await member.group.fetch(member.tokens, 10)


async def brought(group: Group, ready: Any) -> int:
    """How many records the first fetch brings that brings any."""
    batches: list[Batch] = []
    async with asyncio.timeout(PATIENCE_S):
        while not batches:
            batches = await group.fetch(ready, 10)
    return sum(len(batch.records) for batch in batches)
