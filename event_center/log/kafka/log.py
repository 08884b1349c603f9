"""
A log on Apache Kafka, opened by one process.

Promises what `port.Log` says; durable means: on as many brokers as the topics' min.insync.replicas.
Entries are the records of the compacted topic `<app>.snapshots`, whose partitions are the shards. What
is published in one call is one batch of an idempotent producer if it fits one, else one transaction.
The app room opens it; `group.py` and `lease.py` have the next steps.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka.errors import (
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from event_center.errors import Fenced, LogUnavailable, NotCommitted, Unknown
from event_center.log.detail import Flaw, TopicDetail, Use
from event_center.log.gates import Gates, Place
from event_center.log.kafka.catalog import Catalog
from event_center.log.kafka.client import Clients
from event_center.log.kafka.group import KafkaGroup
from event_center.log.kafka.heap import Heap
from event_center.log.kafka.inspection import inspect
from event_center.log.kafka.lease import Cluster
from event_center.log.kafka.note import Notes
from event_center.log.kafka.options import CUT_DISTANCE_S, CUTS_PER_S, KafkaOptions
from event_center.log.kafka.packing import Packer
from event_center.log.kafka.reading import Reading, pieces
from event_center.log.kafka.transaction import Landed, send, transact
from event_center.log.kafka.wanted import flaws
from event_center.log.partitioner import Partitioner, murmur2
from event_center.log.port import Entry, TopicInfo
from event_center.model import Outgoing, Position, Record, Shard

REFUSED = (
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
"""Answers of a broker by which it has taken nothing of a batch."""
BUSY_S = 0.2
"""
A shard is busy that has made a cut within this time, or twice the distance of cuts if that is more.
Longer would let a few events a second, each in another shard, slow the cuts of all of them.
"""


async def open_kafka(
    options: KafkaOptions, *, clock: Callable[[], int], partitioner: Partitioner = murmur2
) -> KafkaLog:
    """
    Reach the cluster.

    Args:
        options: Where it is, names and limits.
        clock: Says the time in ms; stamps records.
        partitioner: Which partition a key has; the same in everything that publishes.

    Raises:
        LogUnavailable: no broker answers; the message says where it was looked for.
        LogRefused: a broker answers and does not let us in; the message says why.
    """
    clients = Clients(options)
    try:
        client = await clients.plain()
    except LogUnavailable:
        await clients.disposed()
        raise
    catalog = Catalog(clients, client)
    reading = Reading(clients, catalog)
    cluster = Cluster(
        clients=clients,
        packer=Packer(catalog, partitioner, clock),
        reading=reading,
        notes=Notes(clients, clock),
        heap=Heap(),
    )
    log = KafkaLog(cluster, client)
    try:
        await reading.open()
    except BaseException:  # whatever it was goes on, and no connection is left open
        await log.close()
        raise
    return log


class KafkaLog:
    """An open log on Kafka; made by `open_kafka`."""

    def __init__(self, cluster: Cluster, client: Any) -> None:
        self.where = f"the log at {cluster.clients.options.bootstrap}"
        self.cut_distance_s = CUT_DISTANCE_S
        self.session_timeout_s = cluster.clients.options.session_timeout_s
        self._cluster = cluster
        self._clients = cluster.clients
        self._options = cluster.clients.options
        self._catalog = cluster.packer.catalog
        self._client = client
        self._groups: list[KafkaGroup] = []
        self._publisher: Any = None
        self._transactor: Any = None
        self._publishing = asyncio.Lock()
        self._transacting = asyncio.Lock()
        self._closed = False

    def pace(self) -> None:
        """After a cut: the more shards are busy, the longer each waits for its next one."""
        since = asyncio.get_running_loop().time() - max(BUSY_S, 2 * self.cut_distance_s)
        busy = sum(group.busy(since) for group in self._groups)
        self.cut_distance_s = max(CUT_DISTANCE_S, busy / CUTS_PER_S)

    async def create(self, topics: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet."""
        await self._catalog.create(topics)

    async def topics(self) -> dict[str, TopicInfo]:
        """All topics by name."""
        return await self._catalog.topics()

    async def join(
        self, topics: Sequence[str], shards: int, urgent: Collection[str] = ()
    ) -> KafkaGroup:
        """Become a member of the group that consumes these topics."""
        counts = {name: await self._catalog.partitions(name) for name in topics}
        for name, count in counts.items():
            if not count:
                raise self._catalog.unknown(name)
        snapshots = self._options.snapshots
        await self._catalog.create({snapshots: shards})
        self._catalog.check_shards(shards)
        gates = Gates(list(counts.items()), shards, urgent)
        group = KafkaGroup(self._cluster, gates, paced=self.pace)
        self._groups.append(group)
        try:
            await group.enter()
        except BaseException:  # whatever it was goes on, and nothing of the member stays behind
            self._groups.remove(group)
            raise
        return group

    async def members(self) -> list[str]:
        """Who is in the group now; one that was killed stays until its session timeout."""
        return await self._clients.members()

    def say(self, told: Mapping[str, Any]) -> None:
        """Let others hear within seconds how this process is, as long as it is in the group."""
        self._cluster.notes.say(told)

    async def said(self) -> list[dict[str, Any]]:
        """What the processes of the group say of themselves."""
        return await self._cluster.notes.heard()

    async def describe(self) -> list[TopicDetail]:
        """All topics as an administrator sees them."""
        return await inspect(self._clients, self._catalog, self._cluster.reading)

    def flaws(self, detail: TopicDetail, use: Use) -> list[Flaw]:
        """What of a topic's settings does not fit its use."""
        return flaws(detail, use, self._options)

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """Append records outside any lease, all or nothing; durable when it returns."""
        if not records:
            return []
        places = await self._cluster.packer.places(records)
        alone = self._options.at_least_once or len(set(places)) == 1
        landed = await self._alone(records, places) if alone else None
        if landed is None:
            landed = await self._together(records, places)
        return _positions(places, landed)

    async def _alone(
        self, records: Sequence[Outgoing], places: Sequence[Place]
    ) -> list[Landed] | None:
        """
        Write what fits one batch, which is whole by itself; None if it does not.

        Where there are no transactions, several batches are written one after the other.
        """
        async with self._publishing:
            if self._publisher is None:
                self._publisher = await self._clients.producer()
            producer = self._publisher
        packed = self._cluster.packer.pack(producer, records, places)
        options = self._options
        if len(packed) > 1 and not options.at_least_once:
            return None
        try:
            return await send(producer, packed, options.topic_prefix, options.call_s)
        except Exception as error:  # as of a cut: only a clean return says that all is written
            self._discard_publisher(producer)
            said = error.__cause__ if isinstance(error, Unknown) else error
            if len(packed) > 1 or not isinstance(said, REFUSED):
                raise self._doubt(error) from error
            raise NotCommitted(
                f"nothing was published: {self._clients.said(said)}", topic=places[0][0]
            ) from error

    async def _together(self, records: Sequence[Outgoing], places: Sequence[Place]) -> list[Landed]:
        """Write several batches in one transaction, under a name that nobody else has."""
        options = self._options
        async with self._transacting:
            if self._transactor is None:
                name = f"{options.group_id}.publisher.{uuid.uuid4().hex}"
                self._transactor = await self._clients.producer(name)
            producer = self._transactor
            packed = self._cluster.packer.pack(producer, records, places)
            clean = False
            try:
                landed = await transact(producer, packed, options.topic_prefix, options.call_s)
                clean = True
            except (Fenced, Unknown) as error:
                raise self._doubt(error) from error
            finally:
                if not clean:
                    self._transactor = None
                    self._clients.dispose(producer)
        return landed

    def _discard_publisher(self, producer: Any) -> None:
        """After a batch that did not land, this producer's later ones would be refused."""
        if self._publisher is producer:
            self._publisher = None
            self._clients.dispose(producer)

    def _doubt(self, error: BaseException) -> Unknown:
        return Unknown(
            f"nobody knows whether the records were published to {self._options.bootstrap} "
            f"({self._clients.said(error.__cause__ or error)}): look before sending again"
        )

    async def read(
        self, topic: str, partition: int, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """Committed records of one partition."""
        place = (topic, partition)
        await self._catalog.check([place])
        reading = self._cluster.reading
        end = (await reading.ends([place]))[place]
        begin = (await reading.begins([place]))[place]
        last = end if stop is None else min(stop, end)
        async for found in reading.records(place, max(start, begin), last):
            yield found

    async def entries(self, shard: Shard, prefix: bytes = b"") -> AsyncIterator[list[Entry]]:
        """Committed entries of a shard, all of one moment, read without a lease."""
        for piece in pieces(await self._store(shard, prefix)):
            yield piece

    async def entry(self, shard: Shard, key: bytes) -> bytes | None:
        """One committed entry, read without a lease, from the newest record backwards."""
        place = (self._options.snapshots, int(shard))
        if int(shard) >= await self._catalog.partitions(place[0]):
            return None
        end = (await self._cluster.reading.ends([place]))[place]
        return await self._cluster.reading.newest(place, end, key)

    async def _store(self, shard: Shard, prefix: bytes) -> dict[bytes, bytes]:
        place = (self._options.snapshots, int(shard))
        if int(shard) >= await self._catalog.partitions(place[0]):
            return {}
        end = (await self._cluster.reading.ends([place]))[place]
        return await self._cluster.reading.store(place, end, prefix)

    async def watermark(self, topic: str, partition: int) -> int:
        """The offset after the newest committed record of one partition."""
        await self._catalog.check([(topic, partition)])
        return await self._cluster.reading.watermark((topic, partition))

    async def close(self) -> None:
        """Leave every group and let go of every connection."""
        if self._closed:
            return
        self._closed = True
        for group in list(self._groups):
            await group.leave()
            group.drop_leases()
        for client in (self._publisher, self._transactor, self._client):
            if client is not None:
                self._clients.dispose(client)
        self._cluster.reading.close()
        await self._clients.disposed()


def _positions(places: Sequence[Place], landed: Sequence[Landed]) -> list[Position]:
    """Where each record lies, from where its batch begins."""
    begins: dict[Place, list[tuple[int, int]]] = {}
    for place, first, offset in landed:
        begins.setdefault(place, []).append((first, offset))
    counts: dict[Place, int] = {}
    positions = []
    for place in places:
        number = counts.get(place, 0)
        counts[place] = number + 1
        batches = begins[place]
        while len(batches) > 1 and batches[1][0] <= number:
            del batches[0]
        first, offset = batches[0]
        positions.append(Position(place[0], place[1], offset + number - first))
    return positions
