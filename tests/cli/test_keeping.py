"""`backup`, `restore` and `check --log`: a copy of a live log, put back, and what is wrong with a log."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from event_center.errors import LogUnavailable
from event_center.log.sqlite import copy, put_back
from tests.cli.center import Project, eventually
from tests.waiting import PATIENCE_S

FILE = "event-center.db"


def edit(path: Path, statement: str) -> None:
    """Change a log as nobody should."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()


def test_a_live_log_is_copied_and_put_back(decided: Project) -> None:
    """The copy has what was decided at its moment; what came later is not in the restored log."""
    log, made = decided.root / FILE, decided.root / "copy.db"
    with decided.daemon():
        answer = decided.done("backup", str(made), "--json").json
        assert answer == {"file": str(made), "bytes": made.stat().st_size}
        decided.done("publish", "tasks", "--workflow-id", "t-3", "--event", "begin")
        eventually(decided, "list", holds="t-3 .*busy")
        refused = decided.run("restore", str(made), "--replace")
        assert refused.code == 3
        assert "another daemon runs" in refused.err
    assert sorted(path.name for path in decided.root.glob("copy.db*")) == ["copy.db"]
    assert "add --replace" in decided.run("restore", str(made)).err
    answer = decided.done("restore", str(made), "--replace", "--json").json
    assert "t-3" not in decided.done("list").out
    assert decided.done("show", "t-2", "--json").json["state"] == "done"
    assert "ok: the log" in decided.done("check", "--log").out
    assert f"ok: the log {made}: " in decided.done("check", "--log", str(made)).out
    assert decided.run("check", "--log", str(made), str(made)).code == 2
    assert decided.run("check", "--log", str(made.with_name("none.db"))).code == 3
    decided.done("run", "--until-idle")
    shutil.copy(answer["replaced"], log)
    assert "t-3" in decided.done("list").out


def test_a_copy_takes_nobodys_place(decided: Project) -> None:
    """A file that exists stays as it is; so does the folder, if there is none to write into."""
    there = decided.write("there.db", "mine")
    refused = decided.run("backup", str(there))
    assert (refused.code, there.read_text()) == (3, "mine")
    assert "exists already" in refused.err
    assert decided.run("backup", str(decided.root / "nowhere" / "copy.db")).code == 3
    assert list(decided.root.glob("*.part*")) == []


def test_a_copy_is_of_one_moment(decided: Project) -> None:
    """Writes of others between two steps neither begin it anew nor come into it."""
    log, made = decided.root / FILE, decided.root / "copy.db"
    writer = sqlite3.connect(log, isolation_level=None)
    writer.execute("CREATE TABLE more(x)")
    writer.execute(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000) "
        "INSERT INTO more SELECT zeroblob(4000) FROM n"
    )
    steps: list[int] = []

    def told(done: int, total: int) -> bool:
        steps.append(done)
        writer.execute("INSERT INTO more VALUES (1)")
        assert done <= total
        return True

    copy(log, made, told)
    assert len(steps) > 2
    assert steps == sorted(steps)
    count = "SELECT count(*) FROM more"
    assert sqlite3.connect(made).execute(count).fetchone() == (3000,)
    assert writer.execute(count).fetchone() == (3000 + len(steps),)
    writer.close()


def test_a_plain_copy_of_a_live_log_lacks_something(decided: Project) -> None:
    """The twin: the file alone is not all that is durable; `backup` has the rest as well."""
    log, made, plain = (decided.root / name for name in (FILE, "copy.db", "plain.db"))
    writer = sqlite3.connect(log, isolation_level=None)
    writer.execute("CREATE TABLE more AS SELECT 1 AS x")
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer.execute("INSERT INTO more VALUES (2)")
    shutil.copy(log, plain)
    copy(log, made, lambda done, total: True)
    count = "SELECT count(*) FROM more"
    found = [sqlite3.connect(path).execute(count).fetchone() for path in (made, plain)]
    assert found == [(2,), (1,)]
    writer.close()


def test_a_log_that_somebody_has_open_is_not_replaced(decided: Project) -> None:
    """A publisher would write into the log that was moved aside, and nobody would read it."""
    made = decided.root / "copy.db"
    decided.done("backup", str(made))
    publisher = sqlite3.connect(decided.root / FILE)
    publisher.execute("SELECT count(*) FROM topics").fetchone()
    refused = decided.run("restore", str(made), "--replace")
    assert refused.code == 3
    assert "has" in refused.err
    assert "open" in refused.err
    publisher.close()
    decided.done("restore", str(made), "--replace")
    assert list(decided.root.glob("*.restored*")) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no log of this program"), (b"no database" * 500, "not an SQLite file")],
)
def test_what_is_no_copy_is_not_put_back(decided: Project, content: bytes, said: str) -> None:
    """The log that is there stays; a copy of a newer format too says what to do."""
    wrong = decided.write("wrong.db", content)
    refused = decided.run("restore", str(wrong), "--replace")
    assert refused.code == 3
    assert said in refused.err
    assert "there is no file" in decided.run("restore", "gone.db", "--replace").err
    newer = decided.root / "newer.db"
    decided.done("backup", str(newer))
    edit(newer, "PRAGMA user_version = 99")
    assert "format 99" in decided.run("restore", str(newer), "--replace").err
    assert decided.done("show", "t-2", "--json").json["state"] == "done"


def test_a_damaged_log_is_not_copied_but_can_be_replaced(decided: Project) -> None:
    """The check finds the damage; a backup of it is refused; a good copy takes its place."""
    made, log = decided.root / "copy.db", decided.root / FILE
    decided.done("backup", str(made))
    edit(log, "PRAGMA journal_mode = DELETE")
    with log.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    answer = decided.run("check", "--log")
    assert answer.code != 0
    with pytest.raises(LogUnavailable, match=r"damaged|malformed"):
        copy(log, decided.root / "other.db", lambda _done, _total: True)
    decided.done("restore", str(made), "--replace")
    assert decided.done("check", "--log", "--json").json["ok"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM entries WHERE key = x'733a742d31'", "but it counts 1"),
        ("UPDATE entries SET value = x'00' WHERE key = x'733a742d31'", "s:t-1"),
        ("UPDATE entries SET value = x'00' WHERE key = x'7368617264'", "shard entry"),
        ("INSERT INTO entries VALUES (0, x'ff', x'00')", "none of this release"),
        (
            "UPDATE entries SET value = CAST(replace(CAST(value AS TEXT), '\"read\":', "
            "'\"read\":1') AS BLOB) WHERE key = x'7368617264'",
            "have an outcome",
        ),
    ],
)
def test_what_does_not_add_up_is_told(decided: Project, statement: str, said: str) -> None:
    """Each flaw is a line with its shard, and the exit code is 1; nothing is changed."""
    assert decided.done("check", "--log", "--json").json["workflows"] == 2
    edit(decided.root / FILE, statement)
    answer = decided.run("check", "--log")
    assert answer.code == 1
    assert "shard " in answer.out
    assert said in answer.out
    assert decided.run("check", "--log").out == answer.out


def test_a_killed_backup_leaves_no_copy(decided: Project) -> None:
    """What has the name of the copy is whole: until then it is called otherwise."""
    log, made = decided.root / FILE, decided.root / "copy.db"
    edit(log, "CREATE TABLE more AS SELECT zeroblob(9000000) AS x")
    program = (
        "import os, signal, sys, pathlib; from event_center.log.sqlite import copy;"
        "stop = lambda done, total: os.kill(os.getpid(), signal.SIGKILL);"
        "copy(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), stop)"
    )
    arguments = [sys.executable, "-c", program, str(log), str(made)]
    killed = subprocess.run(arguments, timeout=PATIENCE_S, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not made.exists()
    decided.done("backup", str(made))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_that_is_interrupted(decided: Project, number: signal.Signals) -> None:
    """A signal at any step ends it with a sentence and 130, and leaves nothing; or the copy is whole."""
    edit(decided.root / FILE, "CREATE TABLE more AS SELECT zeroblob(60000) AS x")
    at, left = 1, 0
    while (answer := decided.interrupted(at, number, "backup", "copy.db")).code == 130:
        assert re.fullmatch(r"error: stopped before .*; nothing was written\n", answer.err), answer
        left += len(list(decided.root.glob("copy.db*")))
        at += 4
    assert (answer.code, answer.out[:18], left) == (0, "copied to copy.db:", 0)
    assert at > 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_restore_that_is_interrupted(decided: Project, number: signal.Signals) -> None:
    """The log that was to be replaced is in its place, alone, and the next restore does its work."""
    decided.done("backup", str(decided.root / "copy.db"))
    decided.done("publish", "tasks", "--workflow-id", "t-3", "--event", "begin")
    before = {path.name for path in decided.root.iterdir()}
    answer = decided.interrupted(2, number, "restore", "copy.db", "--replace")
    assert answer.code == 130, answer
    assert "nothing was written" in answer.err
    assert {path.name for path in decided.root.iterdir()} <= before | {f"{FILE}.lock"}
    assert decided.done("stats", "--json").json["lag"] == 1
    decided.done("restore", str(decided.root / "copy.db"), "--replace")
    assert decided.done("stats", "--json").json["lag"] == 0


def test_there_is_a_log_at_each_moment_of_a_restore(decided: Project, tmp_path: Path) -> None:
    """The old one stays in its place until the new one takes it: nobody finds none, and makes one."""
    made, log, replaced = decided.root / "copy.db", decided.root / FILE, tmp_path / "former.db"
    decided.done("backup", str(made))
    former = log.stat().st_ino
    seen: list[int] = []

    def looked(_done: int, _total: int) -> bool:
        seen.append(log.stat().st_ino)
        return True

    put_back(made, log, looked, replaced=replaced)
    assert set(seen) == {former}
    assert replaced.stat().st_ino == former
    assert log.stat().st_ino != former
