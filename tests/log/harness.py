"""
What the contract suite needs of an engine: "processes" on one log, their crashes, and commits that
fail.

A harness makes the same things happen on every engine, each in the engine's own way, so that no
test asks which engine it runs on. Effects need not be instant: tests wait for them in
`tests.waiting`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, Self

from event_center.errors import Fenced, LogUnavailable, NotCommitted
from event_center.log.memory import Ending, MemoryBroker, MemoryLog
from event_center.log.port import (
    Assigned,
    Batch,
    Change,
    Cut,
    Group,
    Kept,
    Lease,
    Log,
    Lost,
    Revoked,
)
from event_center.log.sqlite import SqliteLog, open_sqlite
from event_center.model import Outgoing, Record, Shard, Token
from tests.log.faulty import FaultyConnection, GoneConnection
from tests.waiting import PATIENCE_S, until

QUIET_S = 0.1
"""How long a test listens where it expects to hear nothing."""


def clock() -> int:
    """The time of these tests never moves: nothing in the contract depends on it."""
    return 1_700_000_000_000


class Harness(Protocol):
    """One log that several processes share."""

    largest: int
    """Bytes of key, value and headers of a record that the log takes."""
    too_large: int
    """Bytes of one that it does not."""

    async def open(self) -> Log:
        """One more process opens the log."""

    async def crash(self, log: Log) -> None:
        """The process dies as far as others can see; what is held of it is a zombie."""

    async def refuse_next_cut(self, log: Log) -> None:
        """The next cut of this process ends NotCommitted."""

    async def lose_next_cut(self, log: Log, *, written: bool) -> None:
        """The next cut of this process ends Unknown, and is written or not."""

    async def trim(self, topic: str, offset: int) -> None:
        """Do what retention does: the records of partition 0 before this offset are gone."""

    async def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""

    async def remove(self, topic: str) -> None:
        """Delete a topic."""

    async def compact(self, kept: Kept) -> Kept:
        """Let time pass until the log has forgotten what was overwritten or removed; `kept` ages."""

    def away(self, log: Log) -> AbstractAsyncContextManager[None]:
        """Inside this block, nothing answers the process; after it the log is as it was."""

    async def close(self) -> None:
        """Close every log that is open."""


class MemoryHarness:
    """The processes are logs on one broker."""

    def __init__(self) -> None:
        self.broker = MemoryBroker(keep_cuts=True)
        self.largest = self.broker.max_record_bytes
        self.too_large = self.largest + 1
        self.logs: list[MemoryLog] = []

    async def open(self) -> MemoryLog:
        log = MemoryLog(self.broker, clock=clock)
        self.logs.append(log)
        return log

    async def crash(self, log: Log) -> None:
        assert isinstance(log, MemoryLog)
        log.crash()

    async def refuse_next_cut(self, log: Log) -> None:
        self.broker.faults.commits.append(Ending.NOT_COMMITTED)

    async def lose_next_cut(self, log: Log, *, written: bool) -> None:
        ending = Ending.WRITTEN_LATER if written else Ending.LOST_LATER
        self.broker.faults.commits.append(ending)

    async def trim(self, topic: str, offset: int) -> None:
        self.broker.trim((topic, 0), offset)

    async def grow(self, topic: str, partitions: int) -> None:
        self.broker.grow(topic, partitions)

    async def remove(self, topic: str) -> None:
        self.broker.remove(topic)

    async def compact(self, kept: Kept) -> Kept:
        return kept

    @asynccontextmanager
    async def away(self, log: Log) -> AsyncIterator[None]:
        assert isinstance(log, MemoryLog)
        log.faults.on_await = refuse
        yield
        log.faults.on_await = None

    async def close(self) -> None:
        for log in self.logs:
            await log.close()


async def refuse(place: str) -> None:
    """What a log in memory says that can not be reached; who writes knows that nothing was."""
    if place in {"commit.begun", "publish.begun"}:
        raise NotCommitted("made to fail by a test")
    raise LogUnavailable("made to fail by a test")


class SqliteHarness:
    """
    The processes are logs on one file, each with its own connections and its own thread.

    SQLite takes a billion bytes of one row, or fewer if a test says so.
    """

    def __init__(self, folder: Path, *, row_bytes: int = 1_000_000_000) -> None:
        self.row_bytes = row_bytes
        self.largest = row_bytes - 10_000  # the other columns, and headers, which are JSON there
        self.too_large = row_bytes + 1
        self.path = folder / "log.db"
        self.logs: list[SqliteLog] = []

    async def open(self) -> SqliteLog:
        log = await open_sqlite(
            self.path, clock=clock, keep_cuts=True, poll_interval_s=0.005, busy_timeout_s=10.0
        )
        length = sqlite3.SQLITE_LIMIT_LENGTH
        await log._file.writer.submit(lambda one: one.connection.setlimit(length, self.row_bytes))
        self.logs.append(log)
        return log

    async def crash(self, log: Log) -> None:
        assert isinstance(log, SqliteLog)
        log._stop_polling()
        for group in log._groups:
            group._left = True
            group._presence.end()

    async def refuse_next_cut(self, log: Log) -> None:
        await self.fail(log, "INSERT INTO entries", code=sqlite3.SQLITE_FULL)

    async def lose_next_cut(self, log: Log, *, written: bool) -> None:
        await self.fail(log, "COMMIT", code=sqlite3.SQLITE_IOERR, after=written)

    async def fail(self, log: Log, on: str, *, code: int, after: bool = False) -> None:
        """Let the next statement of this kind fail; set in an errand of its own, after its commit."""
        assert isinstance(log, SqliteLog)
        writer = log._file.writer
        transaction = await writer.submit(lambda transaction: transaction)
        faulty = FaultyConnection(transaction.connection, on, code=code, after=after)
        transaction.connection = faulty  # type: ignore[assignment]  # a fake

    async def trim(self, topic: str, offset: int) -> None:
        self.write(
            "DELETE FROM records WHERE partition = 0 AND offset < ? AND topic = "
            "(SELECT id FROM topics WHERE name = ?)",
            (offset, topic),
        )

    async def grow(self, topic: str, partitions: int) -> None:
        for q in range(partitions):
            self.write(
                "INSERT INTO partitions(topic, partition, first, next, bytes) "
                "SELECT id, ?, 0, 0, 0 FROM topics WHERE name = ? ON CONFLICT DO NOTHING",
                (q, topic),
            )
        self.write("UPDATE topics SET partitions = ? WHERE name = ?", (partitions, topic))

    async def remove(self, topic: str) -> None:
        for table in ("records", "partitions"):
            of = "topic = (SELECT id FROM topics WHERE name = ?)"
            self.write(f"DELETE FROM {table} WHERE {of}", (topic,))
        self.write("DELETE FROM topics WHERE name = ?", (topic,))

    async def compact(self, kept: Kept) -> Kept:
        return kept

    @asynccontextmanager
    async def away(self, log: Log) -> AsyncIterator[None]:
        assert isinstance(log, SqliteLog)
        reader, writer = log._file.reader, log._file.writer
        transaction = await writer.submit(lambda transaction: transaction)
        read, written = reader._connection, transaction.connection
        reader._connection = GoneConnection(read)  # type: ignore[assignment]  # a fake
        transaction.connection = GoneConnection(written)  # type: ignore[assignment]  # a fake
        yield
        reader._connection, transaction.connection = read, written

    def write(self, statement: str, arguments: Sequence[Any]) -> None:
        """Change the file as another process does."""
        connection = sqlite3.connect(self.path, timeout=10.0)
        with connection:
            connection.execute(statement, arguments)
        connection.close()

    async def close(self) -> None:
        for log in self.logs:
            await log.close()


class Member:
    """Inside `async with`: takes over what it is assigned, and releases what is revoked."""

    def __init__(self, log: Log, group: Group) -> None:
        self.log = log
        self.group = group
        self.seen: list[Change] = []
        self.tokens: dict[Shard, Token] = {}
        self.leases: dict[Shard, Lease] = {}
        self.state: dict[Shard, dict[bytes, bytes]] = {}
        self.offsets: dict[str, int] = {}
        """Where gates are opened; the oldest record where none is named."""
        self.holding = False
        """Does not release what is revoked."""
        self.cutting = asyncio.Lock()
        """Who has it makes a cut: a shard is released before it or after it."""
        self._tasks = asyncio.TaskGroup()
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._pump = self._tasks.create_task(self._follow(), name="member")
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stop()
        await self._tasks.__aexit__(*error)  # type: ignore[arg-type]  # what `async with` gives

    def stop(self) -> None:
        """Follow no more changes, as a process that died or hangs."""
        if self._pump is not None:
            self._pump.cancel()

    async def _follow(self) -> None:
        while True:
            change = await self.group.changes()
            self.seen.append(change)
            match change:
                case Assigned(shard=shard, token=token):
                    await self.take_over(shard, token)
                case Revoked(shard=shard):
                    self.tokens.pop(shard, None)
                    if shard in self.leases and not self.holding:
                        async with self.cutting:
                            await self.leases.pop(shard).release()
                case Lost(shard=shard):
                    self.tokens.pop(shard, None)
                    self.leases.pop(shard, None)

    async def take_over(self, shard: Shard, token: Token) -> None:
        """Lease, restore and open a shard."""
        try:
            lease = await self.group.lease(shard, token)
            self.state[shard] = await restored(lease)
            await lease.open_gate(self.offsets)
        except Fenced:
            return
        self.tokens[shard] = token
        self.leases[shard] = lease

    async def has(self, *shards: int) -> None:
        """Wait until exactly these shards are taken over."""
        await until(lambda: set(self.leases) == set(shards) == set(self.tokens))

    async def owns(self, count: int) -> None:
        """Wait until so many shards are taken over."""
        await until(lambda: len(self.leases) == count == len(self.tokens))

    async def fetched(self, count: int, limit: int = 1_000) -> list[Batch]:
        """Fetch until there are so many records."""
        batches: list[Batch] = []
        async with asyncio.timeout(PATIENCE_S):
            while sum(len(batch.records) for batch in batches) < count:
                batches += await self.group.fetch(self.tokens, limit)
        return batches


async def joined(
    log: Log, topics: Sequence[str], shards: int, urgent: Collection[str] = ()
) -> Member:
    """A member that has joined; it does its work inside `async with`."""
    return Member(log, await log.join(topics, shards, urgent))


async def restored(lease: Lease, kept: Kept | None = None) -> dict[bytes, bytes]:
    """All entries that a lease restores; each key comes once."""
    entries: dict[bytes, bytes] = {}
    async for batch in lease.restore(kept):
        for key, value in batch:
            assert key not in entries
            entries[key] = value
    return entries


async def entries_of(log: Log, shard: int, prefix: bytes = b"") -> dict[bytes, bytes]:
    """The committed entries of a shard, read without a lease."""
    return {key: value async for batch in log.entries(Shard(shard), prefix) for key, value in batch}


async def records_of(
    log: Log, topic: str, partition: int = 0, *, start: int = 0, stop: int | None = None
) -> list[Record]:
    """The committed records of a partition."""
    return [record async for batch in log.read(topic, partition, start, stop) for record in batch]


async def values_of(log: Log, topic: str, partition: int = 0) -> list[bytes | None]:
    """The values of the committed records of a partition."""
    return [record.value for record in await records_of(log, topic, partition)]


async def brings_nothing(group: Group, ready: Mapping[Shard, Token]) -> bool:
    """For a short while, a fetch of these shards brings no records."""
    try:
        async with asyncio.timeout(QUIET_S):
            while not await group.fetch(ready, 10):
                pass
    except TimeoutError:
        return True
    return False


def numbered(
    topic: str, count: int, *, partition: int | None = 0, start: int = 0
) -> list[Outgoing]:
    """Records whose values are numbers in order."""
    return [
        Outgoing(topic, b"k%d" % number, b"%d" % number, partition=partition)
        for number in range(start, start + count)
    ]


def flat(batches: Sequence[Batch], topic: str, partition: int) -> list[Record]:
    """The records of one partition among these batches, in the order they came."""
    return [
        record
        for batch in batches
        if (batch.topic, batch.partition) == (topic, partition)
        for record in batch.records
    ]


def puts(entries: Mapping[bytes, bytes | None], *records: Outgoing, **offsets: int) -> Cut:
    """A cut."""
    return Cut(entries=dict(entries), records=list(records), offsets=offsets)
