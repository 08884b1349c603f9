"""Three years of a real help desk on the embedded log: whole, killed five times, and published twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from event_center.failpoint import Step
from event_center.model import Outgoing
from tests.crash.project import Project
from tests.scenarios.desk import (
    CLOSED,
    EVENTS,
    LATE,
    ROOT,
    TICKETS,
    counted_by_hand,
    lines,
    needs_data,
)

KILLS = {
    0.15: Step.CUT_BUILT,
    0.30: Step.LOG_BEGUN,
    0.45: Step.LOG_WRITTEN,
    0.60: Step.LOG_COMMITTED,
    0.75: Step.CUT_SETTLED,
}
"""When to kill, as a part of all events, and at which step."""

pytestmark = needs_data


def published(*, ids: bool = False) -> list[Outgoing]:
    """The records, as they are or with the number of their line as id."""
    records = []
    for number, line in enumerate(lines()):
        body = json.loads(line)
        value = json.dumps(body | {"id": str(number)}) if ids else line
        records.append(Outgoing("helpdesk", body["workflow_id"].encode(), value.encode()))
    return records


def states(project: Project) -> dict[str, str]:
    """The state of every ticket, read from the file."""
    rows = project.rows("SELECT key, value FROM entries WHERE substr(key, 1, 2) = x'733a'")
    return {key[2:].decode(): value.split(b"\t")[3].decode() for key, value in rows}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(
        tmp_path,
        {"helpdesk": 'machine = "helpdesk"'},
        machines=ROOT / "machines" / "helpdesk.yaml",
        partitions=1,
        cut_records=500,
    )
    made.starts = tmp_path / "helpdesk.jsonl"
    return made


def outcomes(totals: dict[str, int]) -> dict[str, int]:
    """Totals without the zeros."""
    return {name: count for name, count in totals.items() if count}


def test_every_ticket_comes_to_its_end(project: Project) -> None:
    """Every event has its outcome, every ticket its state, and the audit finds nothing."""
    project.publish(published())
    totals = project.run_until_idle()
    assert outcomes(totals) == {"read": EVENTS, "applied": EVENTS - LATE, "rejected": LATE}
    found = states(project)
    assert found == counted_by_hand()
    assert len(found) == TICKETS
    assert Counter(found.values())["closed"] == CLOSED
    assert project.violations() == []


def test_five_kills_change_nothing(project: Project) -> None:
    """Killed five times between 10 and 90 % of the way, with lag: the end is the same."""
    project.publish(published())
    for part, step in KILLS.items():
        project.run_until_killed("--step", step, "--read", str(int(EVENTS * part)))
        assert 0.1 * EVENTS < project.lag() < 0.9 * EVENTS
    totals = project.run_until_idle()
    assert outcomes(totals) == {"read": EVENTS, "applied": EVENTS - LATE, "rejected": LATE}
    assert states(project) == counted_by_hand()
    assert project.violations() == []


def test_published_twice(project: Project) -> None:
    """With ids, the second copy of every event is a duplicate, and nothing else changes."""
    project.publish(published(ids=True))
    project.publish(published(ids=True))
    totals = project.run_until_idle()
    assert outcomes(totals) == {
        "read": 2 * EVENTS,
        "applied": EVENTS - LATE,
        "rejected": LATE,
        "duplicate": EVENTS,
    }
    assert states(project) == counted_by_hand()
    assert project.violations() == []
