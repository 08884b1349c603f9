"""Topics, and records that are published outside any lease."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from event_center.errors import ConfigurationError, UnknownTopic
from event_center.log.partitioner import murmur2
from event_center.log.port import Log
from event_center.model import Outgoing, Position
from tests.log.harness import Harness, numbered, records_of, values_of


class TestTopics:
    async def test_created(self, log: Log) -> None:
        """A topic has the partitions that were asked for."""
        topics = await log.topics()
        assert {name: info.partitions for name, info in topics.items()} == {
            "orders": 4,
            "history": 4,
        }
        assert topics["orders"].name == "orders"

    async def test_existing_ones_stay(self, log: Log) -> None:
        """Creating a topic again changes nothing of it, and makes the others."""
        before = await log.topics()
        await log.publish([Outgoing("orders", b"k", b"v", partition=0)])
        await log.create({"orders": 9, "more": 1})
        after = await log.topics()
        assert after["orders"] == before["orders"]
        assert after["more"].partitions == 1
        assert await values_of(log, "orders") == [b"v"]

    async def test_ids_differ(self, log: Log) -> None:
        """No two topics have the same id."""
        ids = [info.id for info in (await log.topics()).values()]
        assert len(set(ids)) == len(ids)
        assert all(ids)

    async def test_seen_by_others(self, harness: Harness, log: Log) -> None:
        """Every process sees the same topics with the same ids."""
        other = await harness.open()
        assert await other.topics() == await log.topics()
        await other.create({"late": 2})
        assert (await log.topics())["late"] == (await other.topics())["late"]
        assert await log.watermark("late", 1) == 0

    @pytest.mark.parametrize(("name", "partitions"), [("a/b", 1), ("", 1), ("a b", 1), ("ok", 0)])
    async def test_impossible(self, log: Log, name: str, partitions: int) -> None:
        """A topic that could not be on every log can be on none."""
        with pytest.raises(ConfigurationError, match="topic"):
            await log.create({name: partitions})
        assert name not in await log.topics()

    async def test_join_of_an_unknown_topic(self, log: Log) -> None:
        """Joining says which topic is missing, and which there are."""
        with pytest.raises(UnknownTopic, match=r"nothing-here.*orders"):
            await log.join(["orders", "nothing-here"], 4)


class TestPublish:
    async def test_positions_and_order(self, log: Log) -> None:
        """Records lie where the answer says, in the order they were given."""
        first = await log.publish(numbered("orders", 3))
        second = await log.publish(numbered("orders", 2, start=3))
        assert first + second == [Position("orders", 0, n) for n in range(5)]
        assert await values_of(log, "orders") == [b"0", b"1", b"2", b"3", b"4"]

    async def test_durable(self, harness: Harness, log: Log) -> None:
        """What was published is there after the process has crashed."""
        await log.publish(numbered("orders", 3))
        await harness.crash(log)
        other = await harness.open()
        assert await values_of(other, "orders") == [b"0", b"1", b"2"]

    async def test_keys_decide_the_partition(self, log: Log) -> None:
        """Without a partition, a record lies where Kafka's default partitioner puts its key."""
        keys = [b"order-%d" % n for n in range(50)]
        positions = await log.publish([Outgoing("orders", key, b"") for key in keys])
        assert [position.partition for position in positions] == [murmur2(key) % 4 for key in keys]

    async def test_null_keys(self, log: Log) -> None:
        """Records without key and partition lie in some partition that exists."""
        positions = await log.publish([Outgoing("orders", None, b"%d" % n) for n in range(20)])
        found = [value for q in range(4) for value in await values_of(log, "orders", q)]
        assert Counter(found) == Counter(b"%d" % n for n in range(20))
        assert len({position.partition for position in positions}) > 1

    async def test_null_is_not_empty(self, log: Log) -> None:
        """Key and value may be null, and empty is something else."""
        await log.publish(
            [
                Outgoing("orders", None, None, partition=0),
                Outgoing("orders", b"", b"", partition=0),
                Outgoing("orders", None, b"v", partition=0),
                Outgoing("orders", b"k", None, partition=0),
            ]
        )
        found = [(record.key, record.value) for record in await records_of(log, "orders")]
        assert found == [(None, None), (b"", b""), (None, b"v"), (b"k", None)]

    async def test_headers(self, log: Log) -> None:
        """Headers come back in order, repeated names and any bytes included."""
        headers = (("a", b"1"), ("b", bytes(range(256))), ("a", b""), ("name \u00e9\u4e16", b"x"))
        await log.publish(
            [
                Outgoing("orders", b"k", b"v", headers=headers, partition=0),
                Outgoing("orders", b"k", b"v", partition=0),
            ]
        )
        found = [record.headers for record in await records_of(log, "orders")]
        assert found == [headers, ()]

    async def test_timestamps(self, log: Log) -> None:
        """A record keeps its timestamp; one without gets the log's."""
        stamped = Outgoing("orders", b"k", b"v", partition=0, timestamp_ms=1_234)
        await log.publish([stamped, Outgoing("orders", b"k", b"v", partition=0)])
        first, second = await records_of(log, "orders")
        assert first.timestamp_ms == 1_234
        assert second.timestamp_ms > 1_600_000_000_000

    async def test_large_values(self, log: Log) -> None:
        """A value of 800 kB comes back byte for byte."""
        value = bytes(range(256)) * 3_200
        await log.publish([Outgoing("orders", b"k", value, partition=2)])
        assert await values_of(log, "orders", 2) == [value]

    async def test_many(self, log: Log) -> None:
        """Thousands of records in one call are all there, in order, in every partition."""
        records = [Outgoing("orders", b"k", b"%d" % n, partition=n % 4) for n in range(5_003)]
        positions = await log.publish(records)
        assert positions == [Position("orders", n % 4, n // 4) for n in range(5_003)]
        for q in range(4):
            assert await values_of(log, "orders", q) == [b"%d" % n for n in range(q, 5_003, 4)]

    @pytest.mark.parametrize(
        "bad", [Outgoing("nowhere", b"k", b"v"), Outgoing("orders", b"k", b"v", partition=4)]
    )
    async def test_all_or_nothing(self, log: Log, bad: Outgoing) -> None:
        """If one record has no place, none is written, and the answer says what there is."""
        good = Outgoing("orders", b"k", b"good", partition=0)
        with pytest.raises(UnknownTopic, match="orders"):
            await log.publish([good, good, bad, good])
        assert await log.watermark("orders", 0) == 0
        assert await log.publish([good]) == [Position("orders", 0, 0)]
        assert await values_of(log, "orders") == [b"good"]

    async def test_nothing(self, log: Log) -> None:
        """Publishing no records does nothing."""
        assert await log.publish([]) == []

    async def test_several_at_once(self, harness: Harness, log: Log) -> None:
        """Publishers at the same time, in one process and in others, lose and mix up nothing."""
        logs = [log, await harness.open(), await harness.open()]
        async with asyncio.TaskGroup() as tasks:
            for number, one in enumerate(logs * 4):
                records = [
                    Outgoing("orders", b"%d" % number, b"%d" % n, partition=1) for n in range(25)
                ]
                tasks.create_task(one.publish(records))
        found = await records_of(log, "orders", 1)
        assert [record.offset for record in found] == list(range(300))
        for number in range(12):
            mine = [record.value for record in found if record.key == b"%d" % number]
            assert mine == [b"%d" % n for n in range(25)]
