"""What a cut holds has a weight in bytes, and a limit: all that comes from outside is weighed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from event_center.engine import ledger, workflow
from event_center.engine.ledger import Ledger
from event_center.engine.plan import EngineLimits
from event_center.log.memory import Ending
from event_center.plugins.context import Context
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MOVING = resting("""
data: {x: ""}
states:
  idle: {on: {note: {target: here, assign: {x: =payload.x}}}}
  here: {on: {flip: there}}
  there: {on: {flip: here}}
""")
SENDING = resting("""
states:
  idle: {on: {go: busy}}
  busy: {entry: work}
""")
TOLD = {
    "refused": ("x" * 9_000, "e"),
    "moved, with a long id": ("flip", "\x01" * 900),
}
"""What history repeats of events that a small cut takes in: name and id."""


@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize("told", TOLD)
async def test_a_cut_of_large_records_of_history_is_bounded(
    told: str, *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and ids of events come from outside; the twin: unweighed, all is taken in."""
    if not weighed:
        monkeypatch.setattr(ledger, "SMALL_BYTES", 1_000_000)
    name, event_id = TOLD[told]
    async with World(MOVING, limits=EngineLimits(cut_bytes=50_000)) as world:
        world.send("w", "note", {"x": "y"})
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for half in range(2):
            for number in range(10):
                world.send("w", name, id=f"{event_id}{half}/{number}")
            await world.rest(0.5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is weighed
        await world.idle()
        assert world.entry().read == 21


@pytest.mark.parametrize("weighed", [True, False])
async def test_what_callbacks_send_is_weighed_with_its_headers(
    *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut is bounded in all that it holds; the twin: by values alone it is not."""
    if not weighed:
        monkeypatch.setattr(ledger, "size_of", lambda _key, value, _headers: len(value or b""))

    def publishes(ctx: Context) -> None:
        ctx.publish("outside", None, headers={"trace": "x" * 30_000})

    scripts = {"work": Script(*[publishes] * 20)}
    limits = EngineLimits(cut_bytes=100_000)
    async with World((SENDING, scripts), limits=limits, publishable=["outside"]) as world:
        await world.idle()
        world.faults.commits.extend([None, *[Ending.NOT_COMMITTED] * 6])
        for number in range(10):
            world.send(f"w{number}", "go")
        await world.rest(0.5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is weighed


@pytest.mark.parametrize("weighed", [True, False])
async def test_a_cut_of_workflows_that_only_move_is_bounded(
    *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What moves without being woken weighs what it would awake; the twin: unweighed, all is taken in."""
    async with World(MOVING, limits=EngineLimits(cut_bytes=100_000)) as world:
        for number in range(20):
            world.send(f"w{number}", "note", {"x": "x" * 9_000})
        await world.idle()
        moved = Ledger.moved

        def unweighed(self: Ledger, *arguments: Any) -> None:
            moved(self, *arguments)
            self._workflows.woken_bytes = 0

        if not weighed:
            monkeypatch.setattr(Ledger, "moved", unweighed)
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for number in range(10):
            world.send(f"w{number}", "flip")
        await world.rest(0.5)
        for number in range(10, 20):
            world.send(f"w{number}", "flip")
        await world.rest(0.5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is weighed
        await world.idle()
        assert world.entry().outcomes["applied"] == 40


LASTING = resting("""
data: {note: null}
states:
  idle: {on: {note: {assign: {note: =payload}}, go: busy, work: building}}
  busy: {entry: work, on: {done: idle}}
  building: {invoke: {do: work}, on: {tick: {}}}
""")


async def large_ones(world: World, event: str) -> None:
    """Ten workflows with 50 kB of data each, that have all gone this way."""
    for number in range(10):
        world.send(f"w{number}", "note", "x" * 50_000)
        await world.rest(0.2)
    for number in range(10):
        world.send(f"w{number}", event)
    await world.rest(1)


@pytest.mark.parametrize("rests", [True, False])
async def test_large_ones_that_jobs_have_woken_are_weighed_when_they_are_woken_again(
    *, rests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They rest in the next cut; the twin: kept warm they weigh nothing, and all is taken in."""
    if not rests:
        monkeypatch.setattr(workflow, "LARGE_BYTES", 10_000_000)
    work = Script(*[HOLD] * 10)
    limits = EngineLimits(cut_bytes=100_000)
    async with World((LASTING, {"work": work}), limits=limits) as world:
        world._options["limits"] = replace(limits, warm=100)
        world.redefine((LASTING, {"work": work}))
        await world.crash_and_recover()
        await large_ones(world, "work")
        world.send("other", "note", "y")  # a cut of somebody else
        await world.rest(1)
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for number in range(10):
            world.send(f"w{number}", "tick")
        await world.rest(0.3)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is rests


@pytest.mark.parametrize("weighed", [True, False])
async def test_ends_of_runs_of_large_ones_are_weighed(
    *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who owes a run stays awake from cut to cut; the twin: its end brings a cut what has no weight."""
    if not weighed:
        monkeypatch.setattr(ledger, "LARGE_BYTES", 10_000_000)
    work = Script(*[HOLD] * 10)
    limits = EngineLimits(cut_bytes=100_000)
    async with World((LASTING, {"work": work}), limits=limits) as world:
        await large_ones(world, "go")
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for _ in range(10):
            work.let_go()
        await world.rest(0.3)
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        assert (parts.ledger.heavy >= 10 * 50_000) is weighed


async def test_data_that_are_written_often_weigh_what_they_are() -> None:
    """What a workflow grows by is added up from event to event, and exact again in each cut."""
    async with World((LASTING, {"work": Script()})) as world:
        for _ in range(30):
            world.send("w", "note", "x" * 1_000)
            await world.rest(0.05)
        await world.idle()
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        snapshot = parts.workflows.live("w")
        assert snapshot is not None
        assert snapshot.size < 2_000
