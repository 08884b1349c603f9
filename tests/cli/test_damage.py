"""A log that was really damaged: each kind of damage is told, stops nobody else, and can be mended."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.cli.center import Answer, Project

FILE = "event-center.db"
SNAPSHOT, WAITING, SHARD = b"s:t-1", b"w:t-1\x00%012d", b"shard"


def edit(project: Project, statement: str, *values: object) -> int:
    """Change the file as nobody should; returns how many rows were."""
    with sqlite3.connect(project.root / FILE) as connection:
        changed = connection.execute(statement, values).rowcount
    connection.close()
    return changed


def value(project: Project, key: bytes) -> tuple[int, bytes]:
    """The shard and the value of an entry."""
    with sqlite3.connect(project.root / FILE) as connection:
        found = connection.execute("SELECT shard, value FROM entries WHERE key = ?", (key,))
        shard, bytes_ = found.fetchone()
    connection.close()
    return shard, bytes_


def write(project: Project, key: bytes, damaged: bytes) -> None:
    """Write another value over an entry."""
    assert edit(project, "UPDATE entries SET value = ? WHERE key = ?", damaged, key) == 1


def publish(project: Project, *events: tuple[str, str]) -> None:
    """Publish events of workflows, and let them be decided."""
    lines = [f'{{"workflow_id": "{workflow}", "event": "{event}"}}' for workflow, event in events]
    path = project.write("events.jsonl", "\n".join(lines))
    project.done("publish", "tasks", "--file", str(path))


def run(project: Project) -> None:
    """Serve until idle; the records add up, and the others go on."""
    publish(project, ("t-9", "begin"), ("t-9", "work"))
    project.done("run", "--until-idle")
    events = project.done("stats", "--json").json["events"]
    assert events.pop("read") == sum(events.values())
    assert project.done("show", "t-9", "--json").json["state"] == "busy"


def refused(answer: Answer, shard: int) -> None:
    """The message names the shard, the file and what to do."""
    assert answer.code == 3, answer
    text = " ".join(answer.err.split())
    assert re.search(rf"shard {shard} of the log \S*{FILE}", text), text
    assert "put back a copy of the log" in text
    assert "Traceback" not in text


def letters(project: Project, reason: str) -> list[str]:
    """Where the letters with a reason lie."""
    rows = project.done("dead-letters", "list", "--json").json
    return [row["letter"] for row in rows if row["reason"] == reason]


@pytest.fixture
def stopped(project: Project) -> Project:
    """A log in which `t-1` is paused and two events wait for it."""
    project.write("machines/mended", "")
    publish(project, ("t-1", "begin"), ("t-2", "begin"))
    project.done("run", "--until-idle")
    project.done("pause", "t-1", "--no-wait")
    publish(project, ("t-1", "work"), ("t-1", "end"))
    project.done("run", "--until-idle")
    assert project.done("show", "t-1", "--json").json["waiting"]["count"] == 2
    return project


def stands_alone(project: Project, shard: int) -> None:
    """`t-1` can not be read: its events become letters, and it is told why."""
    publish(project, ("t-1", "end"))
    run(project)
    refused(project.run("show", "t-1"), shard)
    assert len(letters(project, "unreadable_snapshot")) == 1
    run(project)


def test_a_snapshot_that_was_cut_short(stopped: Project) -> None:
    """Its workflow stands still; with its bytes back, it and the letter go on where they were."""
    shard, whole = value(stopped, SNAPSHOT)
    write(stopped, SNAPSHOT, whole[:-7])
    stands_alone(stopped, shard)
    assert stopped.run("pause", "t-1").code == 3
    rows = stopped.done("list", "--json").json
    assert [row["workflow_id"] for row in rows if row["status"] == "unreadable"] == ["t-1"]
    write(stopped, SNAPSHOT, whole)
    [letter] = letters(stopped, "unreadable_snapshot")
    stopped.done("resume", "t-1", "--no-wait")
    stopped.done("dead-letters", "replay", letter, "--no-wait")
    run(stopped)
    shown = stopped.done("show", "t-1", "--json").json
    assert (shown["state"], shown["waiting"]["count"]) == ("done", 0)
    history = stopped.done("history", "t-1", "--json").json
    assert [line["reason"] for line in history if line["event"] == "end"][-1] == "finished"


def test_letters_of_a_damaged_snapshot(project: Project) -> None:
    """Those of its sequence are left alone, and told; those of others are listed and dealt with."""
    publish(project, *((name, event) for name in ("t-1", "t-2") for event in ("begin", "work")))
    project.done("run", "--until-idle")
    _, whole = value(project, SNAPSHOT)
    write(project, SNAPSHOT, whole[:-7])
    listed = project.done("dead-letters", "list", "--json").json
    states = {row["workflow_id"]: row["state"] for row in listed}
    assert states == {"t-1": "unreadable", "t-2": "open"}
    [hidden] = [row["letter"] for row in listed if row["workflow_id"] == "t-1"]
    assert project.done("dead-letters", "show", hidden, "--json").json["open"] is None
    for verb in ("replay", "discard"):
        answer = project.run("dead-letters", verb, hidden, "--reason", "a test")
        assert answer.code == 3, answer
        assert "the snapshot of 't-1' can not be read" in answer.told
    many = project.run("dead-letters", "discard", "--all", "--yes", "--json", "--reason", "a test")
    assert [one["letter"] for one in many.json["each"]] == [
        row["letter"] for row in listed if row["workflow_id"] == "t-2"
    ]
    assert "left alone: 1 of workflows whose snapshot can not be read" in many.told


def test_a_waiting_entry_that_is_gone(stopped: Project) -> None:
    """Nothing overtakes an event that should wait and is not there."""
    shard, lost = value(stopped, WAITING % 0)
    assert edit(stopped, "DELETE FROM entries WHERE key = ?", WAITING % 0) == 1
    stands_alone(stopped, shard)
    edit(stopped, "INSERT INTO entries VALUES (?, ?, ?)", shard, WAITING % 0, lost)
    stopped.done("resume", "t-1", "--no-wait")
    run(stopped)
    assert stopped.done("show", "t-1", "--json").json["state"] == "done"


def test_a_waiting_entry_that_was_cut_short(stopped: Project) -> None:
    """An event that waits and can not be read stops its workflow, and only that."""
    shard, whole = value(stopped, WAITING % 1)
    write(stopped, WAITING % 1, whole[:20])
    stands_alone(stopped, shard)


def test_a_snapshot_that_is_gone(stopped: Project) -> None:
    """Events wait for nobody: a later event does not make the workflow anew before them."""
    shard, _ = value(stopped, SNAPSHOT)
    assert edit(stopped, "DELETE FROM entries WHERE key = ?", SNAPSHOT) == 1
    stands_alone(stopped, shard)
    assert value(stopped, WAITING % 0)
    edit(stopped, "DELETE FROM entries WHERE key IN (?, ?)", WAITING % 0, WAITING % 1)
    publish(stopped, ("t-1", "begin"))
    run(stopped)
    assert stopped.done("show", "t-1", "--json").json["state"] == "busy"


@pytest.mark.parametrize("key", [b"w:t-2\x00000000000000", b"w:nobody\x00000000000007"])
def test_a_waiting_entry_of_nobody(stopped: Project, key: bytes) -> None:
    """Of an idle workflow, or of none: it is not decided and not lost, and it is told."""
    workflow_id = key[2:-13].decode()
    shard, copied = value(stopped, WAITING % 0)
    if workflow_id == "t-2":
        shard, _ = value(stopped, b"s:t-2")
    edit(stopped, "INSERT INTO entries VALUES (?, ?, ?)", shard, key, copied)
    run(stopped)
    publish(stopped, ("t-2", "end"))
    run(stopped)
    state = "busy" if workflow_id == "t-2" else "done"
    rows = stopped.done("list", "--json").json
    assert [row["state"] for row in rows if row["workflow_id"] == "t-2"] == [state]
    assert len(letters(stopped, "unreadable_snapshot")) == (workflow_id == "t-2")
    if workflow_id == "t-2":
        refused(stopped.run("show", "t-2"), shard)


def test_a_snapshot_whose_key_is_no_text(stopped: Project) -> None:
    """It is listed as what it is, by bytes that are escaped, beside all others; and it takes no command."""
    shard, whole = value(stopped, SNAPSHOT)
    edit(stopped, "INSERT INTO entries VALUES (?, ?, ?)", shard, b"s:t-\xff", whole)
    rows = stopped.done("list", "--json").json
    assert {row["workflow_id"]: row["status"] for row in rows} == {
        "t-1": "paused",
        "t-2": "active",
        "t-\\xff": "unreadable",
    }
    [row] = stopped.done("list", "--status", "unreadable", "--json").json
    assert row["workflow_id"] == "t-\\xff"
    assert "t-\\xff" in stopped.done("list", "--status", "unreadable").out
    assert "did you mean" not in stopped.run("show", "nobody-at-all").err
    assert "did you mean" in stopped.run("show", "t-3").err
    answer = stopped.run("pause", "--status", "unreadable")
    assert (answer.code, "can not be read, and takes no command" in answer.told) == (4, True)
    answer = stopped.run("pause", "--all")  # nobody says yes
    assert "pause 2 workflows?" in answer.told
    assert stopped.run("check", "--log").code == 1
    run(stopped)


def test_a_key_in_no_format(stopped: Project) -> None:
    """An entry whose key says nothing is left where it is, and told."""
    edit(stopped, "INSERT INTO entries VALUES (0, ?, ?)", b"s:\xff", b"")
    edit(stopped, "INSERT INTO entries VALUES (0, ?, ?)", b"w:\xff\x00x", b"")
    publish(stopped, ("t-2", "end"))
    told = stopped.process("run", "--until-idle")
    assert told.code == 0, told
    assert told.err.count('"restore.bad_key"') == 2
    assert stopped.done("show", "t-2", "--json").json["state"] == "done"


def test_a_shard_entry_that_is_damaged(stopped: Project, tmp_path: Path) -> None:
    """What was decided is not known, so nothing is served; both ways on that are named work."""
    copy = tmp_path / "copy.db"
    shutil.copy(stopped.root / FILE, copy)
    shard, whole = value(stopped, SHARD)
    write(stopped, SHARD, whole[:-7])
    refused(stopped.process("run", "--until-idle"), shard)
    refused(stopped.run("stats"), shard)
    other = stopped.process("run", "--until-idle", "--log", str(tmp_path / "other.db"))
    assert other.code == 0, other
    for path in stopped.root.glob(f"{FILE}*"):
        path.unlink()
    shutil.copy(copy, stopped.root / FILE)
    run(stopped)
    assert stopped.done("show", "t-1", "--json").json["waiting"]["count"] == 2


def test_a_record_that_is_damaged(stopped: Project) -> None:
    """It becomes a letter with its bytes, and those behind it are decided."""
    publish(stopped, ("t-2", "work"), ("t-2", "end"))
    damaged = "UPDATE records SET value = ? WHERE CAST(value AS TEXT) LIKE '%t-2%work%'"
    assert edit(stopped, damaged, b"\x00\xff{") == 1
    run(stopped)
    assert len(letters(stopped, "undecodable")) == 1
    assert stopped.done("show", "t-2", "--json").json["state"] == "done"
