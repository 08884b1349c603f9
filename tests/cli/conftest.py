"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.center import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose log does not exist yet."""
    return Project(tmp_path)


@pytest.fixture
def decided(project: Project) -> Project:
    """A project in which one workflow is busy, one done, and one event was refused."""
    lines = [
        '{"workflow_id": "t-1", "event": "begin"}',
        '{"workflow_id": "t-2", "event": "begin"}',
        '{"workflow_id": "t-2", "event": "end"}',
        '{"workflow_id": "t-2", "event": "work"}',
    ]
    path = project.write("events.jsonl", "\n".join(lines))
    project.done("publish", "tasks", "--file", str(path))
    project.done("run", "--until-idle")
    return project
