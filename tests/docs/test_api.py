"""docs/api.md is what the code says, and the pages for operators have the words and figures of the code."""

from __future__ import annotations

import re

import pytest

import event_center
from event_center import testing
from event_center.model import Reason, Status
from scripts.api import PAGE, page
from tests.docs.project import ROOT

BENCHMARKS = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
TROUBLE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
INDEX = (ROOT / "docs/README.md").read_text(encoding="utf-8")
PARKED = {"failed", "crashed", "loop", "no_place", "cut_failed"}
"""Of a snapshot, `parked`."""
WELL = {Status.ACTIVE, Status.FINAL, Status.EXPECTED}


def test_the_page_is_that_of_the_code() -> None:
    """Every public name stands on the page, with the signature and the words that it has in the code."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run scripts/api"


def test_every_public_name_is_there() -> None:
    """The page has each name of both lists, and no other."""
    named = re.findall(r"^\*\*`(\w+)", page(), re.MULTILINE)
    assert sorted(named) == sorted([*event_center.__all__, *testing.__all__])


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ("80,000 a second", r"center over the backlog \| ([\d,]+) /s"),
        ("15 \N{MICRO SIGN}s of CPU each", r"CPU of the center per event \| ([\d.]+)"),
        ("37,000 a second", r"callback does not wait \| ([\d,]+) /s"),
        ("24,000 a second", r"callback waits 10 ms \| ([\d,]+) /s"),
        ("26,000 a second", r"callback waits 10 ms, 10,000 workflows \| ([\d,]+) /s"),
        ("4.1 ms, 13 ms", r"idle, p50 \| ([\d.]+) ms"),
        ("13 ms at", r"idle, p99 \| ([\d.]+) ms"),
        ("450 bytes", r"memory of an idle workflow \| ([\d.]+) bytes"),
        ("520 bytes", r"restore from SQLite .*\n.*memory of an idle workflow \| ([\d.]+) bytes"),
        ("320,000 workflows a second", r"takeover \| ([\d,]+) /s"),
    ],
)
def test_figures_are_those_of_the_benchmarks(said: str, row: str) -> None:
    """Each figure of the table of sizes is a measured one, rounded."""
    assert said in OPERATIONS
    measured = re.search(row, BENCHMARKS)
    assert measured is not None
    told, found = (float(one.replace(",", "")) for one in (said.split(maxsplit=1)[0], measured[1]))
    assert told == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize("word", sorted({*PARKED, *set(Status) - WELL}))
def test_every_way_to_stand_still_has_a_remedy(word: str) -> None:
    """Each reason of a parked workflow, and each status that needs somebody, is a row of the page."""
    assert f"`{word}`" in TROUBLE


@pytest.mark.parametrize("reason", [Reason.NOT_ACCEPTED, Reason.GUARD, Reason.UNKNOWN_EVENT])
def test_common_refusals_have_a_remedy(reason: Reason) -> None:
    """What newcomers meet first is explained."""
    assert f"`{reason}`" in TROUBLE


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to each page, so that none is found by chance only."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)", INDEX))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert linked >= pages
