"""A disk that is full under a real daemon: it waits, says so, goes on by itself, and nothing is lost."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from event_center.app.health import Health, health_of
from event_center.log.sqlite import daemon_on
from tests.crash.project import Project
from tests.crash.workload import MACHINES, TOPICS, chunk, repairs
from tests.forked import Heard
from tests.waiting import wait_until

PARTS = 2
NONE = {"lag": 0}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path, TOPICS, machines=MACHINES)
    text = found.settings.read_text(encoding="utf-8")
    found.settings.write_text(text.replace('level = "error"', 'level = "warning"'), "utf-8")
    return found


@contextmanager
def full(project: Project, daemon: Heard) -> Iterator[None]:
    """No file of the daemon may grow: what is written behind the ends of its files fails."""
    wal = Path(f"{project.log}-wal")
    sizes = [path.stat().st_size for path in (project.log, wal)]
    before = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (min(sizes), before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, before)


def health(project: Project) -> Health:
    """How the daemon says that it is."""
    daemon = daemon_on(project.log)
    return health_of(daemon, NONE, 1, max_silence_s=60.0, max_lag=None)


def heard_s(project: Project) -> float:
    """When the daemon has last said how it is."""
    return float(daemon_on(project.log).said["monotonic_s"])


def test_a_full_disk_delays_and_loses_nothing(project: Project) -> None:
    """P1 to P8 hold; meanwhile the reason is in the log and in `health`, and not after."""
    project.publish(chunk(project, 0, PARTS))
    daemon = project.start("--lasting")
    try:
        wait_until(lambda: project.lag() == 0 and not health(project).reasons)
        with full(project, daemon):
            project.publish(chunk(project, 1, PARTS))
            wait_until(lambda: any("disk" in why for why in health(project).reasons))
            cuts, lag = project.cuts(), project.lag()
            assert lag > 0
            heard = heard_s(project)
            wait_until(lambda: heard_s(project) >= heard + 2)
            assert (project.cuts(), project.lag()) == (cuts, lag)
        wait_until(lambda: project.lag() == 0 and not health(project).reasons)
    finally:
        told = "".join(project.kill(daemon))
    assert "limit.reached" in told
    assert "disk" in told
    assert "limit.over" in told
    project.run_until_idle()
    project.publish(repairs(project))
    project.run_until_idle()
    assert project.violations() == []
    assert project.lag() == 0
