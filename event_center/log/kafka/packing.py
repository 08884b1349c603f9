"""
From records and entries to the batches that go to Kafka, one line of records per partition.

Promises: records of one partition keep their order; what has no place, or is too large for a broker,
is found before anything is sent, because a batch that the broker refuses poisons its producer.
Leases and publishers call it; `transaction.py` sends the batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from event_center.errors import NotCommitted
from event_center.log.gates import Place
from event_center.log.kafka.catalog import Catalog
from event_center.log.kafka.options import MAX_PART_BYTES, MAX_RECORD_BYTES
from event_center.log.kafka.store import part_key, parts_of
from event_center.log.ownership import remembering
from event_center.log.partitioner import Partitioner
from event_center.model import Headers, Outgoing

Line = tuple[bytes | None, bytes | None, Headers, int]
"""Key, value, headers and timestamp of one record."""


class Parcel(NamedTuple):
    """One batch on its way: `first` is the number of its first record in the line of its place."""

    place: Place
    first: int
    builder: Any


class Packer:
    """Knows where a key belongs and what fits."""

    def __init__(
        self, catalog: Catalog, partitioner: Partitioner, clock: Callable[[], int]
    ) -> None:
        self.catalog = catalog
        self._partitioner = remembering(partitioner)
        self._clock = clock
        self._keyless = 0

    async def lines(
        self, records: Sequence[Outgoing]
    ) -> tuple[dict[Place, list[Line]], list[Place]]:
        """
        The records by their places, and the place of each.

        Raises:
            UnknownTopic: a record names a topic or partition that does not exist.
            NotCommitted: a record is larger than a broker takes.
        """
        lines: dict[Place, list[Line]] = {}
        places: list[Place] = []
        counts: dict[str, int] = {}
        now = self._clock()
        for topic, key, value, headers, partition, stamp in records:
            if topic not in counts:
                counts[topic] = await self.catalog.partitions(topic)
            count = counts[topic]
            home = self._home(key, count) if partition is None else partition
            if not 0 <= home < count:
                raise self.catalog.unknown(topic, home)
            size = size_of(key, value, headers)
            if size > MAX_RECORD_BYTES:
                raise _too_large(f"a record for {topic}/{home}", size)
            place = (topic, home)
            places.append(place)
            lines.setdefault(place, []).append((key, value, headers, stamp or now))
        return lines, places

    def entries(
        self, entries: Mapping[bytes, bytes | None], wide: Mapping[bytes, int]
    ) -> tuple[list[Line], dict[bytes, int]]:
        """
        Entries as records of the compacted topic; a removed one has no value, a large one several parts.

        Args:
            entries: puts and removals.
            wide: of how many parts those values are that are there now and do not fit one record.

        Returns:
            The records, and what of `wide` is another number then; 1 is of a value that fits.
        """
        now = self._clock()
        lines: list[Line] = []
        changed: dict[bytes, int] = {}
        for key, value in entries.items():
            count = 1
            if value is not None and len(value) > MAX_PART_BYTES:
                parts = parts_of(key, value)
                lines += [(name, piece, told, now) for name, piece, told in parts]
                changed[key] = count = len(parts)
            else:
                lines.append((key, value, (), now))
            if wide and key in wide:
                lines += [(part_key(key, n), None, (), now) for n in range(count, wide[key])]
                changed[key] = count
        return lines, changed

    def _home(self, key: bytes | None, partitions: int) -> int:
        if key is not None and partitions:
            return self._partitioner(key) % partitions
        self._keyless += 1
        return self._keyless % max(1, partitions)


def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """The bytes of a record, without those that Kafka adds."""
    size = len(key or b"") + len(value or b"")
    if headers:
        size += sum(len(name) + len(content) for name, content in headers)
    return size


def parcels(producer: Any, lines: Iterable[tuple[Place, Sequence[Line]]]) -> list[Parcel]:
    """Batches of this producer with all of these lines, in order per place."""
    packed: list[Parcel] = []
    for place, line in lines:
        builder = producer.create_batch()
        packed.append(Parcel(place, 0, builder))
        for number, (key, value, headers, stamp) in enumerate(line):
            if builder.append(timestamp=stamp, key=key, value=value, headers=list(headers)) is None:
                builder = producer.create_batch()
                builder.append(timestamp=stamp, key=key, value=value, headers=list(headers))
                packed.append(Parcel(place, number, builder))
    return packed


def _too_large(what: str, size: int) -> NotCommitted:
    return NotCommitted(
        f"nothing was written: {what} has {size} bytes, and a Kafka broker takes batches of "
        f"1 MiB; keep a record below {MAX_RECORD_BYTES} bytes"
    )
