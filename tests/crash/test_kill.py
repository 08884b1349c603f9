"""The promises across kill -9: at every numbered step of a takeover, a cut and a run, and anywhere."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from event_center.failpoint import Step
from tests.crash.project import Project
from tests.crash.workload import MACHINES, TOPICS, chunk, repairs
from tests.waiting import wait_until

ENGINE = Path(__file__).parents[2] / "event_center" / "engine"
PARTS = 3
KILLS = 6


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, TOPICS, machines=MACHINES)


def nth(step: Step, part: int) -> int:
    """When to die: a takeover has each of its steps twice, one for each shard."""
    return 1 + part % 2 if step.startswith("takeover") else (2, 5, 11)[part]


def finish(project: Project) -> None:
    """Let everything come to its end, repairs included, and audit it."""
    project.run_until_idle()
    project.publish(repairs(project))
    project.run_until_idle()
    assert project.lag() == 0
    assert project.violations() == []


@pytest.mark.parametrize("step", Step)
def test_killed_at_a_step(project: Project, step: Step) -> None:
    """P1 to P8 hold when the daemon dies three times at this step, with events still to be read."""
    for part in range(PARTS):
        project.publish(chunk(project, part, PARTS))
        project.run_until_killed("--step", step, "--nth", str(nth(step, part)))
    finish(project)


def test_killed_anywhere(project: Project) -> None:
    """P1 to P8 hold when the daemon is killed from outside at random moments, with lag."""
    chance = random.Random(1)
    behind = 0
    for part in range(KILLS):
        project.publish(chunk(project, part, KILLS, parcels=KILLS * 150))
        behind += kill_at_work(project, chance.randrange(100)) > 0
    assert behind >= 2
    finish(project)


def kill_at_work(project: Project, calls: int) -> int:
    """Kill a daemon after its first cut and so many more callbacks; returns the lag that it leaves."""
    cuts, before = project.cuts(), project.begun()
    daemon = project.start()
    wait_until(lambda: project.cuts() > cuts, closely=True)
    wait_until(lambda: project.begun() >= before + calls or project.lag() == 0, closely=True)
    project.kill(daemon)
    return project.lag()


def test_every_numbered_step_can_be_killed_at() -> None:
    """The docstrings of the engine number the steps that `Step` has, no more and no fewer."""
    steps = {tuple(step.split(".")) for step in Step}
    told = {
        (name, *found)
        for name, module in (("takeover", "takeover"), ("cut", "ledger"), ("run", "run"))
        for found in re.findall(
            r"\b([1-9])\. (\w+(?: in)?)",
            (ENGINE / f"{module}.py").read_text("utf-8").split('"""')[1],
        )
    }
    assert {(name, number, word.replace(" ", "_")) for name, number, word in told} == steps


def test_the_workload_has_everything(project: Project) -> None:
    """The kills happen amid retries, timers, letters, deferred events, commands and refusals."""
    for part in range(PARTS):
        project.publish(chunk(project, part, PARTS))
        project.run_until_idle()
    project.publish(repairs(project))
    project.run_until_idle()
    bodies = [
        json.loads(record.value or b"")
        for (topic, _), records in project.evidence().records.items()
        if topic == "crash.history"
        for record in records
    ]
    kinds = {body["type"].removeprefix("event_center.") for body in bodies}
    said = {body["data"].get("outcome") for body in bodies}
    why = {body["data"].get("reason") for body in bodies}
    verbs = {body["data"].get("command") for body in bodies}
    origins = {str(body["data"].get("origin")).partition("/")[0] for body in bodies}
    assert kinds >= {"created", "applied", "timer", "run", "command", "removed"}
    assert kinds >= {"duplicate", "forwarded"}
    assert said >= {"done", "failed", "given_up", "dropped", "rejected", "dead_lettered"}
    assert why >= {"unknown_event", "finished", "failed", "behind_letter", "undecodable"}
    assert verbs >= {
        "pause",
        "resume",
        "skip",
        "cancel",
        "set-state",
        "replay",
        "discard",
        "forget",
    }
    assert origins >= {"timer", "run", "error", "letter", "command"}
    kept = [value or b"" for cut in project.evidence().cuts for _, value in cut.entries]
    assert any(b'"deferred":true' in value for value in kept)
