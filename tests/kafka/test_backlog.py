"""A daemon that finds a backlog at its start decides all of it, each event once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.backlog import project_in, publish
from tests.kafka.project import Project

EVENTS, WORKFLOWS = 30_000, 1_000


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose machine counts."""
    made = project_in(tmp_path)
    yield made
    made.close()


def test_everything_once(project: Project) -> None:
    """The lag is told before, and is none after; every workflow has counted its events."""
    asyncio.run(publish(project, EVENTS, WORKFLOWS))
    # What is published in one transaction has markers behind it, which have offsets of their own.
    assert EVENTS <= project.stats()["lag"] < EVENTS + 100
    done = project.told("run", "--until-idle")
    assert done["events"]["read"] == done["events"]["applied"] == EVENTS
    assert (done["lag"], done["redelivered"]) == (0, 0)
    assert project.told("show", "w7")["data"] == {"n": EVENTS // WORKFLOWS}
