"""
The embedded log: one SQLite file, opened by one process of perhaps several on this machine.

Promises what `port.Log` says; durable means: on the disk, with fsync. Short reads run on the event
loop, all writes on one thread of the process. What other processes write is seen by looking at the
file's change counter every few milliseconds, while there is a group to tell. The app room opens it;
`writer.py`, `reader.py` and `group.py` have the next steps.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from pathlib import Path

from event_center.errors import DataLost, LogError, UnknownTopic
from event_center.log.detail import Flaw, TopicDetail, Use
from event_center.log.gates import Gates, Place
from event_center.log.ownership import check_topic
from event_center.log.partitioner import Partitioner, murmur2
from event_center.log.port import Entry, TopicInfo
from event_center.log.sqlite.group import OpenFile, SqliteGroup
from event_center.log.sqlite.presence import Presence, is_alive
from event_center.log.sqlite.reader import FileReader
from event_center.log.sqlite.retention import Retention, Sweep
from event_center.log.sqlite.schema import connect_reader, connect_writer
from event_center.log.sqlite.transaction import Transaction
from event_center.log.sqlite.writer import Writer
from event_center.model import Outgoing, Position, Record, Shard


async def open_sqlite(
    path: str | os.PathLike[str],
    *,
    clock: Callable[[], int],
    keep_cuts: bool = False,
    poll_interval_s: float = 0.01,
    retention: Retention | None = None,
    busy_timeout_s: float = 30.0,
    handover_timeout_s: float = 30.0,
    partitioner: Partitioner = murmur2,
) -> SqliteLog:
    """
    Open the file, and make it if there is none.

    Args:
        path: The file; beside it lie its `-wal` and `-shm` and the lock files of members.
        clock: Says the time in ms; stamps records, and tells retention their age.
        keep_cuts: Keep every cut in tables of its own, for audits.
        poll_interval_s: How often to look for what other processes wrote.
        retention: What may be removed; None removes nothing.
        busy_timeout_s: How long a write waits for other processes before it is NotCommitted.
        handover_timeout_s: How long a member that was told to release a shard may take.
        partitioner: Which partition a key has; the same in everything that publishes.

    Raises:
        LogUnavailable: the file cannot be used; the message says why and what to do.
    """
    file = Path(path)

    def connect() -> Transaction:
        connection = connect_writer(file, busy_timeout_s, keep_cuts=keep_cuts)
        return Transaction(connection, clock=clock, partitioner=partitioner, keep_cuts=keep_cuts)

    opened = SqliteLog(str(file), poll_interval_s)
    chore = None if retention is None else Sweep(retention, clock, str(file))
    writer = Writer(str(file), connect, opened.saw, chore)
    await writer.ready
    try:
        reader = FileReader(str(file), functools.partial(connect_reader, file, busy_timeout_s))
    except LogError:
        await writer.stop()
        raise
    opened.start(
        OpenFile(
            path=str(file), reader=reader, writer=writer, handover_timeout_s=handover_timeout_s
        )
    )
    return opened


class SqliteLog:
    """An open embedded log; made by `open_sqlite`."""

    cut_distance_s = 0.0
    session_timeout_s = 0.0

    def __init__(self, path: str, poll_interval_s: float) -> None:
        self.path = path
        self.where = f"the log {path}"
        self._poll_interval_s = poll_interval_s
        self._file: OpenFile
        self._groups: list[SqliteGroup] = []
        self._timer: asyncio.TimerHandle | None = None
        self._inode: tuple[int, int] | None = None
        self._version = -1
        self._generation = -1
        self._closed = False

    def start(self, file: OpenFile) -> None:
        """Begin to work on the open file."""
        self._file = file
        self._inode = _inode(self.path)

    async def create(self, topics: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet."""
        known = self._file.reader.topics()
        wanted = {name: topics[name] for name in topics if name not in known}
        for name, partitions in wanted.items():
            check_topic(name, partitions)
        if wanted:
            await self._file.writer.submit(lambda transaction: transaction.create(wanted))

    async def topics(self) -> dict[str, TopicInfo]:
        """All topics by name."""
        return self._file.reader.topics()

    async def describe(self) -> list[TopicDetail]:
        """All topics with their offsets; the file keeps one copy, and no settings of topics."""
        return self._file.reader.details()

    def flaws(self, detail: TopicDetail, use: Use) -> list[Flaw]:
        """There are no settings that could be wrong."""
        del detail, use
        return []

    async def join(
        self, topics: Sequence[str], shards: int, urgent: Collection[str] = ()
    ) -> SqliteGroup:
        """Become a member of the group that consumes these topics."""
        known = self._file.reader.topics()
        for name in topics:
            if name not in known:
                raise UnknownTopic(
                    f"the log {self.path} has no topic {name}; create it first. It has: "
                    f"{', '.join(known) or 'no topics'}"
                )
        presence = Presence(self.path)
        pairs = [(name, known[name].partitions) for name in topics]
        group = SqliteGroup(self._file, Gates(pairs, shards, urgent), presence)
        try:
            await group.enter()
        except BaseException:  # whatever it was goes on, and no sign of life stays behind
            presence.remove()
            raise
        self._groups.append(group)
        if self._timer is None:
            self._poll()
        return group

    async def members(self) -> list[str]:
        """Who is in the group now; a member that crashed is none any more."""
        return self._file.reader.live_members(is_alive)

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        """Append records outside any lease, all or nothing; durable when it returns."""
        if not records:
            return []
        return await self._file.writer.submit(lambda transaction: transaction.append(records))

    async def read(
        self, topic: str, partition: int, start: int = 0, stop: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """Committed records of one partition."""
        reader = self._file.reader
        watermark = reader.watermark(topic, partition)
        end = watermark if stop is None else min(stop, watermark)
        while start < end:
            records, start = reader.records((topic, partition), start, end)
            if records:
                yield records
            await asyncio.sleep(0)

    def entries(self, shard: Shard, prefix: bytes = b"") -> AsyncIterator[list[Entry]]:
        """Committed entries of a shard, all of one moment, read without a lease."""
        return self._file.reader.entries(shard, prefix)

    async def entry(self, shard: Shard, key: bytes) -> bytes | None:
        """One committed entry, read without a lease."""
        return self._file.reader.entry(shard, key)

    async def watermark(self, topic: str, partition: int) -> int:
        """The offset after the newest committed record of one partition."""
        return self._file.reader.watermark(topic, partition)

    async def close(self) -> None:
        """Leave every group and let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._stop_polling()
        try:
            for group in self._groups:
                await group.leave()
        finally:
            await self._file.writer.stop()
            self._file.reader.close()

    def saw(self, watermarks: Mapping[Place, int]) -> None:
        """Something was written: the new watermarks of its partitions. They never go back."""
        known = self._file.watermarks
        for place, offset in watermarks.items():
            if offset > known.get(place, 0):
                known[place] = offset
        for group in self._groups:
            group.ring()

    def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            version = self._file.reader.version()
            if version != self._version:
                seen = self._file.reader.look()
                self._version, self._generation = version, seen.generation
                self.saw(seen.watermarks)
            self._check_place()
            self._file.trouble = None
        except LogError as error:
            # There is nobody to raise it to in here: the fetches do.
            self._file.trouble = error
            for group in self._groups:
                group.ring()
        for group in self._groups:
            group.poll(self._generation, loop.time())
        self._timer = loop.call_later(self._poll_interval_s, self._poll)

    def _check_place(self) -> None:
        """
        The file that is open is still the one at its path.

        Raises:
            DataLost: it is not: what is written goes with this process.
        """
        if _inode(self.path) != self._inode:
            raise DataLost(
                f"{self.path} was deleted or replaced while it was open, so what this process decides "
                "is in no file any more: put back the file, or a copy of it (`event-center restore`), "
                "and start again"
            )

    def _stop_polling(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _inode(path: str) -> tuple[int, int] | None:
    """Which file is at a path; None: there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a hundred times a second
    except OSError:
        return None
    return found.st_dev, found.st_ino
