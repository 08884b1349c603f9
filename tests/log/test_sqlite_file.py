"""The embedded log and its file: foreign, damaged, full and locked ones, and group commit."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from event_center.errors import (
    Fenced,
    InvariantError,
    LogUnavailable,
    NotCommitted,
    Unknown,
    UnknownTopic,
)
from event_center.failpoint import Step, install
from event_center.log.sqlite import SqliteLog, open_sqlite
from event_center.log.sqlite.group import SqliteGroup
from event_center.log.sqlite.transaction import Transaction
from event_center.log.sqlite.writer import LARGEST_GROUP
from event_center.model import Outgoing, Shard
from tests.log.harness import (
    SqliteHarness,
    clock,
    entries_of,
    joined,
    numbered,
    puts,
    records_of,
    restored,
    values_of,
)
from tests.waiting import PATIENCE_S, until

NOBODY = 65_534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Permissions of files do not stop root: be somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class TestWhatCannotBeOpened:
    async def refused(self, path: Path, pattern: str) -> None:
        with pytest.raises(LogUnavailable, match=pattern) as caught:
            await open_sqlite(path, clock=clock)
        assert str(path) in str(caught.value)

    async def test_another_programs_file(self, tmp_path: Path) -> None:
        """A file of another program is refused, and not changed."""
        path = tmp_path / "other.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs(x)")
        connection.close()
        before = path.read_bytes()
        await self.refused(path, "another program")
        assert path.read_bytes() == before

    async def test_newer_format(self, tmp_path: Path) -> None:
        """A file of a newer release is refused, and says which formats are meant."""
        path = tmp_path / "log.db"
        await (await open_sqlite(path, clock=clock)).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 9")
        connection.close()
        await self.refused(path, "format 9.*format 1")

    async def test_not_a_database(self, tmp_path: Path) -> None:
        """A file that is something else is refused."""
        path = tmp_path / "log.db"
        path.write_bytes(b"something else entirely, " * 100)
        await self.refused(path, "not an SQLite file")

    async def test_damaged(self, tmp_path: Path) -> None:
        """A damaged file is refused, with advice."""
        path = tmp_path / "log.db"
        await (await open_sqlite(path, clock=clock)).close()
        content = bytearray(path.read_bytes())
        content[100:4096] = b"\xa5" * 3996
        path.write_bytes(content)
        await self.refused(path, "damaged")

    async def test_no_directory(self, tmp_path: Path) -> None:
        """A missing directory is named."""
        await self.refused(tmp_path / "nowhere" / "log.db", "no directory .*nowhere")

    async def test_directory(self, tmp_path: Path) -> None:
        """A directory is no file."""
        await self.refused(tmp_path, "not a file")

    async def test_read_only(self) -> None:
        """A file that may not be written is refused."""
        folder = Path(tempfile.mkdtemp())
        path = folder / "log.db"
        try:
            await (await open_sqlite(path, clock=clock)).close()
            os.chmod(path, 0o444)  # noqa: PTH101 - short, and the loop has nothing else to do
            os.chmod(folder, 0o555)  # noqa: PTH101 - as above
            with unprivileged():
                await self.refused(path, "read-only|no permission")
        finally:
            shutil.rmtree(folder)

    async def test_closed(self, sqlite_log: SqliteLog) -> None:
        """A closed log says that it is closed."""
        await sqlite_log.close()
        with pytest.raises(LogUnavailable, match="closed"):
            await sqlite_log.publish(numbered("orders", 1))
        with pytest.raises(LogUnavailable, match="closed"):
            await sqlite_log.watermark("orders", 0)


def held_up(began: threading.Event, gate: threading.Event) -> Callable[[Transaction], bool]:
    """An errand that keeps the writer busy until the gate is open."""

    def errand(transaction: Transaction) -> bool:
        began.set()
        return gate.wait(PATIENCE_S)

    return errand


class TestGroupCommit:
    async def test_one_fenced_job(self, sqlite_log: SqliteLog) -> None:
        """Jobs that wait share one transaction; one that is refused harms none of the others."""
        async with await joined(sqlite_log, ["orders"], 4) as member:
            await member.has(0, 1, 2, 3)
            fenced = member.leases[Shard(1)]
            await member.group.lease(Shard(1), member.tokens[Shard(1)])
            gate, began = threading.Event(), threading.Event()
            writer = sqlite_log._file.writer
            blocking = writer.send(held_up(began, gate))
            await until(began.is_set)
            steps: list[Step] = []
            install(steps.append)
            try:
                async with asyncio.TaskGroup() as tasks:
                    one = tasks.create_task(member.leases[Shard(0)].commit(puts({b"a": b"0"})))
                    two = tasks.create_task(refused(fenced.commit(puts({b"a": b"1"})), Fenced))
                    bad = [Outgoing("nowhere", b"k", b"v")]
                    three = tasks.create_task(refused(sqlite_log.publish(bad), UnknownTopic))
                    four = tasks.create_task(sqlite_log.publish(numbered("orders", 3)))
                    await until(lambda: writer._errands.qsize() == 4)
                    gate.set()
            finally:
                install(None)
            commits = steps.count(Step.LOG_COMMITTED)
            assert await blocking
            assert one.done()
            assert two.done()
            assert three.done()
            assert len(four.result()) == 3
            assert commits == 1
        assert await entries_of(sqlite_log, 0) == {b"a": b"0"}
        assert await entries_of(sqlite_log, 1) == {}
        assert await sqlite_log.watermark("orders", 0) == 3

    async def test_one_job_that_fails(self, sqlite_log: SqliteLog) -> None:
        """An errand that SQLite refuses is NotCommitted alone; those beside it are written."""
        gate, began = threading.Event(), threading.Event()
        writer = sqlite_log._file.writer
        blocking = writer.send(held_up(began, gate))
        await until(began.is_set)

        def fail(transaction: Transaction) -> None:
            transaction.append([Outgoing("orders", b"k", b"never", partition=0)])
            transaction.connection.execute("INSERT INTO generation VALUES (NULL)")

        async with asyncio.TaskGroup() as tasks:
            one = tasks.create_task(sqlite_log.publish(numbered("orders", 2)))
            tasks.create_task(refused(writer.submit(fail), NotCommitted))
            two = tasks.create_task(sqlite_log.publish(numbered("orders", 2, start=2)))
            await until(lambda: writer._errands.qsize() == 3)
            gate.set()
        await blocking
        assert [position.offset for position in one.result() + two.result()] == [0, 1, 2, 3]
        assert await values_of(sqlite_log, "orders") == [b"0", b"1", b"2", b"3"]

    async def test_wrong_type(self, sqlite_log: SqliteLog) -> None:
        """A value that is no bytes is this program's mistake, said loudly, and writes nothing."""
        with pytest.raises(InvariantError, match="can not write"):
            await sqlite_log.publish([Outgoing("orders", b"k", {"a": 1})])  # type: ignore[arg-type]  # on purpose
        assert await sqlite_log.publish(numbered("orders", 1))

    async def test_steps_of_a_cut(self, sqlite_log: SqliteLog) -> None:
        """A cut passes its numbered steps; publishing passes none."""
        async with await joined(sqlite_log, ["orders"], 1) as member:
            await member.has(0)
            steps: list[Step] = []
            install(steps.append)
            try:
                await sqlite_log.publish(numbered("orders", 1))
                await member.leases[Shard(0)].commit(puts({b"a": b"1"}))
            finally:
                install(None)
        assert steps == [Step.LOG_BEGUN, Step.LOG_WRITTEN, Step.LOG_COMMITTED]

    async def test_a_dead_writer_is_heard_of(self, sqlite_log: SqliteLog) -> None:
        """If a mistake ends the writer's thread, all who wait hear Unknown, all later ones the cause."""
        seen, writer, go_on = [], sqlite_log._file.writer, threading.Event()
        hook, threading.excepthook = threading.excepthook, lambda args: seen.append(args.exc_type)
        try:
            first = writer.send(lambda transaction: int(go_on.wait()))
            waiting = [writer.send(lambda transaction: 1 // 0)]
            waiting += [writer.send(lambda transaction: 0) for _ in range(3 * LARGEST_GROUP)]
            go_on.set()
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.wait([first, *waiting])
            first.exception()  # or none: it may be in a transaction of its own
            for one in waiting:
                with pytest.raises(Unknown, match="ZeroDivisionError"):
                    one.result()
            writer._thread.join()
        finally:
            threading.excepthook = hook
        assert seen == [ZeroDivisionError]
        with pytest.raises(InvariantError, match=r"ZeroDivisionError.*report it"):
            await sqlite_log.publish(numbered("orders", 1))

    async def test_a_mistake_in_the_group_is_heard_of(self, sqlite_log: SqliteLog) -> None:
        """What goes wrong where nobody waits comes out of `changes`, and names its cause."""
        async with await joined(sqlite_log, ["orders"], 1) as member:
            await member.has(0)
            writer = sqlite_log._file.writer
            hook, threading.excepthook = threading.excepthook, lambda args: None
            try:
                with pytest.raises(Unknown):
                    await writer.submit(lambda transaction: 1 // 0)
                writer._thread.join()
            finally:
                threading.excepthook = hook
            group = member.group
            assert isinstance(group, SqliteGroup)
            group.poll(-1, 0.0)
            with pytest.raises(InvariantError, match="ZeroDivisionError"):
                await group.changes()


async def refused(waiting: Awaitable[object], error: type[Exception]) -> None:
    """This ends with this error."""
    with pytest.raises(error):
        await waiting


class TestEndings:
    async def test_disk_full(self, sqlite_log: SqliteLog) -> None:
        """A full disk is NotCommitted and says so; with room again the same cut is written."""
        async with await joined(sqlite_log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            await lease.commit(puts({b"a": b"1"}))
            await sqlite_log._file.writer.submit(limit_pages(20))
            cut = puts({b"%d" % n: b"x" * 4_000 for n in range(100)}, *numbered("history", 50))
            for _ in range(2):
                with pytest.raises(NotCommitted, match=r"full.*make room"):
                    await lease.commit(cut)
            with pytest.raises(NotCommitted, match="full"):
                await sqlite_log.publish([Outgoing("orders", b"k", b"x" * 500_000)])
            assert await restored(lease) == {b"a": b"1"}
            assert await sqlite_log.watermark("history", 0) == 0
            await sqlite_log._file.writer.submit(limit_pages(1_000_000))
            await lease.commit(cut)
            assert len(await restored(lease)) == 101
            assert await sqlite_log.watermark("history", 0) == 50

    async def test_locked_by_another_process(self, tmp_path: Path) -> None:
        """A lock that another process keeps too long is NotCommitted; later the same goes well."""
        path = tmp_path / "log.db"
        log = await open_sqlite(path, clock=clock, busy_timeout_s=0.05)
        await log.create({"orders": 1})
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotCommitted, match="another process"):
            await log.publish(numbered("orders", 1))
        other.execute("ROLLBACK")
        other.close()
        await log.publish(numbered("orders", 1))
        assert await values_of(log, "orders") == [b"0"]
        await log.close()

    @pytest.mark.parametrize(
        ("code", "after", "raised", "written"),
        [
            (sqlite3.SQLITE_BUSY, False, NotCommitted, 0),
            (sqlite3.SQLITE_IOERR, False, Unknown, 0),
            (sqlite3.SQLITE_IOERR, True, Unknown, 2),
            (sqlite3.SQLITE_IOERR_FSYNC, False, Unknown, 0),
            (sqlite3.SQLITE_IOERR_WRITE, False, NotCommitted, 0),
            (sqlite3.SQLITE_FULL, False, NotCommitted, 0),
            (sqlite3.SQLITE_FULL, True, Unknown, 2),
        ],
    )
    async def test_of_the_commit_itself(
        self,
        *,
        sqlite_harness: SqliteHarness,
        sqlite_log: SqliteLog,
        code: int,
        after: bool,
        raised: type[Exception],
        written: int,
    ) -> None:
        """An error of COMMIT is Unknown, unless it was a lock or a full disk; the log works on."""
        await sqlite_harness.fail(sqlite_log, "COMMIT", code=code, after=after)
        with pytest.raises(raised):
            await sqlite_log.publish(numbered("orders", 2))
        assert await sqlite_log.watermark("orders", 0) == written
        await sqlite_log.publish(numbered("orders", 1))
        assert await sqlite_log.watermark("orders", 0) == written + 1
        assert len(await records_of(sqlite_log, "orders")) == written + 1

    async def test_a_connection_that_cannot_roll_back(
        self, sqlite_harness: SqliteHarness, sqlite_log: SqliteLog
    ) -> None:
        """Where even the rollback fails a new connection goes on, and nothing was written."""
        await sqlite_harness.fail(sqlite_log, "ROLLBACK", code=sqlite3.SQLITE_IOERR)
        await sqlite_harness.fail(sqlite_log, "INSERT INTO records", code=sqlite3.SQLITE_FULL)
        with pytest.raises(NotCommitted):
            await sqlite_log.publish(numbered("orders", 2))
        await sqlite_log.publish(numbered("orders", 1))
        assert await values_of(sqlite_log, "orders") == [b"0"]


def limit_pages(count: int) -> Callable[[Transaction], None]:
    """An errand that limits the size of the file, as a full disk does."""

    def errand(transaction: Transaction) -> None:
        transaction.connection.execute(f"PRAGMA max_page_count = {count}").fetchone()

    return errand
