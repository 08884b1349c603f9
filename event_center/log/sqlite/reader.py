"""
What is read from the file of the embedded log, on the event loop's own thread.

Why here and not in a thread: a bounded read of pages in memory takes less time than going to a
thread and back. Promises: only committed records and entries; long reads let other asyncio tasks
run between pieces. `log.py`, `group.py` and `lease.py` call this; `schema.py` has the tables.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson

from event_center.errors import LogUnavailable, UnknownTopic
from event_center.log.detail import PartitionDetail, TopicDetail
from event_center.log.gates import Place
from event_center.log.port import TOO_LARGE, Entry, TopicInfo
from event_center.log.sqlite.schema import explain
from event_center.log.sqlite.transaction import DATA_VERSION, EPOCH, EXTENTS, parse_extents
from event_center.model import Headers, Record, Shard, size_of

PIECE = 2_000
"""Rows that are read at once: 2 to 3 ms in which no other asyncio task runs."""
PIECE_BYTES = 8_000_000
"""A piece whose rows have more than this ends early, so that large ones do not fill memory."""
RECORDS = (
    "SELECT offset, timestamp, key, value, headers FROM records "
    "WHERE topic = ? AND partition = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?"
)
MAX_EVENT_BYTES = 64 * 1024**2
"""
What a daemon takes in of one event, as `size_of` counts: its workflow's snapshot may hold it twice, as
data and as the cause of a run, beside what is there already, and SQLite takes a billion bytes of one value.
"""
_PARTS = "coalesce(length(key), 0) + coalesce(length(value), 0)"
_SIZE = f"({_PARTS} + header_bytes(headers))"
# Headers are never more than four bytes for each character of their text: seldom must they be counted.
_OVER = f"{_PARTS} + 4 * coalesce(length(headers), 0) > {MAX_EVENT_BYTES} AND {_SIZE} > {MAX_EVENT_BYTES}"
_FITTING = (
    f"iif({_OVER}, x'ff', value), "
    f"""iif({_OVER}, '[["{TOO_LARGE}","' || {_SIZE} || '"]]', headers)"""
)
EVENTS = RECORDS.replace("value, headers", _FITTING)
"""
The same as `RECORDS`, with a note of its size in the place of a record that is too large. Its value stays
in the file, so SQLite is asked.
"""
ENTRIES = "SELECT key, value FROM entries WHERE shard = ? AND key >= ? ORDER BY key LIMIT ?"
ENTRIES_BELOW = (
    "SELECT key, value FROM entries WHERE shard = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
)


class Seen(NamedTuple):
    """What a look at the file has shown: the watermarks of all partitions, the group's generation."""

    watermarks: dict[Place, int]
    generation: int


class FileReader:
    """One connection for short reads, and one more for each read that must be of one moment."""

    def __init__(self, path: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._connect = connect
        self._connection = connect()
        self._connection.create_function("header_bytes", 1, _header_bytes, deterministic=True)
        self._topics: dict[str, tuple[int, TopicInfo]] = {}

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def version(self) -> int:
        """A number that changes when another connection has written."""
        return int(self._one(DATA_VERSION)[0])

    def look(self) -> Seen:
        """See what is new."""
        extents = parse_extents(self._one(EXTENTS)[0])
        generation = self._one("SELECT value FROM generation")[0]
        return Seen({place: offset for place, (offset, _) in extents.items()}, generation)

    def topics(self) -> dict[str, TopicInfo]:
        """All topics by name."""
        rows = self._all("SELECT id, name, partitions, uid FROM topics ORDER BY id")
        self._topics = {name: (id_, TopicInfo(name, parts, uid)) for id_, name, parts, uid in rows}
        return {name: info for name, (_, info) in self._topics.items()}

    def details(self) -> list[TopicDetail]:
        """All topics with the offsets of their partitions."""
        rows = self._all(
            "SELECT t.name, p.partition, p.first, p.next FROM topics t JOIN partitions p "
            "ON p.topic = t.id ORDER BY t.id, p.partition"
        )
        found: dict[str, list[PartitionDetail]] = {}
        for name, *part in rows:
            found.setdefault(name, []).append(PartitionDetail(*part))
        return [TopicDetail(name, tuple(parts), 1, 1, {}) for name, parts in found.items()]

    def topic_id(self, topic: str, partition: int) -> int:
        """
        The number that a topic has in this file.

        Raises:
            UnknownTopic: there is no such topic or partition.
        """
        if topic not in self._topics:
            self.topics()
        id_, info = self._topics.get(topic, (0, TopicInfo(topic, 0, "")))
        if not 0 <= partition < info.partitions:
            there = ", ".join(
                f"{t.name} ({t.partitions} partitions)" for _, t in self._topics.values()
            )
            raise UnknownTopic(
                f"the log {self._path} has no {topic}/{partition}; create the topic first. It has: "
                f"{there or 'no topics'}"
            )
        return id_

    def records(
        self, place: Place, start: int, stop: int, *, limit: int = PIECE, rows: str = RECORDS
    ) -> tuple[list[Record], int]:
        """Committed records of a place, oldest first, and the offset at which to go on."""
        topic = self.topic_id(*place)
        new, record_type = tuple.__new__, Record
        with _translated(self._path):
            cursor = self._connection.execute(rows, (topic, place[1], start, stop, limit))
            found, all_read = _piece(cursor, _of_record)
        records = [
            new(record_type, (offset, at, key, value, () if headers is None else _headers(headers)))
            for offset, at, key, value, headers in found
        ]
        # Fewer than asked for: retention has removed the rest up to `stop`.
        done = all_read and len(records) < limit
        return records, stop if done else records[-1].offset + 1

    def watermark(self, topic: str, partition: int) -> int:
        """The offset after the newest record of a place."""
        row = self._one(
            "SELECT next FROM partitions WHERE topic = ? AND partition = ?",
            self.topic_id(topic, partition),
            partition,
        )
        return int(row[0])

    def entry(self, shard: Shard, key: bytes) -> bytes | None:
        """One entry, or None."""
        rows = self._all("SELECT value FROM entries WHERE shard = ? AND key = ?", shard, key)
        return rows[0][0] if rows else None

    def dead_members(self, is_alive: Callable[[str, str], bool]) -> list[str]:
        """The members of the group that are not alive, by name."""
        return [name for name in self._members() if not is_alive(self._path, name)]

    def live_members(self, is_alive: Callable[[str, str], bool]) -> list[str]:
        """The members of the group that are alive, by name."""
        return [name for name in self._members() if is_alive(self._path, name)]

    def _members(self) -> list[str]:
        return [row[0] for row in self._all("SELECT name FROM members ORDER BY id")]

    def epoch(self, shard: Shard) -> int:
        """The epoch of the last lease of the shard."""
        rows = self._all(EPOCH, shard)
        return int(rows[0][0]) if rows else 0

    def entries_from(self, shard: Shard, key: bytes) -> list[Entry]:
        """A piece of the shard's entries in the order of their keys, from this key on."""
        with _translated(self._path):
            return _piece(self._connection.execute(ENTRIES, (shard, key, PIECE)), _of_entry)[0]

    async def entries(self, shard: Shard, prefix: bytes) -> AsyncIterator[list[Entry]]:
        """All entries with this prefix, of one moment: they are read in one transaction."""
        with _translated(self._path):
            connection = self._connect()
            try:
                connection.execute("BEGIN")
                start, below = prefix, _after(prefix)
                while True:
                    if below is None:
                        cursor = connection.execute(ENTRIES, (shard, start, PIECE))
                    else:
                        cursor = connection.execute(ENTRIES_BELOW, (shard, start, below, PIECE))
                    rows, _ = _piece(cursor, _of_entry)
                    if not rows:
                        return
                    yield rows
                    start = following(rows[-1][0])
                    await asyncio.sleep(0)
            finally:
                connection.close()

    def _one(self, statement: str, *arguments: object) -> Any:
        with _translated(self._path):
            return self._connection.execute(statement, arguments).fetchone()

    def _all(self, statement: str, *arguments: object) -> list[Any]:
        with _translated(self._path):
            return self._connection.execute(statement, arguments).fetchall()


def _piece(cursor: sqlite3.Cursor, weigh: Callable[[Any], int]) -> tuple[list[Any], bool]:
    """The rows of a cursor as far as the size of a piece allows, and whether these are all."""
    rows: list[Any] = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += weigh(row)
        if size > PIECE_BYTES:
            cursor.close()
            return rows, False
    return rows, True


def _of_record(row: tuple[int, int, bytes | None, bytes | None, str | None]) -> int:
    """What a record brings into memory, its headers still as text."""
    return len(row[2] or b"") + len(row[3] or b"") + len(row[4] or "")


def _of_entry(row: Entry) -> int:
    return len(row[0]) + len(row[1])


def following(key: bytes) -> bytes:
    """The least key that is greater than this one."""
    return key + b"\0"


def _after(prefix: bytes) -> bytes | None:
    """The least key that is greater than every key with this prefix; None: there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def _headers(text: str) -> Headers:
    return tuple((name, value.encode("latin-1")) for name, value in orjson.loads(text))


def _header_bytes(text: str | None) -> int:
    """What headers add to the size of a record."""
    return size_of(None, None, _headers(text)) if text else 0


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LogUnavailable(f"cannot read {path}: {explain(error)}") from error
