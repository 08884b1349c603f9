"""The machines of machines/showcase: their own tests hold, and their events end where they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from event_center import load, with_callbacks
from event_center.machine.coverage import branches_of, covered_by_tests
from event_center.machine.trial import failures
from tests.cli.center import Project

SHOWCASE = Path(__file__).parents[1] / "machines/showcase"
FILES = sorted(SHOWCASE.glob("*.yaml"))
ENDS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "migration": {
        "vm-1": ("migrated", {"host": "b"}),
        "vm-2": ("ready", {"host": "a", "refused": "host 'full' has no room"}),
        "vm-3": (
            "failed",
            {"host": "a", "wanted": "far", "reason": "the line to host 'far' is cut"},
        ),
        "vm-4": ("migrated", {"host": "c", "refused": None}),
    },
    "payment": {
        "p-1": ("paid", {"paid": 10}),
        "p-2": ("expired", {"paid": 0}),
        "p-3": ("withdrawn", {}),
    },
    "fulfilment": {
        "f-1": ("done", {"parcel": "P-1"}),
        "f-2": ("settled|picked", {"parcel": None}),
        "f-3": ("cancelled", {}),
    },
    "device": {
        "d-1": ("fast", {"faults": 1}),
        "d-2": ("broken", {"faults": 1}),
        "d-3": ("scrapped", {}),
    },
}


def test_each_is_here() -> None:
    """Each machine of the folder has ends to be compared with."""
    assert {path.stem for path in FILES} == ENDS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_own_tests_hold(path: Path) -> None:
    """A machine's plugin is whole, and its tests come out, and take each of its branches."""
    bound = with_callbacks(load(path))
    assert bound.warnings == ()
    assert failures(bound.machine) == []
    taken = covered_by_tests(bound.machine)
    known = branches_of(bound.machine.definition)
    assert [one for one in known if not taken[one.place]] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_events_end_where_they_should(path: Path, tmp_path: Path) -> None:
    """A center decides its sample events with its real callbacks, and ends in these states."""
    name, project = path.stem, Project(tmp_path)
    project.write(
        "event-center.toml", f'machines = ["{path}"]\n[topics.events]\nmachine = "{name}"\n'
    )
    project.done("publish", "events", "--file", str(SHOWCASE / f"events/{name}.jsonl"))
    project.done("run", "--until-idle")
    for workflow_id, (state, data) in ENDS[name].items():
        shown = project.done("show", workflow_id, "--json").json
        assert (workflow_id, shown["state"]) == (workflow_id, state)
        assert {key: shown["data"][key] for key in data} == data
