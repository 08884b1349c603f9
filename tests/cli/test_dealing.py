"""Many dead letters: grouped, replayed or discarded in their order, and never twice."""

from __future__ import annotations

import re
import signal

import pytest

from event_center.cli.dealing import closed
from event_center.cli.session import Session
from event_center.wire.letter import Letter
from tests.cli.center import SETTINGS, Project
from tests.waiting import wait_until

WHY = ["--reason", "a test"]


@pytest.fixture
def failing(project: Project) -> Project:
    """Two workflows, each with a letter that failed and one behind it."""
    for name in ("t-1", "t-2"):
        for event in ("begin", "work", "end"):
            project.done("publish", "tasks", "--workflow-id", name, "--event", event)
    project.done("run", "--until-idle")
    return project


@pytest.fixture
def stray(project: Project) -> Project:
    """Three letters that belong to no workflow, because nobody knew their machine."""
    project.write("event-center.toml", '[topics.tasks]\nmachine = "=body.machine"\n')
    for number in range(3):
        project.done("publish", "tasks", "--workflow-id", f"t-{number}", "--event", "begin")
    project.done("run", "--until-idle")
    project.write("event-center.toml", SETTINGS.replace("partitions = 2", "partitions = 1"))
    return project


def _states(project: Project) -> list[str]:
    return [row["state"] for row in project.done("dead-letters", "list", "--json").json]


def test_letters_are_grouped(failing: Project) -> None:
    """Groups are by machine, reason and error, with how many are still to be dealt with."""
    rows = failing.done("dead-letters", "list", "--grouped", "--json").json
    told = [(row["machine"], row["reason"], row["error"], row["letters"]) for row in rows]
    assert sorted(told, key=str) == [
        ("task", "behind_letter", None, 2),
        ("task", "failed", "RuntimeError", 2),
    ]
    out = failing.done("dead-letters", "list", "--grouped", "--error", "disk").out
    assert "RuntimeError" in out
    assert "behind_letter" not in out
    place = rows[0]["example"] if rows[0]["error"] else rows[1]["example"]
    assert 'machines/task.py", line' in failing.done("dead-letters", "show", place).out


async def _still_open(letter: Letter, _: float, session: Session) -> bool:
    """Whether the letter is closed a moment later, however long the command would wait for it."""
    return await closed(letter, 0.1, session)


def _open(project: Project, workflow_id: str) -> int:
    """How many letters of the workflow are open."""
    listed = project.done("dead-letters", "list", "--workflow-id", workflow_id, "--json").json
    return sum(row["open"] for row in listed)


def test_sequences_are_replayed_as_a_whole(failing: Project) -> None:
    """What fails again keeps those behind it back; once mended, all are decided in their order."""
    with failing.daemon():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("event_center.cli.dealing.closed", _still_open)
            answer = failing.run("dead-letters", "replay", "--all", "--yes")
        assert answer.code == 1, answer
        wait_until(lambda: len(failing.done("list", "--status", "parked", "--json").json) == 2)
        first = failing.done("dead-letters", "list", "--json").json[0]["letter"]
        again = failing.run("dead-letters", "replay", first)
        assert again.code == 1
        assert "it is parked: retry tries again what failed" in again.out
        assert "2 still open: why says why; 2 left alone" in answer.out
        failing.write("machines/mended", "")
        shown = failing.done("dead-letters", "replay", "--all", "--dry-run", "--json").json
        assert len(shown["letters"]) == 4
        failing.done("cancel", "t-1")
        failing.done("retry", "t-2")
        wait_until(lambda: _open(failing, "t-2") == 1)
        answer = failing.done("dead-letters", "replay", "--workflow-id", "t-2", "--yes")
        assert "replay: 1 decided" in answer.out
        done = failing.done("dead-letters", "discard", "--all", "--yes", "--json", *WHY).json
        assert (done["letters"], done["done"]) == (2, 2)
    assert failing.done("show", "t-2", "--json").json["state"] == "done"
    assert _states(failing) == ["closed"] * 4
    why = [line.get("why") for line in failing.done("history", "t-1", "--json").json]
    assert why.count("a test") == 2


def test_without_a_daemon(failing: Project) -> None:
    """Nobody answers: that is said once a workflow, and the letters behind are left alone."""
    answer = failing.run("dead-letters", "replay", "--all", "--yes", "--wait", "24h")
    assert answer.code == 1
    assert (
        "2 not answered: no daemon runs; what is in the log is decided when one does; 2 left"
        in answer.out
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["replay"], 2, "name a LETTER, or say which ones"),
        (["replay", "0/0", "--all"], 2, "not both"),
        (["replay", "--all", "--no-wait"], 2, "leave --no-wait out"),
        (["replay", "--all", "--payload", "{}"], 2, "change one letter: name it"),
        (["replay", "0/0", "--payload", "{}", "--edit"], 2, "--payload or --edit"),
        (["replay", "--machine", "other"], 4, "nothing was sent"),
        (["replay", "0/99"], 4, "there is no letter 0/99"),
        (["replay", "--all"], 1, "nothing was sent; --yes says yes beforehand"),
        (["discard", "--all"], 2, "discard needs --reason"),
    ],
)
def test_what_is_not_clear_is_not_done(
    stray: Project, arguments: list[str], code: int, told: str
) -> None:
    """A clear sentence and its exit code, and all letters are as they were."""
    answer = stray.run("dead-letters", *arguments)
    assert answer.code == code
    assert told in answer.told
    assert _states(stray) == ["untouched"] * 3


def test_ctrl_c_leaves_nothing_half_done(stray: Project) -> None:
    """Stopped in the middle, what was dealt with is on record; a second run deals with the rest."""
    command = ["dead-letters", "replay", "--all", "--yes", "--rate", "0.01"]
    answer = stray.interrupted(1, signal.SIGINT, *command)
    assert answer.code == 5, answer
    assert "stopped: 1 of 3 letters are dealt with, on record" in answer.err
    out = stray.done("dead-letters", "replay", "--all", "--yes").out
    assert "replay: 2 published again" in out
    assert stray.run("dead-letters", "replay", "--all", "--yes").code == 4
    stray.done("run", "--until-idle")
    assert len(stray.done("list", "--json").json) == 3


def test_strays_are_discarded_on_record(stray: Project) -> None:
    """A letter outside of any sequence stays, and says who discarded it and why."""
    out = stray.done("dead-letters", "discard", "0/0", *WHY).out
    assert out == "discarded: letter 0/0; it stays in the log, with the reason\n"
    assert stray.done("dead-letters", "show", "0/0", "--json").json["closing"]["reason"] == "a test"
    assert stray.run("dead-letters", "discard", "0/0", *WHY).code == 1
    assert _states(stray) == ["discarded", "untouched", "untouched"]


def test_what_got_too_large_stays_as_it_was(
    failing: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One letter or many: refused with sizes and a way on, and every letter is open as before."""
    before = failing.done("dead-letters", "list", "--json").json
    place = before[0]["letter"]
    for module in ("replaying", "dealing"):
        monkeypatch.setattr(f"event_center.cli.{module}.max_event_bytes", lambda _: 100)
    told = (
        r"a record of \d+ bytes in event-center.commands, and on this log one has at most 100: .*"
    )
    for command in (["replay", place], ["replay", place, "--dry-run"]):
        one = failing.run("dead-letters", *command)
        assert one.code == 2, one
        assert re.search(told, one.told)
    many = failing.run("dead-letters", "replay", "--all", "--yes", "--json")
    assert many.code == 1, many
    outcomes = [one["outcome"] for one in many.json["each"]]
    assert sorted(bool(re.search(told, one)) for one in outcomes) == [False, False, True, True]
    assert outcomes.count("left alone, behind one that is open") == 2
    assert failing.done("dead-letters", "list", "--json").json == before


def test_a_payload_is_changed(stray: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --payload, or in an editor; an editor that changes nothing sends nothing."""
    monkeypatch.setenv("EDITOR", "true")
    answer = stray.run("dead-letters", "replay", "0/0", "--edit")
    assert answer.code == 1
    assert "nothing was changed, and nothing was sent" in answer.err
    assert stray.run("dead-letters", "replay", "0/0", "--payload", "{").code == 2
    for broken in ("false", "/no/such/editor"):
        monkeypatch.setenv("EDITOR", broken)
        answer = stray.run("dead-letters", "replay", "0/0", "--edit")
        assert (answer.code, "nothing was sent" in answer.err) == (2, True), answer
    script = stray.write("edit.sh", "echo '{\"edited\": true}' > $1")
    monkeypatch.setenv("EDITOR", f"sh {script}")
    assert "inbox" in stray.done("dead-letters", "replay", "0/0", "--edit").out
    stray.done("dead-letters", "replay", "0/1", "--payload", '{"slow": false}')
    stray.done("run", "--until-idle")
    told = [stray.done("history", name, "--json").json for name in ("t-0", "t-1")]
    assert [lines[0]["origin"].rpartition("/")[0] for lines in told] == ["event-center.inbox/0"] * 2


def test_a_letter_by_a_number_of_the_list(stray: Project) -> None:
    """A number that one letter alone has names it, and what is no number says how to write one."""
    assert stray.done("dead-letters", "show", "2", "--json").json["letter"] == "0/2"
    assert stray.run("dead-letters", "show", "7").code == 4
    assert "dry_run" in stray.done("dead-letters", "replay", "1", "--dry-run", "--json").out
    wrong = stray.run("dead-letters", "show", "0-1")
    assert (wrong.code, "write PARTITION/OFFSET" in wrong.told) == (2, True)


def test_a_number_that_several_letters_have(failing: Project) -> None:
    """Offsets and places in a sequence are both shown, so that a number may mean several letters."""
    answer = failing.run("dead-letters", "discard", "0", *WHY)
    assert answer.code == 2
    assert re.match(r"error: 0 may be ./. of t-., ./. of t-.; write PARTITION/OFFSET", answer.err)
    assert _states(failing) == ["open"] * 4


def test_letters_of_a_machine_that_nobody_knows(stray: Project) -> None:
    """A machine that there is not is no empty list: it is told, with the one that was meant."""
    for command in (["list"], ["list", "--grouped"], ["replay", "--yes"]):
        answer = stray.run("dead-letters", *command, "--machine", "tsk")
        assert answer.code == 4
        assert "no letters of a machine 'tsk'; did you mean 'task'?" in answer.err
    assert stray.done("dead-letters", "list", "--machine", "task").out == "no dead letters\n"
