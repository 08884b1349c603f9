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
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(
    os.environ.get("EVENT_CENTER_HELPDESK_LOG", ROOT.parent / "shared/data/helpdesk.jsonl.gz")
)
EVENTS, TICKETS, CLOSED, LATE = 21_348, 4_580, 4_559, 19
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"there is no {DATA}")


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
