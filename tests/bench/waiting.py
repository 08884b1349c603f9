"""
Case `waiting`: callbacks that suspend, and events that wait behind them, on the log in SQLite.

The first half: every event's entry callback waits 10 ms, over 10,000 workflows and with the default
limits, beside the same callback without the wait; by the clock on the wall. The second half: one
workflow whose first callback holds until all its events wait behind it, 10,000 of them beside 1,000;
by CPU per event, which must not grow with their number.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from event_center.engine.member import Member
from event_center.log.sqlite import SqliteLog, open_sqlite
from event_center.plugins.context import Context
from tests.bench.measure import Meter, Reading, in_turns
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import (
    Size,
    Work,
    backlog,
    check_applied,
    clock,
    make_topics,
    member_on,
    plan,
    totals,
)

EVENTS = 50_000
WORKFLOWS = 10_000
WAIT_S = 0.01
DEEP = 10_000
"""Waiting events of the one workflow: as many as the default limit lets wait."""
SHALLOW = DEEP // 10
LOOK_S = 0.005
TAKE_IN_S = 25.0
"""How long taking in may last: below the 30 s after which the holding callback would time out."""
BESIDE_NO_WAIT = Target(limit=0.6)
DEEP_BESIDE_SHALLOW = Target(limit=1.5, at_least=False)


def run(size: Size) -> list[Row]:
    """Measure both halves."""
    return [*_suspended(size), *_behind_one_another(size)]


def _suspended(size: Size) -> list[Row]:
    events = size.or_else(EVENTS)
    sides = {
        "waits": partial(_spread, events, _waits),
        "goes on": partial(_spread, events, _goes_on),
    }
    found = in_turns(sides, size.rounds)
    rows = [
        one_side(
            "waiting",
            what,
            found[side],
            value=lambda reading: reading.per_s,
            unit="/s",
        )
        for side, what in (("goes on", "callback does not wait"), ("waits", "callback waits 10 ms"))
    ]
    ratio = two_sides(
        "waiting",
        "with the wait / without",
        (found["waits"], found["goes on"]),
        value=lambda reading: reading.per_s,
        compare=lambda waits, goes_on: waits / goes_on,
        unit="x",
        target=BESIDE_NO_WAIT,
    )
    return [*rows, ratio]


def _behind_one_another(size: Size) -> list[Row]:
    deep = min(size.or_else(DEEP), DEEP)
    shallow = max(1, deep * SHALLOW // DEEP)
    sides = {"deep": partial(_piled_up, deep), "shallow": partial(_piled_up, shallow)}
    found = in_turns(sides, size.rounds)
    rows = [
        one_side(
            "waiting",
            f"{count:,} events of one workflow, CPU each",
            found[side],
            value=lambda reading: reading.cpu_us,
            unit="us",
            higher=False,
        )
        for side, count in (("shallow", shallow), ("deep", deep))
    ]
    ratio = two_sides(
        "waiting",
        f"cost of {deep:,} / of {shallow:,}",
        (found["deep"], found["shallow"]),
        value=lambda reading: reading.cpu_us,
        compare=lambda one, other: one / other,
        unit="x",
        higher=False,
        target=DEEP_BESIDE_SHALLOW,
    )
    return [*rows, ratio]


async def _waits(ctx: Context) -> None:
    await asyncio.sleep(WAIT_S)


async def _goes_on(ctx: Context) -> None:
    """An entry callback that does not suspend."""


@asynccontextmanager
async def _opened() -> AsyncIterator[SqliteLog]:
    with tempfile.TemporaryDirectory() as folder:
        log = await open_sqlite(Path(folder) / "log.db", clock=clock)
        try:
            yield log
        finally:
            await log.close()


async def _spread(events: int, work: Work) -> Reading:
    """Workflows that exist, then a backlog that goes round all of them."""
    workflows = min(events, WORKFLOWS)
    of = plan(work)
    async with _opened() as log:
        await make_topics(log, of)
        await backlog(log, workflows, workflows)
        async with member_on(log, of) as member:
            await member.until_idle()
        await backlog(log, events, workflows)
        with Meter() as meter:
            async with member_on(log, of) as member:
                await member.until_idle()
                check_applied(member, workflows + events)
    return meter.reading(events)


async def _piled_up(events: int) -> Reading:
    """One workflow, its events, and a callback that lets go once all of them are taken in."""
    open_gate = asyncio.Event()

    async def holds(ctx: Context) -> None:
        await open_gate.wait()

    of = plan(holds)
    async with _opened() as log:
        await make_topics(log, of)
        await backlog(log, events, workflows=1)
        with Meter() as meter:
            async with member_on(log, of) as member:
                await _taken_in(member, events)
                open_gate.set()
                await member.until_idle()
                check_applied(member, events)
    return meter.reading(events)


async def _taken_in(member: Member, events: int) -> None:
    with anyio.fail_after(TAKE_IN_S):
        while totals(member).get("read", 0) < events:  # noqa: ASYNC110 - a count tells nobody
            await anyio.sleep(LOOK_S)
