"""No broker at the start: it is waited for with a clear message, and then given up with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.broker import Cluster
from scripts.broker.plan import free_ports
from tests.kafka.broker import bootstrap
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S, wait_until

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose cluster is not there."""
    return Project(tmp_path, NOWHERE)


def test_the_daemon_gives_up(project: Project) -> None:
    """It says that it waits, and ends with the code of a log that is unavailable."""
    ended = project.run("run", "--wait", "1s")
    assert ended.returncode == 3
    assert "log.waiting" in ended.stderr
    assert f"nobody can be reached at {NOWHERE}" in ended.stderr
    assert "waited 1 s for it" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_command_that_looks_gives_up_soon(project: Project) -> None:
    """Who sits before the terminal waits three seconds, whatever the settings say."""
    ended = project.run("stats", "--json")
    assert ended.returncode == 3
    assert "waited 3 s for it" in ended.stderr
    assert ended.stdout == ""


def test_a_wait_that_is_none(project: Project) -> None:
    """What is no duration is told as a problem of the flag."""
    ended = project.run("run", "--wait", "soon")
    assert ended.returncode == 2
    assert "flag: log.kafka.start_wait: 'soon' is not a duration" in ended.stderr


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Cluster]:
    """A broker that is not started yet, and where it will be."""
    bootstrap()
    made = Cluster(tmp_path / "late", port=free_ports().plain)
    yield made
    made.remove()


def test_a_broker_that_comes_late(tmp_path: Path, late: Cluster) -> None:
    """A daemon that waits begins by itself once the broker is there."""
    project = Project(tmp_path, late.plain)
    daemon = project.daemon()
    try:
        log = tmp_path / "daemon.log"
        wait_until(lambda: "log.waiting" in log.read_text() or daemon.poll() is not None)
        assert daemon.poll() is None, log.read_text()
        late.start()
        project.publish(0, 5)
        project.until(lambda stats: stats["events"]["applied"] == 5)
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 0
    finally:
        project.close()
