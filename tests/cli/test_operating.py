"""Commands to many workflows: shown before, sent once, and told what became of each."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter

import pytest

from tests.cli.center import Project
from tests.forked import Forked
from tests.waiting import PATIENCE_S

ALL = ["--all", "--yes", "--no-wait"]


def _commands(project: Project) -> list[tuple[str, str]]:
    """Each decided command with its outcome."""
    project.done("run", "--until-idle")
    lines = [
        line
        for name in ("t-1", "t-2")
        for line in project.done("history", name, "--json").json
        if line["kind"] in {"command", "duplicate"}
    ]
    return [(line.get("command") or line["verb"], line["outcome"]) for line in lines]


def test_nothing_is_sent_before_a_yes(decided: Project) -> None:
    """The set is shown with what it has in common; without a yes nothing is sent."""
    answer = decided.run("pause", "--machine", "task", typed="n\n")
    assert answer.code == 1
    assert "That is every workflow there is." in answer.out
    assert "nothing was sent; --yes says yes beforehand" in answer.err
    assert decided.run("pause", "--machine", "task").code == 1
    assert decided.run("pause", "--all", "--json").code == 1
    shown = decided.done("pause", "--all", "--dry-run", "--json").json
    assert sorted(shown["workflows"]) == ["t-1", "t-2"]
    assert "nothing was sent" in decided.done("pause", "--state", "busy", "--dry-run").out
    assert decided.done("stats", "--json").json["lag"] == 0
    answer = decided.run("pause", "--state", "busy", "--wait", "24h", typed="y\n")
    assert answer.code == 5
    assert "pause: 1 not answered yet: no daemon runs" in answer.out
    assert _commands(decided) == [("pause", "applied")]


def test_what_became_of_each_is_told(decided: Project) -> None:
    """With a daemon, what was done and what was refused are counted; the exit code says partly."""
    with decided.daemon():
        answer = decided.run("pause", "--all", "--yes", "--reason", "look")
        assert answer.code == 5, answer
        assert "1 applied; 1 rejected (not_applicable, it is finished)" in answer.out
        answer = decided.run("pause", "--status", "final", "--yes", "--json")
        assert answer.code == 1
        assert answer.json["answers"][0]["detail"] == "it is finished"
        assert decided.done("resume", "--status", "paused", "--yes", "--json").json["answered"] == 1
    assert not list((decided.root / "state").rglob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["retry"], 2, "name the ID of a workflow"),
        (["retry", "t-1", "--all"], 2, "give one of these"),
        (["retry", "t-1", "t-2"], 2, "one word too many"),
        (["retry", "--status", "parked"], 4, "no workflow is like that; nothing was sent"),
        (["retry", "--error", "OSError"], 4, "no workflow is like that"),
        (["retry", "--machine", "tesk"], 4, "did you mean 'task'? nothing was sent"),
        (["retry", "--state", "bussy"], 4, "did you mean 'busy'? nothing was sent"),
        (
            ["list", "--machine", "tesk"],
            4,
            "no workflows of a machine 'tesk'; did you mean 'task'?",
        ),
        (["list", "--state", "bussy"], 4, "no workflows in a state 'bussy'; did you mean 'busy'?"),
        (["list", "--status", "prked"], 2, "did you mean 'parked'?"),
        (["send", "t-1", "wrok"], 2, "has no event 'wrok'; did you mean 'work'? nothing was sent"),
        (["retry", "--operation", "abc"], 2, "no operation abc was cut short here"),
        (["retry", "--operation", "../x"], 2, "is no operation"),
        (["forget", "--all"], 2, "forget needs --reason"),
        (["set-state", "--all", "--reason", "x"], 2, "name a STATE"),
    ],
)
def test_what_is_not_clear_is_not_done(
    decided: Project, arguments: list[str], code: int, told: str
) -> None:
    """A clear sentence and its exit code, and nothing is sent."""
    answer = decided.run(*arguments)
    assert answer.code == code
    assert told in answer.told
    assert decided.done("stats", "--json").json["lag"] == 0


def test_two_operators_at_once(decided: Project) -> None:
    """Of two who cancel the same workflows, one does it and the other one is told so."""
    for _ in range(2):
        decided.done("cancel", "--state", "busy", "--yes", "--no-wait")
    assert _commands(decided) == [("cancel", "applied"), ("cancel", "rejected")]


def test_many_are_put_into_a_state(decided: Project) -> None:
    """`set-state` takes the state alone where options say which workflows."""
    decided.done("set-state", "busy", "--state", "done", "--reason", "again", "--yes", "--no-wait")
    assert _commands(decided) == [("set-state", "applied")]
    assert decided.done("show", "t-2", "--json").json["state"] == "busy"


def test_ctrl_c_leaves_nothing_half_done(decided: Project) -> None:
    """Stopped in the middle, it says how to go on; then each workflow has the command once."""
    command = ["pause", "--all", "--yes", "--rate", "0.01"]
    answer = decided.interrupted(1, signal.SIGINT, *command)
    assert answer.code == 5, answer
    said = answer.err
    assert said.startswith("operation ")
    found = re.search(r"stopped: 1 of 2 were sent; .*`event-center pause --operation (\w+)`", said)
    assert found, said
    again = ["--operation", found[1]]
    assert "would go on" in decided.done("pause", *again, "--dry-run").out
    assert "no cancel; go on with" in decided.run("cancel", *again).err
    other = [*again, "--log", str(decided.root / "other.db")]
    decided.done("publish", "tasks", "--workflow-id", "t", "--event", "begin", *other[2:])
    assert "is for the log" in decided.run("pause", *other).err
    decided.done("pause", *again, "--no-wait")
    assert decided.run("pause", *again).code == 2
    told = Counter(_commands(decided))
    assert told == {("pause", "applied"): 1, ("pause", "rejected"): 1}


def test_ctrl_c_is_an_answer(decided: Project) -> None:
    """Whoever is asked and leaves has said no, at once: nothing is sent."""
    heard, told = os.pipe()
    stdin, typed = os.pipe()
    with os.fdopen(heard, "rb") as words, os.fdopen(typed, "wb"), os.fdopen(stdin, "rb") as reads:
        with os.fdopen(told, "wb") as stderr:
            process = Forked(["pause", "--all"], cwd=decided.root, stdin=reads, stderr=stderr)
        said = b""
        while b"[y/N]" not in said:
            said += words.read1()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 1
        assert b"nothing was sent" in words.read()
    assert _commands(decided) == []
