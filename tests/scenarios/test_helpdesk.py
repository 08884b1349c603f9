"""
Three years of a real help desk: 21,348 events of 4,580 tickets, in the order in which they happened.

The events lie beside the project's folder, in `shared/data/helpdesk.jsonl.gz`, or where
EVENT_CENTER_HELPDESK_LOG says. They carry no ids, and every 20th ticket hears of something after its
end. What the tickets should come to is counted here by hand, with nothing of ours.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from event_center.failpoint import Step
from event_center.model import Outgoing
from tests.crash.project import Project

ROOT = Path(__file__).parents[2]
DATA = Path(
    os.environ.get("EVENT_CENTER_HELPDESK_LOG", ROOT.parent / "shared/data/helpdesk.jsonl.gz")
)
EVENTS, TICKETS, CLOSED, LATE = 21_348, 4_580, 4_559, 19
KILLS = {
    0.15: Step.CUT_BUILT,
    0.30: Step.LOG_BEGUN,
    0.45: Step.LOG_WRITTEN,
    0.60: Step.LOG_COMMITTED,
    0.75: Step.CUT_SETTLED,
}
"""When to kill, as a part of all events, and at which step."""

pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"there is no {DATA}")


@cache
def lines() -> list[str]:
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def counted_by_hand() -> dict[str, str]:
    """The last state of every ticket: each event names it, and what comes after the end is nothing."""
    leads_to = {
        "Insert ticket": "new",
        "Assign seriousness": "assigned",
        "Take in charge ticket": "in_progress",
        "Resolve SW anomaly": "in_progress",
        "Wait": "waiting",
        "Require upgrade": "upgrade",
        "Create SW anomaly": "anomaly",
        "Schedule intervention": "scheduled",
        "Closed": "closed",
    }
    states: dict[str, str] = {}
    for line in lines():
        event = json.loads(line)
        if states.get(event["workflow_id"]) != "closed":
            states[event["workflow_id"]] = leads_to.get(event["event"], "resolved")
    return states


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
