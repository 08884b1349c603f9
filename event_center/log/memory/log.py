"""
A log in memory, opened by one "process" on a broker that several may share.

Promises what `port.Log` says; durable means: kept by the broker. `crash` is what kill -9 is to a
process. Tests and the simulation open it; `broker.py` has the next step of every call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from event_center.errors import NotCommitted, Unknown
from event_center.log.detail import Flaw, PartitionDetail, TopicDetail, Use
from event_center.log.memory.broker import MemoryBroker
from event_center.log.memory.faults import Ending, Faults
from event_center.log.memory.group import MemoryGroup
from event_center.log.port import FETCH_WAIT_S, Entry, TopicInfo
from event_center.model import Outgoing, Position, Record, Shard

BATCH = 10_000
"""Records or entries in one batch of a read: as on Kafka."""


class MemoryLog:
    """One process's view of a broker."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        clock: Callable[[], int],
        faults: Faults | None = None,
        cut_distance_s: float = 0.0,
        fetch_wait_s: float = FETCH_WAIT_S,
    ) -> None:
        self.where = "the log in memory"
        self.cut_distance_s = cut_distance_s
        self.session_timeout_s = 0.0
        self.faults = faults if faults is not None else broker.faults
        self._broker = broker
        self._clock = clock
        self._fetch_wait_s = fetch_wait_s
        self._groups: list[MemoryGroup] = []

    async def create(self, topics: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet."""
        await self.faults.at("create")
        self._broker.create(topics)

    async def topics(self) -> dict[str, TopicInfo]:
        """All topics by name."""
        await self.faults.at("topics")
        return dict(self._broker.infos)

    async def describe(self) -> list[TopicDetail]:
        """All topics with their offsets."""
        await self.faults.at("describe")
        return [self._detail(info) for info in self._broker.infos.values()]

    def _detail(self, info: TopicInfo) -> TopicDetail:
        watermark, first = self._broker.watermark, self._broker.first
        places = [(info.name, q) for q in range(info.partitions)]
        parts = [PartitionDetail(place[1], first(place), watermark(place)) for place in places]
        return TopicDetail(info.name, tuple(parts), 1, 1, {})

    def flaws(self, detail: TopicDetail, use: Use) -> list[Flaw]:
        """There are no settings that could be wrong."""
        del detail, use
        return []

    async def join(
        self, topics: Sequence[str], shards: int, urgent: Collection[str] = ()
    ) -> MemoryGroup:
        """Become a member of the group that consumes these topics."""
        await self.faults.at("join")
        for name in topics:
            self._broker.line((name, 0))
        group = MemoryGroup(
            self._broker,
            topics,
            shards,
            urgent=urgent,
            clock=self._clock,
            faults=self.faults,
            fetch_wait_s=self._fetch_wait_s,
        )
        self._broker.members.join(group)
        self._groups.append(group)
        return group

    async def members(self) -> list[str]:
        """Who is in the group now."""
        return [f"member {number}" for number in range(len(self._broker.members))]

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """Append records outside any lease, all or nothing."""
        await self.faults.at("publish.begun")
        self._broker.check_sizes(records)
        ending = self.faults.next_publish()
        if ending is Ending.NOT_COMMITTED:
            raise NotCommitted("nothing was published, as the faults of this log in memory asked")
        if ending in {Ending.LOST, Ending.LOST_LATER}:
            raise Unknown(
                "nobody knows whether the records were published: look before sending again"
            )
        placed = self._broker.append(records, self._clock())
        self._broker.members.ring()
        await self.faults.at("publish.written")
        if ending is not None:
            raise Unknown(
                "nobody knows whether the records were published: look before sending again"
            )
        return [Position._make(position) for position in placed]

    async def read(
        self, topic: str, partition: int, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """Committed records of one partition."""
        line = self._broker.line((topic, partition))
        end = len(line) if stop is None else min(stop, len(line))
        for at in range(max(start, self._broker.first((topic, partition))), end, BATCH):
            await self.faults.at("read")
            yield line[at : min(at + BATCH, end)]

    async def entries(self, shard: Shard, prefix: bytes = b"") -> AsyncIterator[list[Entry]]:
        """Committed entries of a shard, all of one moment, read without a lease."""
        store = self._broker.store(shard)
        found = [entry for entry in store.items() if entry[0].startswith(prefix)]
        for at in range(0, len(found), BATCH):
            await self.faults.at("entries")
            yield found[at : at + BATCH]

    async def entry(self, shard: Shard, key: bytes) -> bytes | None:
        """One committed entry, read without a lease."""
        await self.faults.at("entry")
        return self._broker.store(shard).get(key)

    async def watermark(self, topic: str, partition: int) -> int:
        """The offset after the newest committed record of one partition."""
        await self.faults.at("watermark")
        return len(self._broker.line((topic, partition)))

    async def close(self) -> None:
        """Leave every group."""
        groups, self._groups = self._groups, []
        for group in groups:
            await group.leave()

    def crash(self) -> None:
        """
        Vanish as a killed process does, releasing nothing: shards go to the other members.

        What still uses this log is a zombie: its leases commit until another has leased.
        """
        groups, self._groups = self._groups, []
        for group in groups:
            group.vanish()

    def expel(self) -> None:
        """Be thrown out of the group while alive, as after a session timeout: told Lost."""
        for group in self._groups:
            self._broker.members.expel(group)

    def readmit(self) -> None:
        """Join the group again after `expel`: shards come back with greater tokens. Who left stays out."""
        for group in self._groups:
            if not group.left:
                self._broker.members.join(group)
