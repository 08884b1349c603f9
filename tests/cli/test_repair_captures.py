"""What bulk repair and dead letters print at 80 and 120 columns: docs/captures has it, to be looked at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.center import Project, answered

CAPTURES = Path(__file__).parents[2] / "docs" / "captures"
COMMANDS = (
    ("list",),
    ("pause", "--state", "busy", "--dry-run"),
    ("pause", "--state", "bussy"),
    ("forget", "--state", "busy", "--yes"),
    ("cancel", "--state", "busy", "--yes", "--reason", "it was a test"),
    ("dead-letters", "list"),
    ("dead-letters", "list", "--grouped"),
    ("dead-letters", "show", "0/1"),
    ("dead-letters", "replay", "--because", "failed", "--dry-run"),
    ("dead-letters", "replay", "1"),
    ("dead-letters", "discard", "0/0", "--reason", "nobody wants it"),
    ("dead-letters", "discard", "0/0", "--reason", "nobody wants it"),
)


@pytest.mark.parametrize("columns", [80, 120])
def test_captures(project: Project, columns: int) -> None:
    """With the daemon down: what is shown, sent and refused fits the screen and reads as it is kept."""
    topics = '[topics.tasks]\nmachine = "task"\n[topics.calls]\nmachine = "=body.machine"\n'
    project.write("event-center.toml", topics)
    lines = [f'{{"workflow_id": "t-1", "event": "{event}"}}' for event in ("begin", "work", "end")]
    lines.append('{"workflow_id": "t-2", "event": "begin"}')
    project.done("publish", "calls", "--workflow-id", "t-9", "--event", "begin")
    project.done("run", "--until-idle")  # by itself, so that its letter comes first
    path = project.write("events.jsonl", "\n".join(lines))
    project.done("publish", "tasks", "--file", str(path))
    project.done("run", "--until-idle")
    printed = ""
    for command in COMMANDS:
        answer = answered(project.root / "event-center.toml", *command, columns=columns)
        quoted = (f'"{word}"' if " " in word else word for word in command)
        printed += f"$ event-center {' '.join(quoted)}\n{_even(answer.out + answer.err, project)}\n"
    assert (CAPTURES / f"repair-{columns}.txt").read_text(encoding="utf-8") == printed


def _even(out: str, project: Project) -> str:
    """The same text at any time, on any host and in any folder."""
    out = re.sub(r"(?<=\dT)[\d:]+", "05:00:00", re.sub(r"\d{4}-\d\d-\d\dT", "2026-11-23T", out))
    out = re.sub(r"(?<=:\d\d)\.\d{3}Z", ".000Z", out)
    out = re.sub(r"(?<=operation )\w{12}", "0123456789ab", out)
    out = out.replace(str(project.root), "/srv/tasks")
    return re.sub(r"\S+@\S+", "ann@host", out)
