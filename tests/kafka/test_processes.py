"""`run --processes`: one group on one machine, its work, its signals, its deaths and its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.project import Project, alive
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with the order example."""
    made = Project(tmp_path)
    yield made
    made.close()


def test_until_all_are_idle(project: Project) -> None:
    """Two processes share the shards, end by themselves once all is decided, and sum up."""
    project.publish(0, 400)
    done = project.told("run", "--until-idle", "--processes", "2")
    assert done["events"]["read"] == done["events"]["applied"] == 400
    assert done["transitions"] == 800
    assert done["lag"] == done["events"]["waiting"] == done["redelivered"] == 0
    assert done["workflows"]["by_state"]["order"] == {"completed": 400}


def test_a_process_that_dies_is_started_again(project: Project) -> None:
    """Killed with -9, a process comes back; one SIGTERM ends all of them, and nothing is lost."""
    daemon = project.daemon("--processes", "2")
    project.wait_for("shard.serving", 6)  # four of the first one, two move
    project.publish(0, 100)
    os.kill(project.children()[1], signal.SIGKILL)
    project.publish(100, 200)
    project.until(lambda stats: stats["transitions"] == 400)
    project.wait_for("supervisor.process_started", 3)
    (ended,) = project.logged("supervisor.process_ended")
    assert (ended["number"], ended["code"]) == (2, -9)
    assert {line["process"] for line in project.logged("shard.serving")} == {1, 2}
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE_S) == 0
    assert not any(map(alive, project.children()))
    assert len(project.logged("center.stopped")) >= 1


def test_a_supervisor_that_is_killed(project: Project) -> None:
    """Killed with -9, a supervisor leaves no process behind."""
    daemon = project.daemon("--processes", "2")
    project.wait_for("shard.serving", 6)  # four of the first one, two move
    daemon.kill()
    project.wait_for("run.supervisor_gone", 2)
    project.wait_for("center.stopped", 2)
    wait_until(lambda: not any(map(alive, project.children())))


def test_wrong_settings_are_told_once(project: Project) -> None:
    """What no other try can mend ends the command at once, with the code of wrong settings."""
    text = project.settings.read_text().replace('machine = "order"', 'machine = "ordre"')
    project.settings.write_text(text)
    done = project.run("run", "--processes", "3")
    assert done.returncode == 2
    assert done.stderr.count("did you mean") == 1
    assert "process 1 ended with code 2" in done.stderr
