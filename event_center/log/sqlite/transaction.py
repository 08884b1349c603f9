"""
What one transaction of the embedded log may do: append records, apply a cut, change topics and
shards.

The steps of a transaction: (1) begin, which takes the file's write lock and looks whether another
process wrote since; (2) each errand, which raises an error of ours only before its first write; (3)
the extents of the partitions, once for all errands; (4) commit, which is last. Promises: what is
remembered between transactions is what the file says. Everything here runs on the writer's thread;
`writer.py` calls it, `statements.py` has the next step.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from event_center.errors import Fenced, NotCommitted, UnknownTopic
from event_center.log.gates import Place
from event_center.log.ownership import remembering
from event_center.log.partitioner import Partitioner
from event_center.log.port import Cut
from event_center.log.sqlite import statements
from event_center.log.sqlite.statements import write
from event_center.model import Headers, OutgoingParts, Position, Shard

DATA_VERSION = "PRAGMA data_version"
TOPICS = "SELECT name, id, partitions FROM topics"
EXTENTS = (
    "SELECT group_concat(t.name || '/' || p.partition || ' ' || p.next || ' ' || p.bytes, ';') "
    "FROM partitions p JOIN topics t ON t.id = p.topic"
)
"""One row for all partitions: every row that Python reads may cost it a wait for its lock."""
EPOCH = "SELECT epoch FROM shards WHERE shard = ?"


class Placed(NamedTuple):
    """Records that have their offsets, ready to be written."""

    values: list[Any]
    positions: list[Position]
    extents: dict[Place, tuple[int, int]]


def parse_extents(text: str | None) -> dict[Place, tuple[int, int]]:
    """The answer to EXTENTS: next offset and bytes of every partition."""
    extents = {}
    for part in text.split(";") if text else ():
        name, offset, size = part.rsplit(" ", 2)
        topic, _, partition = name.rpartition("/")
        extents[topic, int(partition)] = int(offset), int(size)
    return extents


def encode_headers(headers: Headers) -> str | None:
    """Headers as the file keeps them."""
    if not headers:
        return None
    return orjson.dumps([(name, value.decode("latin-1")) for name, value in headers]).decode()


class Transaction:
    """The writer's view of the file, from one transaction to the next."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        clock: Callable[[], int],
        partitioner: Partitioner,
        keep_cuts: bool,
    ) -> None:
        self.connection = connection
        self.clock = clock
        self._partitioner = remembering(partitioner)
        self._keep_cuts = keep_cuts
        self._keyless = 0
        self._version = -1
        self._topics: dict[str, tuple[int, int]] = {}
        self._extents: dict[Place, tuple[int, int]] = {}
        self._written: dict[Place, tuple[int, int]] = {}

    def begin(self) -> None:
        """Take the write lock, and read anew what another process may have changed."""
        self.connection.execute("BEGIN IMMEDIATE")
        self._written = {}
        (version,) = self.connection.execute(DATA_VERSION).fetchone()
        if version != self._version:
            self.forget()
            self._version = version

    def forget(self) -> None:
        """Read what is remembered from the file again."""
        execute = self.connection.execute
        self._topics = {name: (id_, parts) for name, id_, parts in execute(TOPICS).fetchall()}
        self._extents = parse_extents(execute(EXTENTS).fetchone()[0])

    def flush(self) -> None:
        """Write the extents of the partitions that the errands have changed."""
        values: list[int] = []
        for (topic, partition), (offset, size) in self._written.items():
            values += (self._topics[topic][0], partition, offset, size)
        write(self.connection, statements.PUT_EXTENTS, values)

    def commit(self) -> dict[Place, int]:
        """Make it durable; returns the watermarks that have changed."""
        self.connection.execute("COMMIT")
        return {place: offset for place, (offset, _) in self._written.items()}

    def distrust(self) -> None:
        """After a failure nothing that is remembered counts."""
        self._version = -1

    def create(self, topics: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet."""
        for name, partitions in topics.items():
            if name in self._topics:
                continue
            made = self.connection.execute(
                "INSERT INTO topics(name, partitions, uid) VALUES (?, ?, ?)",
                (name, partitions, uuid.uuid4().hex),
            )
            id_ = made.lastrowid or 0
            values: list[Any] = [value for q in range(partitions) for value in (id_, q, 0, 0)]
            write(self.connection, statements.PUT_EXTENTS, values)
            self._topics[name] = id_, partitions
            self._extents.update({(name, q): (0, 0) for q in range(partitions)})

    def topic_id(self, name: str) -> int:
        """
        The number that a topic has in this file.

        Raises:
            UnknownTopic: there is no such topic.
        """
        if name not in self._topics:
            raise self._unknown(name, None)
        return self._topics[name][0]

    def append(self, records: Sequence[OutgoingParts]) -> list[Position]:
        """
        Append all of the records, or none.

        Raises:
            UnknownTopic: a record names a topic or partition that does not exist.
        """
        placed = self._place(records)
        self._write(placed)
        return placed.positions

    def apply(self, shard: Shard, epoch: int, cut: Cut) -> None:
        """
        Write a whole cut.

        Raises:
            Fenced: somebody else has leased the shard since.
            NotCommitted: a record goes to a topic that does not exist.
        """
        self.check(shard, epoch)
        try:
            placed = self._place(cut.records)
        except UnknownTopic as error:
            raise NotCommitted(
                f"nothing of the cut of shard {shard} was written: {error}", topic=error.topic
            ) from error
        self._put(shard, cut.entries)
        self._write(placed)
        offsets = [value for offset in cut.offsets.items() for value in offset]
        write(self.connection, statements.PUT_OFFSETS, offsets, shard)
        if self._keep_cuts:
            self._keep(shard, epoch, cut, placed.positions)

    def check(self, shard: Shard, epoch: int) -> None:
        """
        Is a lease of this epoch still the last one?

        Raises:
            Fenced: it is not.
        """
        found = self.connection.execute(EPOCH, (shard,)).fetchone()
        now = found[0] if found else 0
        if now != epoch:
            raise Fenced(
                f"shard {shard} was leased again (epoch {now}; this lease has {epoch}): discard "
                "what this process holds of the shard"
            )

    def _place(self, records: Sequence[OutgoingParts]) -> Placed:
        now_ms = self.clock()
        values: list[Any] = []
        positions: list[Position] = []
        extents: dict[Place, tuple[int, int]] = {}
        for topic, key, value, headers, partition, stamp in records:
            if topic not in self._topics:
                raise self._unknown(topic, partition)
            id_, partitions = self._topics[topic]
            home = self._home(key, partitions) if partition is None else partition
            place = (topic, home)
            extent = extents.get(place) or self._extents.get(place)
            if extent is None:
                raise self._unknown(topic, home)
            offset, size = extent
            extents[place] = offset + 1, size + len(key or b"") + len(value or b"")
            positions.append(Position(topic, home, offset))
            packed = encode_headers(headers) if headers else None
            values += (id_, home, offset, stamp or now_ms, key, value, packed)
        return Placed(values, positions, extents)

    def _home(self, key: bytes | None, partitions: int) -> int:
        if key is not None:
            return self._partitioner(key) % partitions
        self._keyless += 1
        return self._keyless % partitions

    def _write(self, placed: Placed) -> None:
        write(self.connection, statements.PUT_RECORDS, placed.values)
        self._extents.update(placed.extents)
        self._written.update(placed.extents)

    def _put(self, shard: Shard, entries: Mapping[bytes, bytes | None]) -> None:
        removed = [key for key, value in entries.items() if value is None]
        if removed:
            puts = [v for entry in entries.items() if entry[1] is not None for v in entry]
        else:
            puts = [v for entry in entries.items() for v in entry]
        write(self.connection, statements.PUT_ENTRIES, puts, shard)
        write(self.connection, statements.REMOVE_ENTRIES, removed, shard)

    def _keep(self, shard: Shard, epoch: int, cut: Cut, positions: Sequence[Position]) -> None:
        added = self.connection.execute(
            "INSERT INTO cuts(shard, epoch, at) VALUES (?, ?, ?)", (shard, epoch, self.clock())
        )
        number = added.lastrowid
        entries = [v for at, entry in enumerate(cut.entries.items()) for v in (at, *entry)]
        records = [v for at, position in enumerate(positions) for v in (at, *position)]
        offsets = [v for offset in cut.offsets.items() for v in offset]
        write(self.connection, statements.KEEP_ENTRIES, entries, number)
        write(self.connection, statements.KEEP_RECORDS, records, number)
        write(self.connection, statements.KEEP_OFFSETS, offsets, number)

    def _unknown(self, topic: str, partition: int | None) -> UnknownTopic:
        where = topic if partition is None else f"{topic}/{partition}"
        there = ", ".join(
            f"{name} ({parts} partitions)" for name, (_, parts) in self._topics.items()
        )
        return UnknownTopic(
            f"the log has no {where}; create the topic first. It has: {there or 'no topics'}",
            topic=topic,
        )
