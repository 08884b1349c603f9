"""`run --processes`: one group on one machine, its work, its signals, its deaths and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.kafka.project import TIMEOUT_S, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with the order example, whose daemon tells all."""
    made = Project(tmp_path)
    text = made.settings.read_text().replace('level = "warning"', 'level = "info"')
    made.settings.write_text(text)
    yield made
    made.close()
    for pid in pids(made):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def told(project: Project, event: str) -> list[dict[str, object]]:
    """The lines of this event that the daemons have logged so far."""
    lines = (project.folder / "daemon.log").read_bytes().splitlines()
    return [
        line for one in lines if one[:1] == b"{" and (line := orjson.loads(one))["event"] == event
    ]


def pids(project: Project) -> list[int]:
    """All processes that a supervisor has started."""
    if not (project.folder / "daemon.log").exists():
        return []
    return [int(str(line["pid"])) for line in told(project, "supervisor.process_started")]


def alive(pid: int) -> bool:
    """Whether a process of this id runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(project: Project, event: str, count: int) -> None:
    """Wait for so many lines of an event."""
    end = time.monotonic() + TIMEOUT_S
    while len(told(project, event)) < count:
        assert time.monotonic() < end, (project.folder / "daemon.log").read_text()[-3_000:]
        time.sleep(0.05)


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
    wait_until(project, "shard.serving", 6)  # four of the first one, two move
    project.publish(0, 100)
    os.kill(pids(project)[1], signal.SIGKILL)
    project.publish(100, 200)
    project.until(lambda stats: stats["transitions"] == 400)
    wait_until(project, "supervisor.process_started", 3)
    (ended,) = told(project, "supervisor.process_ended")
    assert (ended["number"], ended["code"]) == (2, -9)
    assert {line["process"] for line in told(project, "shard.serving")} == {1, 2}
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(TIMEOUT_S) == 0
    assert not any(map(alive, pids(project)))
    assert len(told(project, "center.stopped")) >= 1


def test_a_supervisor_that_is_killed(project: Project) -> None:
    """Killed with -9, a supervisor leaves no process behind."""
    daemon = project.daemon("--processes", "2")
    wait_until(project, "shard.serving", 6)  # four of the first one, two move
    daemon.kill()
    wait_until(project, "run.supervisor_gone", 2)
    wait_until(project, "center.stopped", 2)
    end = time.monotonic() + TIMEOUT_S
    while any(map(alive, pids(project))):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_wrong_settings_are_told_once(project: Project) -> None:
    """What no other try can mend ends the command at once, with the code of wrong settings."""
    text = project.settings.read_text().replace('machine = "order"', 'machine = "ordre"')
    project.settings.write_text(text)
    done = subprocess.run(
        project.command("run", "--processes", "3"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("did you mean") == 1
    assert "process 1 ended with code 2" in done.stderr
