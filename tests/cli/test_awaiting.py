"""`wait` and `publish --wait`: request and reply over events."""

from __future__ import annotations

import os
import re
import signal

import pytest

from event_center import Publisher, SyncPublisher, UnknownState
from tests.cli.center import Project
from tests.forked import Heard
from tests.waiting import until_handled, wait_until


def test_wait_says_where_it_is(decided: Project) -> None:
    """Reached at once, not in time, ended elsewhere, and a question that is not clear."""
    assert decided.done("wait", "t-2", "--final").out == "t-2 is in done; it ended as success\n"
    told = decided.done("wait", "t-1", "--state", "busy", "--json").json
    assert (told["state"], told["result"]) == ("busy", None)
    answer = decided.run("wait", "t-1", "--final", "--timeout", "10ms")
    assert answer.code == 5
    assert "'t-1' has not ended within 0.01 s: it is in busy, active" in answer.err
    answer = decided.run("wait", "t-9", "--final", "--timeout", "10ms")
    assert answer.code == 5
    assert "there is no such workflow yet; `event-center health`" in answer.err
    answer = decided.run("wait", "t-2", "--state", "busy", "--timeout", "10ms")
    assert answer.code == 1
    assert "has ended in done as success, and is not in busy" in answer.err
    assert decided.run("wait", "t-1").code == 2
    for workflow_id, whose in (("t-9", "no machine has a"), ("t-1", "machine task has no")):
        answer = decided.run("wait", workflow_id, "--state", "bussy")
        assert answer.code == 4
        assert f"error: {whose} state 'bussy'; did you mean 'busy'?" in answer.err


def test_publish_waits_for_what_becomes_of_it(project: Project) -> None:
    """Without a daemon it says so; with one, applied and refused are told, with exit codes."""
    event = ["tasks", "--workflow-id", "t-1", "--event"]
    answer = project.run("publish", *event, "begin", "--wait", "10ms")
    assert answer.code == 5
    assert "nobody has decided it within 0.01 s; it is in the log, and will be" in answer.out
    with project.daemon():
        answer = project.run("publish", *event, "begin", "--wait", "1m")
        assert answer.code == 1
        assert re.search(r"rejected \(not_accepted, state busy accepts: .*end", answer.out)
        told = project.done("publish", *event, "end", "--wait", "1m", "--json").json
        assert (told["outcome"], told["state"]) == ("applied", "done")
    assert project.run("publish", "tasks", "--file", "-", "--wait", "1s").code == 2


NESTED = """
machine: task
version: 1
initial: new
states:
  new: {on: {begin: under_way}}
  under_way: {initial: busy, states: {busy: {on: {end: done}}}}
  done: {type: final, result: success}
"""


def test_a_state_around_others(project: Project) -> None:
    """It is waited for, listed and asked for like any other, on the command line and in a program."""
    project.write("machines/task.yaml", NESTED)
    (project.root / "machines/task.py").unlink()
    project.done("publish", "tasks", "--workflow-id", "t-1", "--event", "begin")
    project.done("run", "--until-idle")
    assert project.done("wait", "t-1", "--state", "under_way").out == "t-1 is in busy\n"
    [listed] = project.done("list", "--state", "under_way", "--json").json
    assert listed["workflow_id"] == "t-1"
    assert "would pause t-1" in project.done("pause", "--state", "under_way", "--dry-run").out
    with SyncPublisher.open(project.root / "event-center.toml") as publisher:
        assert publisher.wait_for("t-1", state="under_way").state == "busy"
        with pytest.raises(UnknownState, match="did you mean 'under_way'"):
            publisher.wait_for("t-1", state="underway")


async def test_a_program_waits(decided: Project) -> None:
    """`Publisher.wait_for` returns when the workflow has ended, with its data."""
    async with Publisher.open(decided.root / "event-center.toml") as publisher:
        assert (await publisher.wait_for("t-2")).result == "success"
        with pytest.raises(TimeoutError):
            await publisher.wait_for("t-1", timeout_s=0.01)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cancel", "t-1"], "cancel t-1: sent, but no daemon has answered within "),
        (
            ["publish", "tasks", "--workflow-id", "t-1", "--event", "end"],
            "nobody has decided it within ",
        ),
    ],
)
def test_who_does_not_wait_any_longer_is_told_what_was_sent(
    decided: Project, arguments: list[str], said: str
) -> None:
    """Ctrl-C ends the waiting for an answer, not the command: it is in the log, and that is said."""
    with decided.daemon() as daemon:
        os.kill(daemon.pid, signal.SIGSTOP)
        command = [*arguments, "--wait", "1h"]
        before = decided.done("stats", "--json").json["lag"]
        process = Heard(command, cwd=decided.root, env=decided.environment)
        wait_until(lambda: decided.done("stats", "--json").json["lag"] > before)
        until_handled(process.pid, signal.SIGTERM)  # which it has as long as it waits
        process.send_signal(signal.SIGINT)
        done = process.done()
        os.kill(daemon.pid, signal.SIGCONT)
    assert (done.returncode, said in done.stdout) == (5, True), done
    assert "in the log" in done.stdout
