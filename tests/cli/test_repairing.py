"""Commands to a workflow, and dead letters: answered by a daemon, or kept until one runs."""

from __future__ import annotations

import pytest

from tests.cli.center import MACHINE, Project

WHY = ["--reason", "nobody wants it"]
BEGIN = ["tasks", "--workflow-id", "t-1", "--event", "begin"]


def test_without_a_daemon(decided: Project) -> None:
    """A command nobody can answer says so at once and stays in the log: the next daemon decides it."""
    answer = decided.run("pause", "t-1", "--wait", "24h", "--reason", "look")
    assert answer.code == 5
    assert "pause t-1: sent, but no daemon runs; what is in the log" in answer.out
    assert decided.done("pause", "t-1", "--no-wait").out == "pause t-1: sent\n"
    decided.done("run", "--until-idle")
    assert decided.done("show", "t-1", "--json").json["status"] == "paused"
    told = [x for x in decided.done("history", "t-1", "--json").json if x["kind"] == "command"]
    assert [line["outcome"] for line in told] == ["applied", "rejected"]
    assert told[0]["why"] == "look"


@pytest.mark.parametrize("command", ["pause", "resume", "retry", "skip", "cancel"])
def test_a_dry_run_sends_nothing(decided: Project, command: str) -> None:
    """A dry run says what it would do to which workflow, and sends nothing."""
    out = decided.done(command, "t-1", "--dry-run").out
    assert f"would {command} workflow t-1 (task, in state busy, active)" in out
    told = decided.done(command, "t-1", "--dry-run", "--json").json
    assert (told["dry_run"], told["state"]) == (True, "busy")
    assert decided.done("stats", "--json").json["lag"] == 0


def test_with_a_daemon(decided: Project) -> None:
    """The daemon's answer is printed: done, or refused with the reason and exit code 1."""
    with decided.daemon():
        answer = decided.done("pause", "t-1")
        assert answer.out == "pause t-1: applied; it is in state busy, paused\n"
        answer = decided.run("pause", "t-1")
        assert answer.code == 1
        assert "not_applicable, it is paused already" in answer.out
        assert decided.done("resume", "t-1", "--json").json["outcome"] == "applied"
        assert decided.run("retry", "t-1").code == 1
        told = decided.done("cancel", "t-1", "--json").json
        assert (told["answered"], told["status"]) == (True, "final")
    assert decided.done("show", "t-1", "--json").json["result"] == "cancelled"


def test_what_can_not_be_decided_is_skipped(project: Project) -> None:
    """`skip` discards the event that parks its workflow, and what waited behind it is decided."""
    project.write(
        "machines/task.yaml", MACHINE.replace("on_failure: dead_letter", "on_failure: park")
    )
    for event in ("begin", "work", "end"):
        project.done("publish", "tasks", "--workflow-id", "t-1", "--event", event)
    project.done("run", "--until-idle")
    with project.daemon():
        assert "applied" in project.done("skip", "t-1", "--reason", "the disk is lost").out
    shown = project.done("show", "t-1", "--json").json
    assert (shown["state"], shown["result"]) == ("done", "success")
    outcomes = [line.get("outcome") for line in project.done("history", "t-1", "--json").json]
    assert "discarded" in outcomes


def test_a_workflow_is_put_into_a_state(decided: Project) -> None:
    """`set-state` needs a reason and a state that there is; the entry of the state runs again."""
    assert decided.run("set-state", "t-2", "busy").code == 2
    why = ["--reason", "it was not done"]
    assert "set-state needs --reason" in decided.run("set-state", "t-2", "busy").err
    assert "would set-state" in decided.done("set-state", "t-2", "busy", "--dry-run").out
    for options in ([], ["--dry-run"], why):
        wrong = decided.run("set-state", "t-2", "bussy", *options)
        assert (wrong.code, wrong.out) == (2, "")
        assert "has no state 'bussy' to be put into; did you mean 'busy'? nothing was" in wrong.err
    assert decided.run("set-state", "t-22", "busy").code == 4
    with decided.daemon():
        done = decided.done("set-state", "t-2", "busy", *why, "--json").json
        assert (done["outcome"], done["state"]) == ("applied", "busy")
    shown = decided.done("show", "t-2", "--json").json
    assert (shown["state"], shown["result"]) == ("busy", None)


def _failing(project: Project) -> None:
    """One workflow with three letters: one that failed, and two behind it."""
    project.done("publish", *BEGIN)
    for event in ("work", "work", "end"):
        project.done("publish", "tasks", "--workflow-id", "t-1", "--event", event)
    project.done("run", "--until-idle")


def test_letters_are_listed(project: Project) -> None:
    """Letters are listed with reason and place; one is shown with its bytes."""
    project.done("publish", *BEGIN)
    assert project.done("dead-letters", "list").out == "no dead letters\n"
    _failing(project)
    rows = project.done("dead-letters", "list", "--json").json
    assert [(row["event"], row["reason"], row["number"], row["open"]) for row in rows] == [
        ("work", "failed", 0, True),
        ("work", "behind_letter", 1, True),
        ("end", "behind_letter", 2, True),
    ]
    out = project.done("dead-letters", "list", "--workflow-id", "t-1", "--limit", "1").out
    assert "behind_letter" in out
    assert " failed " not in out
    place = rows[0]["letter"]
    shown = project.done("dead-letters", "show", place, "--json").json
    assert '"event":"work"' in shown["value"]
    assert "\x1b" not in project.done("dead-letters", "show", place).out
    assert project.run("dead-letters", "show", "1/99").code == 4
    assert project.run("dead-letters", "show", "first").code == 2


def test_a_sequence_is_replayed_in_order(project: Project) -> None:
    """Letters of a sequence are replayed or discarded by the daemon, the first one first."""
    _failing(project)
    places = [row["letter"] for row in project.done("dead-letters", "list", "--json").json]
    assert project.run("dead-letters", "replay", places[0], "--dry-run").code == 0
    assert project.run("dead-letters", "discard", places[0], *WHY, "--dry-run", "--json").code == 0
    project.write("machines/mended", "")
    with project.daemon():
        answer = project.run("dead-letters", "replay", places[1])
        assert answer.code == 1
        assert "letter 0 comes first" in answer.out
        assert (
            "letter 0 is closed, 2 still open"
            in project.done("dead-letters", "replay", places[0]).out
        )
        assert "applied" in project.done("dead-letters", "discard", places[1], *WHY).out
        project.done("dead-letters", "replay", places[2])
    assert project.done("show", "t-1", "--json").json["state"] == "done"
    rows = project.done("dead-letters", "list", "--json").json
    assert [row["open"] for row in rows] == [False, False, False]


def test_a_stray_letter_is_published_again(project: Project) -> None:
    """A letter that no workflow owns goes to its topic again, once the settings can read it."""
    project.write("event-center.toml", '[topics.tasks]\nmachine = "=body.machine"\n')
    project.done("publish", *BEGIN)
    project.done("run", "--until-idle")
    (row,) = project.done("dead-letters", "list", "--json").json
    assert row["open"] is None
    assert project.run("dead-letters", "discard", row["letter"]).code == 2
    project.write("event-center.toml", '[topics.tasks]\nmachine = "task"\n')
    assert (
        "publish it to tasks again"
        in project.done("dead-letters", "replay", row["letter"], "--dry-run").out
    )
    project.done("dead-letters", "replay", row["letter"])
    answer = project.run("dead-letters", "replay", row["letter"])
    assert answer.code == 1
    assert "is replayed already by" in answer.err
    project.done("run", "--until-idle")
    assert project.done("show", "t-1", "--json").json["state"] == "busy"
