"""
From records and entries to the batches that go to Kafka, one line of batches per partition.

Promises: records of one partition keep their order; what has no place, or is too large for a broker,
is found before anything is sent, because a batch that the broker refuses poisons its producer.
Every record goes straight into its batch: nothing is kept per record. Leases and publishers call
this; `transaction.py` sends the batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from event_center.errors import NotCommitted
from event_center.log.gates import Place
from event_center.log.kafka.catalog import Catalog
from event_center.log.kafka.options import MAX_PART_BYTES, MAX_RECORD_BYTES
from event_center.log.kafka.store import part_key, parts_of
from event_center.log.ownership import remembering
from event_center.log.partitioner import Partitioner
from event_center.model import Headers, OutgoingParts, size_of

_NONE: list[tuple[str, bytes]] = []
"""The headers of records without any: aiokafka wants a list, and does not change it."""


class Parcel(NamedTuple):
    """One batch on its way: `first` is the number of its first record in the line of its place."""

    place: Place
    first: int
    builder: Any


class _Line:
    """The batches of one place; the last one is open."""

    __slots__ = ("add", "batch", "count", "place", "size")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.count = 0
        """Records in the batches before the open one."""
        self.size = 0
        """Records in the open batch."""
        self.batch: Any = None
        self.add: Callable[..., object] = _full
        """Appends to the open batch; None says that there is no room for this record."""

    def begin(self, producer: Any) -> Parcel:
        """Open a new batch; its first record always fits."""
        self.close()
        self.batch = batch = producer.create_batch()
        # Its builder in C, past a method that costs as much again and only counts.
        self.add = batch._builder.append  # noqa: SLF001 - see PRIVATE in tests/kafka/test_rules.py
        return Parcel(self.place, self.count, batch)

    def close(self) -> None:
        """Tell the open batch how many records it has."""
        if self.batch is not None:
            self.batch._relative_offset = self.size  # noqa: SLF001 - as above
            self.batch.close()
        self.count += self.size
        self.size = 0


Line = tuple[bytes, bytes | None, Headers, int]
"""Key, value, headers and timestamp of one record."""


def _full(*_: object) -> None:
    """There is no batch yet."""


_NOWHERE = _Line(("", -1))
"""Stands for the line of the record before the first one."""


class Packer:
    """Knows where a key belongs and what fits."""

    def __init__(
        self, catalog: Catalog, partitioner: Partitioner, clock: Callable[[], int]
    ) -> None:
        self.catalog = catalog
        self._partitioner = remembering(partitioner)
        self._clock = clock
        self._keyless = 0

    async def places(self, records: Sequence[OutgoingParts]) -> list[Place]:
        """
        Where each record goes; what goes to the same place has the same object.

        Raises:
            UnknownTopic: a record names a topic or partition that does not exist.
        """
        found: list[Place] = []
        known: dict[str, list[Place]] = {}
        for topic, key, _, _, partition, _ in records:
            places = known.get(topic)
            if places is None:
                count = await self.catalog.partitions(topic)
                places = known[topic] = [(topic, number) for number in range(count)]
            home = self._home(key, len(places)) if partition is None else partition
            if not 0 <= home < len(places):
                raise self.catalog.unknown(topic, home)
            found.append(places[home])
        return found

    def pack(
        self, producer: Any, records: Sequence[OutgoingParts], places: Sequence[Place]
    ) -> list[Parcel]:
        """
        Batches of this producer with these records, in order per place.

        Raises:
            NotCommitted: a record is larger than a broker takes.
        """
        packed: list[Parcel] = []
        lines: dict[Place, _Line] = {}
        line = _NOWHERE
        now = self._clock()
        for (_, key, value, given, _, stamp), place in zip(records, places, strict=True):
            if place is not line.place:
                line = lines.get(place) or lines.setdefault(place, _Line(place))
            headers = list(given) if given else _NONE
            if line.add(line.size, stamp or now, key, value, headers) is None:
                _check_size(place, key, value, given)
                packed.append(line.begin(producer))
                line.add(0, stamp or now, key, value, headers)
            line.size += 1
        for line in lines.values():
            line.close()
        return packed

    def pack_entries(
        self,
        producer: Any,
        place: Place,
        entries: Mapping[bytes, bytes | None],
        wide: Mapping[bytes, int],
    ) -> tuple[list[Parcel], dict[bytes, int]]:
        """
        Batches with entries as records of the compacted topic; a removed one has no value.

        A large value that does not fit beside others is several records.

        Args:
            producer: whose batches these are.
            place: the shard's partition of the topic.
            entries: puts and removals.
            wide: of how many parts those values are that are there now and do not fit one record.

        Returns:
            The batches, and what of `wide` is another number then; 1 is of a value that fits.
        """
        packed: list[Parcel] = []
        line = _Line(place)
        now = self._clock()
        changed: dict[bytes, int] = {}
        for key, value in entries.items():
            if line.add(line.size, now, key, value, _NONE) is None:
                if value is not None and len(value) > MAX_PART_BYTES:
                    parts = parts_of(key, value)
                    changed[key] = len(parts)
                else:
                    parts = [(key, value, ())]
                for part in parts:
                    _put(line, producer, packed, (*part, now))
            else:
                line.size += 1
            if wide and key in wide:
                count = changed.setdefault(key, 1)
                for number in range(count, wide[key]):
                    _put(line, producer, packed, (part_key(key, number), None, (), now))
        line.close()
        return packed, changed

    def _home(self, key: bytes | None, partitions: int) -> int:
        if key is not None and partitions:
            return self._partitioner(key) % partitions
        self._keyless += 1
        return self._keyless % max(1, partitions)


def _put(line: _Line, producer: Any, packed: list[Parcel], record: Line) -> None:
    """One more record of a line, in a new batch if the last one is full."""
    key, value, headers, stamp = record
    if line.add(line.size, stamp, key, value, list(headers)) is None:
        packed.append(line.begin(producer))
        line.add(0, stamp, key, value, list(headers))
    line.size += 1


def _check_size(
    place: Place, key: bytes | None, value: bytes | None, headers: Headers = ()
) -> None:
    """
    Would a broker take a batch with this record alone? Only such can be too large.

    A batch is closed long before the limit, so that what fits beside others needs no look.

    Raises:
        NotCommitted: it would not.
    """
    size = size_of(key, value, headers)
    if size > MAX_RECORD_BYTES:
        raise NotCommitted(
            f"nothing was written: the record for {place[0]}/{place[1]} has {size} bytes, and a Kafka "
            f"broker takes batches of 1 MiB; keep a record below {MAX_RECORD_BYTES} bytes",
            topic=place[0],
        )
