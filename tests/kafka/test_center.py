"""The order example on a broker: every command, a second run, and daemons that share and take over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.project import ROOT, Project
from tests.waiting import PATIENCE_S


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project with the order example."""
    made = Project(tmp_path)
    yield made
    made.close()


def test_the_order_example(project: Project) -> None:
    """What is published is decided once, also if the daemon runs again; every command answers."""
    events = ROOT / "machines" / "events" / "order.jsonl"
    project.told("publish", "orders", "--file", str(events))
    first = project.told("run", "--until-idle")
    assert first["events"]["read"] == len(events.read_text().splitlines())
    assert first["events"]["applied"] > 0
    assert first["events"]["waiting"] == first["lag"] == 0
    assert project.told("run", "--until-idle")["events"] == first["events"]
    assert project.told("stats")["events"] == first["events"]
    assert project.told("show", "order-1001")["state"] == "completed"


def test_a_daemon_that_is_killed(project: Project) -> None:
    """Two daemons share the shards; one is killed, the other does its work, and nothing is lost."""
    project.publish(0, 40)
    killed = project.daemon()
    project.until(lambda stats: stats["events"]["applied"] == 40)
    other = project.daemon()
    project.publish(40, 400)
    killed.kill()
    project.publish(400, 500)
    stats = project.until(lambda stats: stats["events"]["read"] == 500 and not stats["lag"])
    assert stats["events"]["applied"] == 500
    stats = project.until(lambda stats: stats["transitions"] == 1_000)
    assert stats["workflows"]["by_state"]["order"] == {"completed": 500}
    assert stats["redelivered"] == 0
    other.terminate()
    assert other.wait(PATIENCE_S) == 0
