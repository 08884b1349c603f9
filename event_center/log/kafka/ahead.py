"""
One partition that is read ahead: what lies ready of it, how far it was read, and why it is stuck.

Promises: what was read and not handed out is counted in one place; batches are decoded in order, each
once, when their records are taken. `supply.py` fills it and takes from it; the errors here name the
partition, the offset and what to do. `fetching.py` has the batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError

from event_center.errors import DataLost, LogError, LogUnavailable
from event_center.log.gates import Place
from event_center.log.kafka.fetching import Fetched, decoded
from event_center.model import Record

AHEAD = 4_000
"""
Records of one partition that may lie ready before it is read no further: eight fetches of the engine.
What one answer of a broker brings lies there besides, 1 MB of a partition, packed as it came: this
bounds the memory of the supply.
"""

UNREADABLE = (UnsupportedCodecError, CorruptRecordException)
"""What decoding a batch raises whose checksum is right: it would again."""


class ReadSoFar(NamedTuple):
    """How far one partition was read."""

    position: int
    """Everything below was looked at, markers included."""
    after: int
    """The offset after the newest record that was read, or where the gate was opened."""


class ReadAhead:
    """One partition behind an open gate: what was read of it, batch by batch, decoded when it is taken."""

    __slots__ = ("after", "cursor", "end", "gap", "given", "partition", "ready", "unread")

    def __init__(self, start: int, cursor: int, partition: Any) -> None:
        self.partition = partition
        """As clients name it."""
        self.ready: deque[tuple[int, Iterator[Record]]] = deque()
        """The batches: where each ends, and what was not taken of it yet."""
        self.gap = cursor if 0 < start < cursor else 0
        """Retention has removed what came right before this offset, and the shard has to know."""
        self.given = start
        """As the gate's tap has it: the offset after the newest record handed out."""
        self.after = start
        """The offset after the newest record that was read, or where the gate was opened."""
        self.cursor = cursor
        """Where reading goes on: everything below was looked at, markers included."""
        self.end = 0
        self.unread: KafkaError | None = None
        """Why the next batch can not be unpacked: nothing behind `given` was handed out, or will be."""

    @property
    def room(self) -> bool:
        """Whether to read on."""
        return self.after - self.given < AHEAD

    def lay(self, found: Fetched) -> None:
        """
        Keep what was read.

        The newest batch is decoded at once: compaction leaves its end where it was, but `after` is told to
        those who wait until every record below was decided.
        """
        batches, end = found.batches, 0
        newest: list[Record] = []
        while batches and not newest:
            batch = batches[-1]
            try:
                newest, end = list(decoded(batch, self.cursor)), batch.next_offset
            except UNREADABLE:
                self.after = batch.next_offset  # `take` meets it again, behind what can be read
                break
            batches.pop()
        self.ready.extend((one.next_offset, decoded(one, self.cursor)) for one in batches)
        if newest:
            self.ready.append((end, iter(newest)))
            self.after = newest[-1].offset + 1
        self.cursor = found.position

    def take(self, count: int) -> list[Record]:
        """So many records at most, of those before the gap if there is one."""
        ready = self.ready
        records: list[Record] = []
        while ready and len(records) < count and not 0 < self.gap < ready[0][0]:
            try:
                records += islice(ready[0][1], count - len(records))
            except UNREADABLE as error:
                self.unread = error
                ready.clear()
                break
            if len(records) < count:
                ready.popleft()
        if records:
            self.given = records[-1].offset + 1
        return records

    def watermark(self) -> int:
        """The offset after the newest committed record, as of the last answer of the broker."""
        return self.after if self.cursor >= self.end else self.end


class Stuck:
    """Why one partition can not be read on, and when that is to be said next."""

    __slots__ = ("due_s", "error")

    def __init__(self, error: LogError) -> None:
        self.error = error
        self.due_s = float("-inf")


def truncated(place: Place, offset: int, end: int) -> DataLost:
    """The error for an offset behind the end of a partition."""
    return DataLost(
        f"{place[0]}/{place[1]} is to be read from offset {offset}, but it ends at {end}: its brokers "
        "have lost records that were read already, as an unclean election of a leader does, and new "
        "ones would be taken for these. Nothing was skipped: make the topic anew under another name "
        "and have its events published there"
    )


def packed(place: Place, offset: int, error: KafkaError) -> LogUnavailable:
    """The error for records that can not be unpacked, from this offset on."""
    return LogUnavailable(
        f"{place[0]}/{place[1]} can not be read from offset {offset} on: its records are compressed in a "
        f"way that can not be unpacked here ({error}). Nothing was skipped, and other partitions are "
        "read: install event-center with all that it depends on (cramjam is missing or too old), and "
        "restart this process"
    )
