"""
The promises across the death of a process at every await of the engine and of its logs, by name.

On the log in memory the whole machine dies, three times where it can; on SQLite real processes kill
themselves, one after another.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from event_center.failpoint import Step
from event_center.testing.virtual_time import VirtualLoop
from tests.crash.awaits import TABLE, Watch, awaits_in
from tests.crash.machine_room import ADDS, WORKFLOWS, Day
from tests.crash.project import Project
from tests.crash.test_kill import finish
from tests.crash.workload import MACHINES, TOPICS, chunk, event

IN_MEMORY = [one.name for one in awaits_in("engine/*.py", "log/*.py", "log/memory/*.py")]
ON_SQLITE = [one.name for one in awaits_in("log/sqlite/*.py")]
DEADLY = (1, 7, 40)
"""The sightings of an await at which everything dies."""


async def _a_day(wanted: str) -> int:
    """A day with deaths at this await; returns how many there were."""
    async with Day() as day:
        watch = Watch([wanted], lambda: day.die() if watch.sightings in DEADLY else None)
        await day.live()
        for number in range(WORKFLOWS):
            data = day.world.snapshot(f"w{number}").data
            assert data == {"n": 4 * ADDS, "rings": 4}, f"w{number} after deaths at {wanted}"
        return day.deaths


@pytest.mark.parametrize("wanted", [name for name in IN_MEMORY if name not in TABLE])
def test_power_cuts_at_an_await(wanted: str) -> None:
    """P1 to P8 hold when everything dies while it waits here: each event counts once, all are decided."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        deaths = runner.run(_a_day(wanted))
    assert deaths, f"nothing waited at {wanted!r}: give Day a reason to, or TABLE a line on it"


def test_killed_at_every_await_of_sqlite(tmp_path: Path) -> None:
    """P1 to P8 hold when the daemon is killed once at each await of its log, one after another."""
    project = Project(tmp_path, TOPICS, machines=MACHINES)
    project.publish(chunk(project, 0, 1, parcels=12))
    project.run_until_killed("--step", Step.CUT_SETTLED, "--nth", "4")
    for wanted in ON_SQLITE:
        if wanted not in TABLE:
            project.publish([event("parcels", "parcel-3", "note")])
            project.run_until_killed("--await", wanted)
    finish(project)


def test_the_table_is_about_awaits_that_are_there() -> None:
    """A line of the table goes when its await goes."""
    assert TABLE.keys() - {*IN_MEMORY, *ON_SQLITE} == set()


def test_a_process_that_never_dies_has_a_quiet_day() -> None:
    """Without a death the day is the same: what the other tests see comes from the deaths."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(_a_day("nowhere")) == 0
