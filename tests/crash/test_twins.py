"""
Every protection once more without it: the audit must find out, and name the promise that it holds.

Where the trouble has to be made (a zombie, a log that repeats itself, a slow disk), the same trouble
with the protection on must do no harm.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from event_center.failpoint import Step
from event_center.model import Outgoing
from event_center.testing import Promise
from tests.crash.project import Project
from tests.crash.workload import MACHINES, TOPICS, chunk, event
from tests.waiting import PATIENCE_S, until_stopped

TALLIES = {"tallies": 'machine = "tally"'}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, TOPICS | TALLIES, machines=MACHINES)


def off(*twins: str) -> list[str]:
    """The arguments of a daemon with these twins."""
    return [word for twin in twins for word in ("--twin", twin)]


def tallies() -> list[Outgoing]:
    """Events without ids, all of which count."""
    return [event("tallies", f"tally-{n % 7}", "add") for n in range(100)]


def promises(project: Project) -> set[Promise]:
    """The promises that the audit finds broken."""
    return {violation.promise for violation in project.violations()}


@pytest.mark.parametrize(
    ("twin", "promise"),
    [
        ("torn", Promise.WHOLE_CUTS),
        ("unwaited", Promise.ONE_OUTCOME),
        ("unordered", Promise.ORDER),
    ],
)
def test_a_protection_switched_off(project: Project, twin: str, promise: Promise) -> None:
    """A torn cut breaks P5, waiting entries left out P1, letters overtaken P4: and nothing else."""
    project.publish(chunk(project, 0, 1))
    project.run_until_idle(*off(twin))
    assert promises(project) == {promise}


@pytest.mark.parametrize(("twins", "broken"), [((), set()), (("early",), {Promise.CALLBACKS})])
def test_a_slow_disk(project: Project, twins: tuple[str, ...], broken: set[Promise]) -> None:
    """However late a cut becomes durable, no run starts before it (P3); without the wait one does."""
    project.publish(chunk(project, 0, 1, parcels=8))
    project.run_until_idle(*off("late", *twins))
    assert promises(project) == broken


@pytest.mark.parametrize(("twins", "broken"), [((), set()), (("unseen",), {Promise.ONCE})])
def test_a_log_that_repeats_itself(
    project: Project, twins: tuple[str, ...], broken: set[Promise]
) -> None:
    """A record that is delivered twice counts once (P2), by what was read and seen before."""
    project.publish(tallies() if twins else [*tallies(), *chunk(project, 0, 1)])
    totals = project.run_until_idle(*off(*twins, "again"))
    assert promises(project) == broken
    assert totals["applied"] == 200 if twins else totals["applied"] >= 100


@pytest.mark.parametrize(("twins", "broken"), [((), set()), (("unfenced",), {Promise.NEVER_BACK})])
def test_a_stalled_owner_that_writes_late(
    tmp_path: Path, twins: tuple[str, ...], broken: set[Promise]
) -> None:
    """A daemon that slept while another took over writes nothing more (P6), because it is fenced."""
    # One shard: nothing else of the daemon holds the file's lock while it sleeps before its cut.
    project = Project(tmp_path, TALLIES, machines=MACHINES, partitions=1)
    project.publish(tallies())
    stalled = project.start("--step", Step.CUT_BUILT, "--halt", *off(*twins))
    until_stopped(stalled.pid)
    project.publish(tallies())
    project.run_until_idle(*off("second"))
    os.kill(stalled.pid, signal.SIGCONT)
    said, told = stalled.communicate(timeout=PATIENCE_S)
    # What an owner without a fence has written may be more than a takeover can read.
    assert stalled.returncode == 0 or twins, said + told
    assert promises(project) == broken
