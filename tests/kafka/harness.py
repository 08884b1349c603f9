"""
The log on Kafka for the contract suite: "processes" on one broker, their crashes, commits that fail.

Every harness has topics of its own on the broker, told apart by a prefix, and removes them.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError

from event_center.errors import NotCommitted, Unknown
from event_center.log.gates import Place
from event_center.log.kafka import KafkaLog, KafkaOptions, open_kafka
from event_center.log.kafka.delivery import Delivery
from event_center.log.kafka.lease import KEPT_S, KafkaLease, Mark
from event_center.log.kafka.options import MAX_RECORD_BYTES
from event_center.log.kafka.packing import Packer, Parcel
from event_center.log.kafka.transaction import Landed
from event_center.log.port import Kept, Log
from event_center.model import Outgoing
from tests.kafka.compacting import compacted
from tests.log.harness import clock
from tests.waiting import until_true

NOWHERE = "127.0.0.1:1"
"""A port on which nothing listens."""


class FaultyProducer:
    """A producer whose next commit fails, once, before or after it took place."""

    def __init__(self, producer: Any, *, after: bool) -> None:
        self._producer = producer
        self._after = after
        self._armed = True

    async def commit_transaction(self) -> None:
        if not self._armed or self._after:
            await self._producer.commit_transaction()
        if self._armed:
            self._armed = False
            raise RequestTimedOutError("made to fail by a test")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class FaultyDelivery:
    """A delivery whose next write ends Unknown, after it took place or without it."""

    def __init__(self, delivery: Delivery, *, after: bool) -> None:
        self._delivery = delivery
        self._after = after

    async def write(
        self,
        own: Place,
        entries: Mapping[bytes, bytes | None],
        packed: Sequence[Parcel],
        records: Sequence[Parcel],
    ) -> list[Landed]:
        if self._after:
            await self._delivery.write(own, entries, packed, records)
        raise Unknown("made to fail by a test")


class GoneClient:
    """A client whose brokers do not answer any more."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.client, name)
        asks = name != "stop" and inspect.iscoroutinefunction(found)
        return refuse if asks else found


async def refuse(*asked: Any, **more: Any) -> None:
    """What a client says whose brokers do not answer."""
    raise KafkaConnectionError("made to fail by a test")


class FaultyPacker:
    """A packer that finds the next cut too large."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._armed = True

    async def places(self, records: Sequence[Outgoing]) -> Any:
        if self._armed:
            self._armed = False
            raise NotCommitted("made to fail by a test")
        return await self._packer.places(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packer, name)


class KafkaHarness:
    """The processes are logs on one broker, with connections of their own; topics have a prefix."""

    largest, too_large = MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1

    def __init__(self, bootstrap: str, *, at_least_once: bool = False) -> None:
        self.options = KafkaOptions(
            at_least_once=at_least_once,
            bootstrap=bootstrap,
            app="app",
            group="group",
            topic_prefix=f"t{uuid.uuid4().hex[:12]}.",
            replication_factor=1,
            session_timeout_s=6.0,
            heartbeat_s=0.05,
        )
        self.logs: list[KafkaLog] = []

    async def open(self) -> KafkaLog:
        log = await open_kafka(self.options, clock=clock)
        self.logs.append(log)
        return log

    async def crash(self, log: Log) -> None:
        assert isinstance(log, KafkaLog)
        for group in log._groups:
            group.vanish()
            await group._membership.leave()

    async def refuse_next_cut(self, log: Log) -> None:
        for lease in self.leases(log):
            lease._packer = FaultyPacker(lease._packer)  # type: ignore[assignment]  # a fake

    async def lose_next_cut(self, log: Log, *, written: bool) -> None:
        for lease in self.leases(log):
            if self.options.at_least_once:
                lease._delivery = FaultyDelivery(lease._delivery, after=written)
                continue
            delivery: Any = lease._delivery
            delivery._producer = FaultyProducer(delivery._producer, after=written)

    async def trim(self, topic: str, offset: int) -> None:
        place = TopicPartition(self.options.topic_prefix + topic, 0)
        async with self.admin() as admin:
            await admin.delete_records({place: RecordsToDelete(before_offset=offset)})

    async def grow(self, topic: str, partitions: int) -> None:
        real = self.options.topic_prefix + topic
        async with self.admin() as admin:
            await admin.create_partitions({real: NewPartitions(partitions)})

        async def led() -> bool:
            async with self.admin() as admin:
                [found] = await admin.describe_topics([real])
            parts = found["partitions"]
            return len(parts) == partitions and all(part["leader"] >= 0 for part in parts)

        await until_true(led)

    async def remove(self, topic: str) -> None:
        real = self.options.topic_prefix + topic
        async with self.admin() as admin:
            await admin.delete_topics([real])

        async def gone() -> bool:
            async with self.admin() as admin:
                return real not in await admin.list_topics()

        await until_true(gone)

    async def compact(self, kept: Kept) -> Kept:
        """As the broker does it, by settings that let a second do what a day does in earnest."""
        await compacted(self.options.bootstrap, self.options.topic_prefix + self.options.snapshots)
        assert isinstance(kept.mark, Mark)
        return kept._replace(mark=kept.mark._replace(at=kept.mark.at - KEPT_S))

    @asynccontextmanager
    async def away(self, log: Log) -> AsyncIterator[None]:
        """Whatever is there does not answer, and nothing new can be reached."""
        assert isinstance(log, KafkaLog)
        reading = log._cluster.reading
        deliveries: list[Any] = [lease._delivery for lease in self.leases(log)]
        log._catalog._client = GoneClient(log._client)
        reading._raw, reading._stable = GoneClient(reading._raw), GoneClient(reading._stable)
        free, reading._free = reading._free, []
        reach, log._clients._reach = log._clients._reach, dict(log._clients._reach)
        log._clients._reach["bootstrap_servers"] = NOWHERE
        for delivery in deliveries:
            delivery._producer = GoneClient(delivery._producer)
        yield
        for delivery in deliveries:
            delivery._producer = delivery._producer.client
        log._clients._reach, reading._free = reach, free
        reading._raw, reading._stable = reading._raw.client, reading._stable.client
        log._catalog._client = log._client

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An administrator of the cluster."""
        made = AIOKafkaAdminClient(bootstrap_servers=self.options.bootstrap)
        await made.start()
        try:
            yield made
        finally:
            await made.close()

    @staticmethod
    def leases(log: Log) -> list[KafkaLease]:
        assert isinstance(log, KafkaLog)
        return [lease for group in log._groups for lease in group._leases.values()]

    async def close(self) -> None:
        for log in self.logs:
            await log.close()
        await self.remove_topics()

    async def remove_topics(self, prefix: str = "") -> None:
        """Leave nothing on the broker, which other tests use too."""
        async with self.admin() as admin:
            names = await admin.list_topics()
            mine = [name for name in names if name.startswith(prefix or self.options.topic_prefix)]
            if mine:
                await admin.delete_topics(mine)
