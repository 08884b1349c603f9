"""What a cut holds has a weight in bytes, and a limit: all that comes from outside is weighed."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.engine import dumping, ledger, workflow
from event_center.engine.ledger import Ledger
from event_center.engine.plan import EngineLimits
from event_center.log.memory import Ending
from event_center.model import Snapshot
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

        def unweighed_move(self: Ledger, *arguments: Any) -> None:
            before = self.cut_bytes
            moved(self, *arguments)
            self.cut_bytes = before

        if not weighed:
            monkeypatch.setattr(Ledger, "moved", unweighed_move)
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
  idle: {on: {note: {assign: {note: =payload}}, go: busy, work: building, put_off: later}}
  busy: {entry: work, on: {done: idle}}
  building: {invoke: {do: work}, on: {tick: {}}}
  later: {defer: [work], on: {tick: {}}}
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
async def test_large_ones_that_jobs_have_woken_rest_in_the_next_cut(
    *, rests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut of somebody else is enough; the twin: kept warm they stay awake."""
    if not rests:
        monkeypatch.setattr(workflow, "LARGE_BYTES", 10_000_000)
        monkeypatch.setattr(dumping, "LARGE_BYTES", 10_000_000)
    work = Script(*[HOLD] * 10)
    async with World((LASTING, {"work": work}), limits=EngineLimits(warm=100)) as world:
        await large_ones(world, "work")
        world.send("other", "note", "y")
        await world.rest(1)
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        resting = [isinstance(parts.workflows.by_id[f"w{one}"], bytes) for one in range(10)]
        assert resting == [rests] * 10


WAYS = {
    "ends of runs": "go",
    "events that wait": "go",
    "events beside deferred ones": "put_off",
    "events beside jobs": "work",
}
"""What changes large workflows, and the event that takes them to where it does."""


def unweighed(ledger: Ledger, snapshot: Snapshot) -> None:
    """What takes the place of `Ledger.changed` in a twin."""
    ledger.dirty[snapshot.workflow_id] = snapshot


@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize(
    "change", ["ends of runs", "events that wait", "events beside deferred ones"]
)
async def test_large_ones_that_stayed_awake_are_weighed(
    change: str, *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is busy stays live from cut to cut; the twin: unweighed, what changes it fills a cut."""
    if not weighed:
        monkeypatch.setattr(Ledger, "changed", unweighed)
    work = Script(*[HOLD] * 10)
    # Room for all of them: the events after the first would not be taken in.
    limits = EngineLimits(cut_bytes=2_000_000)
    async with World((LASTING, {"work": work}), limits=limits) as world:
        await large_ones(world, WAYS[change])
        if "deferred" in change:
            for number in range(10):
                world.send(f"w{number}", "work")
            await world.rest(0.3)
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for number in range(10):
            if change == "ends of runs":
                work.let_go()
            else:
                world.send(f"w{number}", "tick")
        await world.rest(0.3)
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        assert (parts.ledger.cut_bytes >= 10 * 50_000) is weighed


async def test_nothing_is_weighed_twice_in_one_cut() -> None:
    """Many changes of one large workflow between two cuts weigh it once, and what it grows by."""
    async with World((LASTING, {"work": Script()})) as world:
        world.send("w", "note", "x" * 50_000)
        await world.rest(1)
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for _ in range(20):
            world.send("w", "unheard")
        world.send("w", "note", "y" * 10_000)
        await world.rest(0.05)
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        assert 60_000 <= parts.ledger.cut_bytes < 70_000


async def test_who_is_only_woken_weighs_nothing() -> None:
    """A takeover wakes who owes a run: that fills no cut, or the intake would wait for one for ever."""
    work = Script(HOLD, HOLD)
    limits = EngineLimits(cut_bytes=20_000)
    async with World((LASTING, {"work": work}), limits=limits) as world:
        world.send("w", "note", "x" * 50_000)
        await world.rest(0.2)
        world.send("w", "go")
        await world.rest(0.2)
        await world.crash_and_recover()
        await world.rest(0.5)
        world.send("other", "note", "y")
        await world.rest(0.5)
        assert world.entry().read == 3


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
