"""What is Kafka's own: fencing by other producers, open transactions, ranges, sizes, sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from event_center.errors import (
    ConfigurationError,
    DataLost,
    Fenced,
    LogUnavailable,
    NotCommitted,
    Unknown,
)
from event_center.log.kafka import KafkaLog, open_kafka
from event_center.log.port import Kept
from event_center.model import Outgoing, Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import (
    Member,
    brings_nothing,
    clock,
    entries_of,
    flat,
    joined,
    numbered,
    puts,
    restored,
    values_of,
)
from tests.waiting import until_true


@pytest_asyncio.fixture
async def stranger(kafka_harness: KafkaHarness) -> AsyncIterator[AIOKafkaProducer]:
    """A transactional producer that knows nothing of us."""
    made = AIOKafkaProducer(
        bootstrap_servers=kafka_harness.options.bootstrap,
        transactional_id=f"{kafka_harness.options.topic_prefix}stranger",
    )
    await made.start()
    yield made
    await made.stop()


async def usurp(harness: KafkaHarness, shard: int) -> AIOKafkaProducer:
    """Start another producer under the name of a shard, as its next owner does."""
    made = AIOKafkaProducer(
        bootstrap_servers=harness.options.bootstrap,
        transactional_id=harness.options.transactional_id(shard),
    )
    await made.start()
    return made


class TestFencing:
    async def test_by_another_process(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """Whoever starts the shard's producer shuts us out, though the group says nothing."""
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            await lease.commit(puts({b"a": b"1"}))
            other = await usurp(kafka_harness, 0)
            record = Outgoing("history", b"k", b"late", partition=0)
            with pytest.raises(Fenced, match="shard 0"):
                await lease.commit(puts({b"a": b"2"}, record))
            await other.stop()
        assert await entries_of(kafka_log, 0) == {b"a": b"1"}
        assert await values_of(kafka_log, "history") == []

    async def test_in_the_middle_of_a_cut(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """A cut that was sent and not committed when the next owner came is gone, whole."""
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            await kafka_harness.lose_next_cut(kafka_log, written=False)
            with pytest.raises(Unknown):
                await lease.commit(puts({b"a": b"1"}))
            newer = await member.group.lease(Shard(0), member.tokens[Shard(0)])
            await newer.commit(puts({b"b": b"1"}))
            assert await entries_of(kafka_log, 0) == {b"b": b"1"}

    async def test_a_member_that_slept(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """A member whose session is over is told that its shards are lost, when it wakes up."""
        quick = replace(kafka_harness.options, session_timeout_s=1.0)
        sleeper = await open_kafka(quick, clock=clock)
        kafka_harness.logs.append(sleeper)
        async with await joined(sleeper, ["orders"], 2) as first:
            await first.has(0, 1)
            await freeze(first)
            async with await joined(kafka_log, ["orders"], 2) as second:
                await second.has(0, 1)
                old = dict(first.leases)
                with pytest.raises(Fenced):
                    await old[Shard(0)].commit(puts({b"late": b"1"}))
                assert await entries_of(kafka_log, 0) == {}


async def freeze(member: Member) -> None:
    """Stop a member's heartbeats, as a process that is stopped does."""
    group: Any = member.group
    membership = group._membership
    coordinator = membership._consumer._coordinator
    for task in (membership._tending, coordinator._coordination_task, coordinator._heartbeat_task):
        task.cancel()
        await asyncio.wait([task])


class TestTransactionsOfOthers:
    async def test_what_is_open_is_not_read(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog, stranger: AIOKafkaProducer
    ) -> None:
        """Records of a transaction are read once it is committed, and never if it is aborted."""
        real = kafka_harness.options.topic_prefix + "orders"
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            await stranger.begin_transaction()
            await stranger.send_and_wait(real, b"aborted", key=b"k", partition=0)
            assert await brings_nothing(member.group, member.tokens)
            assert await kafka_log.watermark("orders", 0) == 0
            await stranger.abort_transaction()
            await stranger.begin_transaction()
            await stranger.send_and_wait(real, b"committed", key=b"k", partition=0)
            await stranger.commit_transaction()
            found = flat(await member.fetched(1), "orders", 0)
            assert [record.value for record in found] == [b"committed"]
            watermarks = await member.group.watermarks(Shard(0))
        assert watermarks["orders"] == found[0].offset + 1


class TestRanges:
    async def test_records_that_are_gone(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """A gate below the oldest record is told of the gap, one behind the end is refused."""
        await kafka_log.publish(numbered("orders", 10))
        await kafka_harness.trim("orders", 5)
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            with pytest.raises(DataLost, match=r"orders/0 .*offset 11.* ends at 10"):
                await lease.open_gate({"orders": 11})
            await lease.open_gate({"orders": 4})
            gap, *_ = found = await member.fetched(5)
            assert (gap.records, gap.after) == ((), 5)
            assert [r.offset for r in flat(found, "orders", 0)] == [5, 6, 7, 8, 9]

    async def test_the_oldest_is_where_reading_begins(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """A topic that is new to a shard is read from the oldest record that there is."""
        await kafka_log.publish(numbered("orders", 10))
        await kafka_harness.trim("orders", 5)
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            found = flat(await member.fetched(5), "orders", 0)
        assert [record.offset for record in found] == [5, 6, 7, 8, 9]


class TestSizes:
    async def test_of_entries(self, kafka_harness: KafkaHarness, kafka_log: KafkaLog) -> None:
        """A value of any size is there whole, for a restore and for others, until it is removed."""
        large, larger, small = bytes(range(256)) * 4_000, b"y" * 2_000_000, b"small"
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            values: list[dict[bytes, bytes | None]] = [
                {b"k": large, b"other": b"1", b"two": larger},
                {b"k": larger, b"other": b"2"},
                {b"k": large},
                {b"k": small, b"two": None},
            ]
            there: dict[bytes, bytes | None] = {}
            for puts_now in values:
                there |= puts_now
                wanted = {key: value for key, value in there.items() if value is not None}
                lease = member.leases[Shard(0)]
                await lease.commit(puts(puts_now))
                assert await restored(lease) == wanted
                assert await restored(lease, Kept(wanted, lease.mark)) == wanted
                assert await entries_of(kafka_log, 0) == wanted
                for key in (b"k", b"two"):
                    assert await kafka_log.entry(Shard(0), key) == wanted.get(key)
        place = ("app.snapshots", 0)
        reading = kafka_log._cluster.reading
        keys = {}
        async for records in reading.records(place, 0, (await reading.ends([place]))[place]):
            keys.update({record.key: record.value for record in records})
        assert {key for key, value in keys.items() if value is not None} == {b"k", b"other"}

    async def test_of_entries_that_the_topic_does_not_take(
        self, kafka_harness: KafkaHarness
    ) -> None:
        """Where somebody made the topic's limit smaller, the cut is not there, and its error says why."""
        small = {kafka_harness.options.snapshots: {"max.message.bytes": "20000"}}
        kafka_harness.options = replace(kafka_harness.options, topic_configs=small)
        log = await kafka_harness.open()
        await log.create({"orders": 1})
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            await lease.commit(puts({b"a": b"1", b"b": b"1"}))
            with pytest.raises(Unknown, match="MessageSizeTooLarge"):
                await lease.commit(puts({b"a": b"2", b"b": b"x" * 50_000}))
            await member.take_over(Shard(0), member.tokens[Shard(0)])
            assert member.state[Shard(0)] == {b"a": b"1", b"b": b"1"}
            await member.leases[Shard(0)].commit(puts({b"a": b"2"}))
        assert await entries_of(log, 0) == {b"a": b"2", b"b": b"1"}

    async def test_of_a_topic_that_takes_less(self, kafka_harness: KafkaHarness) -> None:
        """Of the topics of a cut, and of what is published, the one that does not take it is named."""
        small = {"history": {"max.message.bytes": "20000"}}
        kafka_harness.options = replace(kafka_harness.options, topic_configs=small)
        log = await kafka_harness.open()
        await log.create({"orders": 1, "history": 1})
        large = Outgoing("history", b"k", b"x" * 50_000, partition=0)
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            small_one = Outgoing("orders", b"k", b"v", partition=0)
            with pytest.raises(Unknown, match="MessageSizeTooLarge") as lost:
                await member.leases[Shard(0)].commit(puts({b"a": b"1"}, small_one, large))
            assert lost.value.topic == "history"
        with pytest.raises(NotCommitted, match=r"nothing was published.*MessageSizeTooLarge") as no:
            await log.publish([large])
        assert no.value.topic == "history"

    async def test_of_a_topic_that_is_gone(
        self, kafka_harness: KafkaHarness, kafka_log: KafkaLog
    ) -> None:
        """Of the topics of a cut, the one that somebody has deleted is named, and the lease stands."""
        told = Outgoing("history", b"k", b"v", partition=0)
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            await kafka_harness.remove("history")
            await member.group.look()
            with pytest.raises(NotCommitted, match="has no history") as lost:
                await member.leases[Shard(0)].commit(puts({b"a": b"1"}, told))
            assert lost.value.topic == "history"
            await member.leases[Shard(0)].commit(puts({b"a": b"1"}))

    async def test_of_records(self, kafka_log: KafkaLog) -> None:
        """What no broker would take is found before it is sent, and the lease stands."""
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            large = Outgoing("history", b"k", b"x" * 1_200_000, partition=0)
            with pytest.raises(NotCommitted, match="history/0"):
                await lease.commit(puts({b"a": b"1"}, large))
            await lease.commit(puts({b"a": b"1"}))
        assert await entries_of(kafka_log, 0) == {b"a": b"1"}

    async def test_of_what_is_published(self, kafka_log: KafkaLog) -> None:
        """A record that is too large is refused, and the publisher works on."""
        with pytest.raises(NotCommitted, match="orders/0"):
            await kafka_log.publish([Outgoing("orders", b"k", b"x" * 1_200_000, partition=0)])
        await kafka_log.publish(numbered("orders", 1))
        assert await values_of(kafka_log, "orders") == [b"0"]


class TestCluster:
    async def test_nobody_there(self, kafka_harness: KafkaHarness) -> None:
        """A cluster that does not answer is named, with what to look at."""
        nowhere = replace(kafka_harness.options, bootstrap="127.0.0.1:1", request_timeout_s=1.0)
        with pytest.raises(LogUnavailable, match=r"127\.0\.0\.1:1 .*is a broker running"):
            await open_kafka(nowhere, clock=clock)

    async def test_too_few_brokers(self, kafka_harness: KafkaHarness) -> None:
        """More copies than brokers can not be made; the message names the setting."""
        many = replace(kafka_harness.options, replication_factor=3)
        log = await open_kafka(many, clock=clock)
        kafka_harness.logs.append(log)
        with pytest.raises(ConfigurationError, match="replication_factor is 3"):
            await log.create({"orders": 1})

    async def test_the_lag_is_shown(self, kafka_harness: KafkaHarness) -> None:
        """Tools that ask for the group's offsets see what is durable."""
        quick = replace(kafka_harness.options, lag_interval_s=0.1)
        log = await open_kafka(quick, clock=clock)
        kafka_harness.logs.append(log)
        await log.create({"orders": 2})
        await log.publish(numbered("orders", 10, partition=1))
        async with await joined(log, ["orders"], 2) as member:
            await member.has(0, 1)
            await member.leases[Shard(1)].commit(puts({b"a": b"1"}, orders=7))
            admin = AIOKafkaAdminClient(bootstrap_servers=quick.bootstrap)
            await admin.start()
            try:

                async def shown() -> bool:
                    offsets = await admin.list_consumer_group_offsets(quick.group_id)
                    return 7 in [offset.offset for offset in offsets.values()]

                await until_true(shown)
            finally:
                await admin.close()

    async def test_busy_shards_share_the_budget(self, kafka_log: KafkaLog) -> None:
        """The distance of cuts grows with the shards that are busy."""
        async with await joined(kafka_log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            assert kafka_log.cut_distance_s == 0.025
            for group in kafka_log._groups:
                now = asyncio.get_running_loop().time()
                group._last_cuts = dict.fromkeys(map(Shard, range(64)), now)
            kafka_log.pace()
            assert kafka_log.cut_distance_s == pytest.approx(64 / 200)
