"""The command `migrate` between two files: what it prints, how it ends, and that the app goes on."""

from __future__ import annotations

import re
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.center import SETTINGS, Answer, Project
from tests.cli.interrupted import interrupted
from tests.cli.migrating_killed import migrate
from tests.forked import Heard

OTHER = SETTINGS.replace("partitions = 2", 'partitions = 3\npath = "other.db"')
EVENTS = [
    {"workflow_id": f"t-{n}", "event": event, "id": f"{event}-{n}"}
    for n in range(40)
    for event in ("begin", "work")
]
TABLES = ("topics", "partitions", "records", "entries", "offsets")


@pytest.fixture
def half(project: Project) -> Project:
    """A project with forty workflows, each with an open letter, and settings of another log."""
    project.write("other.toml", OTHER)
    _publish(project, EVENTS)
    project.done("run", "--until-idle")
    return project


def _publish(project: Project, events: list[dict[str, Any]], config: str = "") -> None:
    lines = b"\n".join(map(orjson.dumps, events))
    named = ["--config", str(project.root / config)] if config else []
    done = project.process(
        "publish", "tasks", "--file", str(project.write("events.jsonl", lines)), *named
    )
    assert done.code == 0, done


def _migrate(project: Project, *arguments: str) -> Answer:
    return project.process("migrate", "--to", "other.toml", *arguments)


def _there(project: Project, *arguments: str) -> Answer:
    """A command on the new log."""
    return project.process(*arguments, "--config", "other.toml")


def _rows(project: Project, file: str = "event-center.db") -> dict[str, list[Any]]:
    with closing(sqlite3.connect(project.root / file)) as connection:
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in TABLES
        }


def test_from_file_to_file(half: Project) -> None:
    """Everything is there with the same counters; the old file is untouched, and the app goes on."""
    before = (half.root / "event-center.db").read_bytes()
    old = half.process("stats", "--json").json
    answer = _migrate(half)
    assert answer.code == 0, answer
    assert "moved: 40 workflows, 0 waiting events, 40 open letters" in answer.out
    assert "moved: 40 records of event-center.dead-letters" in answer.out
    assert (half.root / "event-center.db").read_bytes() == before
    new = _there(half, "stats", "--json").json
    for name in ("events", "transitions", "runs", "workflows", "letters", "waiting"):
        assert new[name] == old[name], name
    again = _migrate(half)
    assert again.code == 0
    assert "moved before: 40 workflows" in again.out


def test_the_letters_can_be_replayed(half: Project) -> None:
    """A letter that was open on the old log is replayed on the new one, and new events are decided."""
    assert _migrate(half).code == 0
    half.write("machines/mended", "")
    listed = _there(half, "dead-letters", "list", "--json").json
    letter = next(one for one in listed if one["workflow_id"] == "t-7")
    assert _there(half, "dead-letters", "replay", letter["letter"], "--no-wait").code == 0
    assert _there(half, "run", "--until-idle").code == 0
    _publish(half, [{"workflow_id": "t-7", "event": "end"}], "other.toml")
    again = [{"workflow_id": "t-8", "event": "begin", "id": "begin-8"}]
    _publish(half, again, "other.toml")
    assert _there(half, "run", "--until-idle").code == 0
    shown = _there(half, "show", "t-7", "--json").json
    assert (shown["state"], shown["letters"]["open"]) == ("done", 0)
    events = _there(half, "stats", "--json").json["events"]
    assert events["duplicate"] == 1
    assert events["read"] == len(EVENTS) + 3


def test_a_dry_run(half: Project) -> None:
    """It says what would move, and makes no log."""
    answer = _migrate(half, "--dry-run", "--json", "--with-history")
    assert answer.code == 0, answer
    told = answer.json
    assert (told["what"], told["workflows"], told["open_letters"]) == ("would move", 40, 40)
    assert told["records"]["event-center.history"] > 80
    assert not (half.root / "other.db").exists()


def test_what_is_refused(half: Project) -> None:
    """Unread records, a log that is used, the same log, another app: each is told in a sentence."""
    _publish(half, [{"workflow_id": "t-1", "event": "work"}])
    answer = _migrate(half)
    assert answer.code == 1
    assert "tasks 1" in answer.err
    assert "--with-backlog" in answer.err
    half.write("other.toml", SETTINGS)
    assert "the same log" in _migrate(half, "--with-backlog").err
    half.write("other.toml", 'app = "mine"\n' + OTHER)
    assert "has to stay the same" in _migrate(half, "--with-backlog").err
    half.write("other.toml", OTHER.replace("[topics.tasks]", "[topics.jobs]"))
    answer = _migrate(half, "--with-backlog")
    assert (answer.code, "no [topics.tasks]" in answer.err) == (2, True)
    answer = half.process("migrate", "--to", "other.toml", "--from", "none.toml")
    assert answer.code == 2


def test_a_daemon_that_runs(half: Project) -> None:
    """While a daemon runs on the old log nothing is moved; the message has its process."""
    with half.daemon() as daemon:
        answer = _migrate(half)
        assert answer.code == 3
        assert "another daemon runs on" in answer.err
        assert f"process {daemon.pid}" in answer.err
    assert _migrate(half).code == 0


def test_a_target_in_use(half: Project) -> None:
    """A log on which a daemon has worked is no target."""
    _publish(half, [{"workflow_id": "x", "event": "begin"}], "other.toml")
    assert _there(half, "run", "--until-idle").code == 0
    answer = _migrate(half)
    assert (answer.code, "is not empty" in answer.err) == (1, True)


def _killed(half: Project, at: int) -> int:
    """Migrate in a process that is killed with -9 after so many cuts; its exit code."""
    command = ["migrate", "--to", "other.toml", "--with-history", str(at)]
    process = Heard(command, cwd=half.root, work=migrate, env=half.environment)
    return process.done().returncode


def test_killed_and_started_again(half: Project) -> None:
    """Killed with -9 after any cut: no daemon serves the new log, and run again it ends the same."""
    before = _rows(half)
    at, refused = 1, 0
    assert _migrate(half, "--with-history").code == 0
    whole = _rows(half, "other.db")["entries"]
    _remove(half.root)
    while _killed(half, at) == -signal.SIGKILL:
        answer = _there(half, "run", "--until-idle")
        if answer.code != 0:
            assert answer.code == 2, answer
            assert "has not ended: run `event-center migrate` again" in answer.err
            refused += 1
            answer = _migrate(half, "--with-history")
            assert answer.code == 0, answer
            assert _rows(half, "other.db")["entries"] == whole
        _remove(half.root)
        at += 13
    assert refused > 3
    assert _rows(half) == before


def test_interrupted_and_started_again(half: Project) -> None:
    """Ctrl-C at any step: what is said fits what is in the target, and run again it ends the same."""
    before = _rows(half)
    assert _migrate(half, "--with-history").code == 0
    whole = _rows(half, "other.db")["entries"]
    codes: list[int] = []
    while 0 not in codes:
        _remove(half.root)
        at = 1 + 6 * len(codes)
        command = ["migrate", "--to", "other.toml", "--with-history", str(at), "SIGINT"]
        process = Heard(command, cwd=half.root, work=interrupted, env=half.environment)
        done = process.done()
        codes.append(done.returncode)
        if done.returncode == 130:
            assert "nothing was moved" in done.stderr
            assert not (half.root / "other.db").exists() or _rows(half, "other.db")["entries"] == []
        elif done.returncode == 5:
            assert re.search(r"stopped after: \S.*, \d+ of \d+\. What has moved", done.stderr)
            assert _there(half, "run", "--until-idle").code == 2
        answer = _migrate(half, "--with-history")
        assert answer.code == 0, answer
        assert _rows(half, "other.db")["entries"] == whole
    assert sorted(set(codes), reverse=True) == [130, 5, 0]
    assert len(codes) > 2
    assert _rows(half) == before


def _remove(folder: Path) -> None:
    for file in folder.glob("other.db*"):
        file.unlink()
