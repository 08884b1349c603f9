"""Callbacks that end their process each time, in real processes: parked in the end, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center.engine.attempt import CRASHED
from event_center.model import Snapshot
from event_center.wire import snapshot as wire
from tests.crash.project import Project
from tests.crash.twins import FEW
from tests.crash.workload import MACHINES, event
from tests.waiting import PATIENCE_S, wait_until

TOPICS = {"things": 'machine = "deadly"'}
CALLED = {
    "leave": "leave",
    "hoard": "hoard",
    "block": "block",
    "invoke": "leave_beside",
    "look": "leave_first",
}
"""The events that lead to death, and what is called for them."""
OTHERS = ("before", "after")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, TOPICS, machines=MACHINES, partitions=1)


def publish(project: Project, death: str) -> None:
    """One workflow that ends its process, between others that have their work as well."""
    before, after = OTHERS
    work = [event("things", before, "work"), event("things", after, "work")]
    ticks = [event("things", name, "tick") for name in (*OTHERS, "bad")]
    project.publish([work[0], event("things", "bad", death), work[1], *ticks])


def live(project: Project, death: str, *arguments: str) -> None:
    """One life of a daemon, which ends when the callback has run."""
    before = calls(project)
    daemon = project.start(*arguments)
    if death == "block":
        wait_until(lambda: calls(project) > before)
        project.kill(daemon)
    else:
        _, told = daemon.communicate(timeout=PATIENCE_S)
        assert calls(project) == before + 1, told
    assert daemon.returncode != 0
    assert calls(project) == before + 1


def calls(project: Project) -> int:
    """How often the callback of the workflow was started that ends its process."""
    return sum(one.workflow_id == "bad" for one in project.started())


def workflow(project: Project, workflow_id: str) -> Snapshot:
    """A workflow as it is durable."""
    entries = {key: value for cut in project.evidence().cuts for key, value in cut.entries}
    value = entries[f"s:{workflow_id}".encode()]
    assert value is not None
    return wire.decode(workflow_id, value)


@pytest.mark.parametrize("death", CALLED)
def test_a_callback_that_ends_its_process(project: Project, death: str) -> None:
    """P8: the tenth takeover parks its workflow (crashed), and the others of its shard are done."""
    most, twin = (CRASHED, ()) if death == "leave" else (FEW, ("--twin", "impatient"))
    publish(project, death)
    for _ in range(most):
        live(project, death, *twin)
    project.run_until_idle(*twin)
    assert calls(project) == most
    assert {one.name for one in project.started()} == {CALLED[death], "work"}
    bad = workflow(project, "bad")
    assert bad.parked == "crashed"
    assert bad.waiting == (2 if death == "look" else death != "invoke")
    for name in OTHERS:
        other = workflow(project, name)
        assert (other.state, other.data["ticks"]) == ("over", 1)
    assert project.lag() == 0
    assert project.violations() == []


def test_without_the_count_it_ends_every_process(project: Project) -> None:
    """The twin: nobody counts, so the process that comes after the last one ends as well."""
    publish(project, "leave")
    for _ in range(FEW + 1):
        live(project, "leave", "--twin", "impatient", "--twin", "uncounted")
    assert workflow(project, "bad").parked is None
