"""
What is durable of a log in memory: topics, the keyed store of every shard, and who owns which
shard.

One broker stands for the disk or the cluster: it outlives the logs ("processes") that are opened on
it. Promises: `apply` makes a whole cut visible or nothing of it, in one synchronous pass; the epoch
of a shard rises with each lease, and a cut of an older epoch is refused. A store is a dict, so there is
nothing to compact; and what is appended is committed, so no reader has to stop before it.
`log.py`, `lease.py` and `group.py` of this room call it; membership is in `members.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from event_center.errors import Fenced, NotCommitted, UnknownTopic
from event_center.log.gates import Place
from event_center.log.memory.faults import Faults
from event_center.log.memory.members import Members
from event_center.log.ownership import check_topic, remembering
from event_center.log.partitioner import Partitioner, murmur2
from event_center.log.port import Cut, TopicInfo
from event_center.model import OutgoingParts, Position, Record, Shard, size_of

MAX_EVENT_BYTES = 900_000
"""Bytes of the largest event that is delivered: as on Kafka, so that tests find what is stuck there."""


class KeptCut(NamedTuple):
    """One cut as it became durable, kept for audits."""

    number: int
    shard: Shard
    epoch: int
    at_ms: int
    """When its lease gave it to the log: not later than it became durable."""
    entries: dict[bytes, bytes | None]
    positions: list[Position]
    offsets: dict[str, int]


class InFlight(NamedTuple):
    """A cut about which the next lease of its shard decides."""

    cut: Cut
    epoch: int
    now_ms: int
    written: bool


class MemoryBroker:
    """The durable store that several members share; belongs to one thread."""

    def __init__(
        self,
        *,
        partitioner: Partitioner = murmur2,
        keep_cuts: bool = False,
        handover_timeout_s: float = 30.0,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.max_event_bytes = max_event_bytes
        """Of a larger event, whoever wrote it, a note of its size is delivered in its place."""
        self.max_record_bytes = max_event_bytes + max_event_bytes // 9
        """A larger record is not taken; a letter has its reasons beside the event: as on Kafka, a ninth."""
        self.faults = Faults()
        self.members = Members(handover_timeout_s)
        self.infos: dict[str, TopicInfo] = {}
        self.cuts: list[KeptCut] = []
        """All cuts in the order they became durable, if `keep_cuts` was asked for."""
        self.keeps_cuts = keep_cuts
        self._partitioner = remembering(partitioner)
        self._keyless = 0
        self._lines: dict[Place, list[Record]] = {}
        self._firsts: dict[Place, int] = {}
        self._made = 0
        self._stores: dict[Shard, dict[bytes, bytes]] = {}
        self._offsets: dict[Shard, dict[str, int]] = {}
        self._epochs: dict[Shard, int] = {}
        self._in_flight: dict[Shard, InFlight] = {}

    def create(self, topics: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet."""
        wanted = {name: topics[name] for name in topics if name not in self.infos}
        for name, partitions in wanted.items():
            check_topic(name, partitions)
        for name, partitions in wanted.items():
            self._made += 1
            self.infos[name] = TopicInfo(name, partitions, f"{name}-{self._made}")
            self._lines.update({(name, q): [] for q in range(partitions)})

    def line(self, place: Place) -> list[Record]:
        """The records of one partition: the offset of a record is its index. Not to be changed."""
        found = self._lines.get(place)
        if found is None:
            raise self.unknown(place)
        return found

    def first(self, place: Place) -> int:
        """The offset of the oldest record that can still be read."""
        return self._firsts.get(place, 0)

    def trim(self, place: Place, offset: int) -> None:
        """What retention does: the records before this offset can not be read any more."""
        self._firsts[place] = offset

    def grow(self, topic: str, partitions: int) -> None:
        """What an administrator does: more partitions for a topic."""
        self.infos[topic] = self.infos[topic]._replace(partitions=partitions)
        for q in range(partitions):
            self._lines.setdefault((topic, q), [])

    def remove(self, topic: str) -> None:
        """Delete a topic and its records."""
        for q in range(self.infos.pop(topic).partitions):
            del self._lines[topic, q]
            self._firsts.pop((topic, q), None)

    def watermark(self, place: Place) -> int:
        """The offset after the newest committed record of a place."""
        return len(self._lines.get(place, ()))

    def store(self, shard: Shard) -> Mapping[bytes, bytes]:
        """The committed entries of a shard."""
        return self._stores.get(shard, {})

    def offsets(self, shard: Shard) -> Mapping[str, int]:
        """The next offset of each topic, as the last cuts of the shard said."""
        return self._offsets.get(shard, {})

    def unknown(self, place: tuple[str, int | None]) -> UnknownTopic:
        """The error for a topic or partition that is not there."""
        there = ", ".join(f"{t.name} ({t.partitions} partitions)" for t in self.infos.values())
        return UnknownTopic(
            f"the log in memory has no {place[0]}/{place[1]}; create the topic first. It has: "
            f"{there or 'no topics'}",
            topic=place[0],
        )

    def check_sizes(self, records: Iterable[OutgoingParts]) -> None:
        """
        Would all of these be taken? Logs and leases ask; others may have written larger ones.

        Raises:
            NotCommitted: one of them is too large.
        """
        most = self.max_record_bytes
        for topic, key, value, headers, _, _ in records:
            if headers or len(key or b"") + len(value or b"") > most:
                size = size_of(key, value, headers)
                if size > most:
                    raise NotCommitted(
                        f"nothing was written: the record for {topic} has {size} bytes, and this log "
                        f"in memory takes {most}, as Kafka does: keep a record below",
                        topic=topic,
                    )

    def append(self, records: Sequence[OutgoingParts], now_ms: int) -> list[tuple[str, int, int]]:
        """
        Append all of the records, or none; returns their positions as plain tuples.

        Raises:
            UnknownTopic: a record names a topic or partition that does not exist.
        """
        lines, new, record_type = self._lines, tuple.__new__, Record
        placed: list[tuple[str, int, int]] = []
        topic, partition = "", None
        try:
            for topic, key, value, headers, partition, stamp in records:
                home = self._home(topic, key) if partition is None else partition
                line = lines[topic, home]
                offset = len(line)
                line.append(new(record_type, (offset, stamp or now_ms, key, value, headers)))
                placed.append((topic, home, offset))
        except KeyError:
            for written, home, offset in placed:
                del lines[written, home][offset:]
            raise self.unknown((topic, partition)) from None
        return placed

    def _home(self, topic: str, key: bytes | None) -> int:
        partitions = self.infos[topic].partitions
        if key is not None:
            return self._partitioner(key) % partitions
        self._keyless += 1
        return self._keyless % partitions

    def apply(self, shard: Shard, epoch: int, cut: Cut, now_ms: int) -> None:
        """
        Make a cut durable and visible.

        Raises:
            Fenced: somebody else has leased the shard since.
            NotCommitted: a record goes to a topic that does not exist.
        """
        self.check(shard, epoch)
        try:
            placed = self.append(cut.records, now_ms)
        except UnknownTopic as error:
            raise NotCommitted(
                f"nothing of the cut of shard {shard} was written: {error}", topic=error.topic
            ) from error
        store = self._stores.setdefault(shard, {})
        if None in cut.entries.values():
            for key, value in cut.entries.items():
                if value is None:
                    store.pop(key, None)
                else:
                    store[key] = value
        else:
            store.update(cut.entries)  # type: ignore[arg-type]  # no None among the values
        self._offsets.setdefault(shard, {}).update(cut.offsets)
        if self.keeps_cuts:
            positions = [Position._make(position) for position in placed]
            entries, offsets = dict(cut.entries), dict(cut.offsets)
            self.cuts.append(
                KeptCut(len(self.cuts), shard, epoch, now_ms, entries, positions, offsets)
            )
        if cut.records:
            self.members.ring()

    def leave_in_flight(self, shard: Shard, cut: InFlight) -> None:
        """Let the next lease of the shard decide about a cut."""
        self.check(shard, cut.epoch)
        self._in_flight[shard] = cut

    def fence(self, shard: Shard) -> int:
        """Decide about what is in flight, then shut former owners out; returns the new epoch."""
        left = self._in_flight.pop(shard, None)
        if left is not None and left.written:
            self.apply(shard, left.epoch, left.cut, left.now_ms)
        self._epochs[shard] = self._epochs.get(shard, 0) + 1
        return self._epochs[shard]

    def check(self, shard: Shard, epoch: int) -> None:
        """
        Is a lease of this epoch still the last one?

        Raises:
            Fenced: it is not.
        """
        now = self._epochs.get(shard, 0)
        if now != epoch:
            raise Fenced(
                f"shard {shard} was leased again (epoch {now}; this lease has {epoch}): discard "
                "what this process holds of the shard"
            )
