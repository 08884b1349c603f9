"""A file that fails for a while under an open embedded log: who hears of it, and that it goes on after."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from event_center.errors import DataLost, LogUnavailable, NotCommitted
from event_center.log.sqlite import Retention, Rule, SqliteLog, open_sqlite
from event_center.log.sqlite import log as opening
from event_center.log.sqlite.group import SqliteGroup
from event_center.log.sqlite.reader import FileReader
from event_center.log.sqlite.schema import connect_reader, connect_writer
from event_center.model import Outgoing
from tests.log.harness import SqliteHarness, clock, flat, joined, numbered, records_of
from tests.waiting import until

ASKED_FOR = "asked for by a test"


class BrokenReader:
    """A reader whose file can not be looked at."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader

    def version(self) -> int:
        raise LogUnavailable(ASKED_FOR)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


async def test_fetches_say_that_the_file_can_not_be_read(sqlite_log: SqliteLog) -> None:
    """A look that fails where nobody waits comes out of `fetch`; no record is lost by it."""
    async with await joined(sqlite_log, ["orders"], 1) as member:
        await member.has(0)
        file = sqlite_log._file
        whole = file.reader
        file.reader = BrokenReader(whole)  # type: ignore[assignment]  # a fake
        await until(lambda: file.trouble is not None)
        with pytest.raises(LogUnavailable, match=ASKED_FOR):
            await member.group.fetch(member.tokens, 10)
        file.reader = whole
        await sqlite_log.publish(numbered("orders", 3))
        await until(lambda: file.trouble is None)
        found = flat(await member.fetched(3), "orders", 0)
        assert [record.offset for record in found] == [0, 1, 2]


async def test_a_member_looks_again_after_a_change_that_failed(
    sqlite_harness: SqliteHarness, sqlite_log: SqliteLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """A change of hands that could not be written is said, and tried again until shards are shared."""
    async with await joined(sqlite_log, ["orders"], 2) as first:
        await first.has(0, 1)
        other = await sqlite_harness.open()
        for log in (sqlite_log, other):  # who gives a shard up, and who takes it
            await sqlite_harness.fail(log, "UPDATE shards SET member", code=sqlite3.SQLITE_FULL)
        async with await joined(other, ["orders"], 2) as second:
            await first.owns(1)
            await second.owns(1)
    said = capsys.readouterr().out
    assert said.count("log.sharing_failed") == said.count("made to fail by a test") == 2


class BrokenFiles:
    """`os.open`, of which the next calls for files of members fail, as where too many are open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, of: Callable[[int], bool]) -> None:
        self.left = 0
        self._of = of
        self._open = os.open
        monkeypatch.setattr(os, "open", self.open)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if "-member-" in str(path) and self._of(flags) and self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, ASKED_FOR)
        return self._open(path, flags, mode)


async def test_a_member_that_can_not_enter_again_tries_again(
    sqlite_harness: SqliteHarness,
    sqlite_log: SqliteLog,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A member that others took for dead, and that can show no sign of life yet, has its share later."""
    files = BrokenFiles(monkeypatch, lambda flags: bool(flags & os.O_CREAT))
    async with await joined(sqlite_log, ["orders"], 2) as first:
        await first.has(0, 1)
        (file,) = Path(sqlite_log.path).parent.glob("*-member-*")
        other = await sqlite_harness.open()
        async with await joined(other, ["orders"], 2) as second:
            await first.owns(1)
            await second.owns(1)
            files.left = 2
            file.unlink()
            await until(lambda: not files.left)
            await first.owns(1)
            await second.owns(1)
    said = capsys.readouterr().out
    assert said.count("log.sharing_failed") == 2
    assert ASKED_FOR in said


async def test_a_look_at_others_that_fails_is_not_the_last(
    sqlite_harness: SqliteHarness,
    sqlite_log: SqliteLog,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While nobody can tell whether others live they are left alone; reading the file goes on."""
    files = BrokenFiles(monkeypatch, lambda flags: not flags & os.O_CREAT)
    other = await sqlite_harness.open()
    async with (
        await joined(sqlite_log, ["orders"], 2) as first,
        await joined(other, ["orders"], 2) as second,
    ):
        await first.owns(1)
        await second.owns(1)
        files.left = 2
        await until(lambda: not files.left)
        for member in (first, second):
            (shard,) = member.leases
            await sqlite_log.publish(numbered("orders", 1, partition=shard))
            assert len(flat(await member.fetched(1), "orders", shard)) == 1
            await member.owns(1)
    assert capsys.readouterr().out.count("log.sharing_failed") == 2


async def test_a_join_that_ends_by_a_mistake_leaves_no_sign_of_life(
    sqlite_log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends a join, others do not take its member for a living one."""

    async def mistaken(self: SqliteGroup) -> None:
        raise KeyError(ASKED_FOR)

    monkeypatch.setattr(SqliteGroup, "enter", mistaken)
    with pytest.raises(KeyError):
        await sqlite_log.join(["orders"], 1)
    assert list(Path(sqlite_log.path).parent.glob("*-member-*")) == []


async def test_a_group_that_can_not_be_joined_leaves_nothing_behind(
    sqlite_harness: SqliteHarness, sqlite_log: SqliteLog
) -> None:
    """A member that was not let in holds no place: neither a lock file nor a row in the log."""
    # By then it has its row.
    await sqlite_harness.fail(sqlite_log, "INSERT INTO shards", code=sqlite3.SQLITE_FULL)
    with pytest.raises(NotCommitted, match="made to fail by a test"):
        await sqlite_log.join(["orders"], 1)
    assert list(Path(sqlite_log.path).parent.glob("*-member-*")) == []
    async with await joined(sqlite_log, ["orders"], 1) as member:
        await member.has(0)


async def test_retention_that_fails_is_said_and_stops_nobody(
    tmp_path: Path, sqlite_harness: SqliteHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    """Records that could not be removed are removed later; publishing goes on meanwhile."""
    retention = Retention(topics={"mail": Rule(None, 0)}, every_s=0.01, pause_s=0.0)
    log = await open_sqlite(tmp_path / "log.db", clock=clock, retention=retention)
    await log.create({"mail": 1})
    for _ in range(2):
        await sqlite_harness.fail(log, "DELETE FROM records", code=sqlite3.SQLITE_FULL)
    said: list[str] = []

    def failures() -> int:
        said.append(capsys.readouterr().out)
        return "".join(said).count("log.retention_failed")

    await log.publish(numbered("mail", 5))
    await until(lambda: failures() == 2)
    assert (await log.publish([Outgoing("mail", b"k", b"v", (), 0)]))[0].offset == 5
    reader = log._file.reader
    await until(lambda: reader.records(("mail", 0), 0, 6, limit=6)[0] == [])
    assert await records_of(log, "mail") == []
    await log.close()
    assert failures() == 2
    assert "".join(said).count("made to fail by a test") == 2


async def test_a_log_whose_reader_can_not_open_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If only half of a log could be opened, that half is closed again, and the file is free."""
    path = tmp_path / "log.db"

    def refuses(*arguments: object) -> None:
        raise LogUnavailable(ASKED_FOR)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "connect_reader", refuses)
        with pytest.raises(LogUnavailable, match=ASKED_FOR):
            await open_sqlite(path, clock=clock)
    connection = connect_writer(path, 0.0, keep_cuts=False)
    connection.execute("BEGIN EXCLUSIVE")
    connection.close()
    await (await open_sqlite(path, clock=clock)).close()


def test_a_file_that_another_process_holds(tmp_path: Path) -> None:
    """A file that is locked for longer than the busy timeout can not be opened, and says who may help."""
    path = tmp_path / "log.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE x(y)")
    other.execute("DROP TABLE x")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(LogUnavailable, match=f"cannot open {path}: "):
            connect_writer(path, 0.02, keep_cuts=False)
    finally:
        other.close()
    connect_writer(path, 0.02, keep_cuts=False).close()
    connect_reader(path, 0.02).close()


def moved(path: Path, to: Path) -> None:
    """Move a file, as somebody does who does not know that it is in use."""
    path.replace(to)


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_deleted_while_it_is_open_is_told(
    sqlite_log: SqliteLog, replaced: bool
) -> None:
    """Who reads hears of it at once: else all would seem well until the process ends, and be gone then."""
    async with await joined(sqlite_log, ["orders"], 1) as member:
        await member.has(0)
        path = Path(sqlite_log.path)
        aside = path.with_name("aside")
        moved(path, aside)
        if replaced:
            shutil.copy(aside, path)
        await until(lambda: sqlite_log._file.trouble is not None)
        with pytest.raises(DataLost, match="was deleted or replaced"):
            await member.group.fetch(member.tokens, 10)
        moved(aside, path)
        await until(lambda: sqlite_log._file.trouble is None)


async def test_nobody_hears_of_a_deleted_file_who_does_not_look(
    sqlite_log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: what is written then is read again, as if all were well, and is in no file."""
    place_looked_at = SqliteLog._check_place
    monkeypatch.setattr(SqliteLog, "_check_place", lambda self: None)
    async with await joined(sqlite_log, ["orders"], 1) as member:
        await member.has(0)
        path = Path(sqlite_log.path)
        aside = path.with_name("aside")
        moved(path, aside)
        await sqlite_log.publish(numbered("orders", 3))
        assert len(await records_of(sqlite_log, "orders")) == 3
        assert sqlite_log._file.trouble is None
        with pytest.raises(DataLost):
            place_looked_at(sqlite_log)
        moved(aside, path)
