"""A workflow does not grow without end: what would make it too large is refused, and all go on."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.engine.workflow import LARGE_BYTES
from event_center.errors import PermanentError
from event_center.log.memory import Ending
from event_center.model import Event, Reason, Shard
from event_center.plugins.context import Context
from tests.engine.job_world import jobs_world
from tests.engine.machines import resting
from tests.engine.script import Script
from tests.engine.world import EVENTS, World

MACHINE = resting("""
data: {note: null, last: null}
states:
  idle:
    on:
      note: {assign: {note: =payload}}
      last: {assign: {last: =payload}}
      go: busy
      ask: {before: look, assign: {note: =payload}}
      timed: waits
  busy: {entry: work, on: {done: {target: idle, assign: {note: =payload}}, stay: idle}}
  waits: {after: {1s: {target: idle, assign: {note: =data.last + data.last}}}, on: {stay: idle}}
""")
LIMIT = 30_000
FITS, LARGE_ONE = "x" * (LIMIT - 1_500), "x" * (LIMIT + 1)
HALF = "x" * (LIMIT // 2)


def world_with(*steps: Any, limit: int = LIMIT, machine: str = MACHINE) -> World:
    """A world whose workflows may have so much data."""
    scripts = {"work": Script(*steps), "look": Script()}
    return World((machine, scripts), limits=EngineLimits(snapshot_bytes=limit))


@pytest.mark.parametrize("event", ["note", "ask", "go"])
@pytest.mark.parametrize("roomy", [False, True])
async def test_an_event_that_its_workflow_has_no_room_for(event: str, *, roomy: bool) -> None:
    """As data, before a decide callback, or as the cause of a run: rejected, unless there is room."""
    async with world_with(limit=10 * LIMIT if roomy else LIMIT) as world:
        world.send("w", event, LARGE_ONE)
        await world.idle()
        if roomy:
            assert world.outcomes("w")[-1] == f"{event} applied"
            return
        assert world.outcomes("w") == [f"{event} rejected(too_large)"]
        assert world.state() == "idle"
        [told] = world.history("w", "rejected")
        assert f"may have {LIMIT}" in told["detail"]
        assert "snapshot_bytes" in told["detail"]
        world.send("w", "note", "small")
        await world.idle()
        assert world.snapshot("w").data["note"] == "small"


async def test_data_grow_up_to_the_limit() -> None:
    """Two halves fill it; a third part is refused, what is replaced makes room, a restart too."""
    async with world_with() as world:
        for event in ("note", "last", "note"):
            world.send("w", event, HALF[1_000:])
        await world.idle()
        world.send("w", "note", HALF + HALF)
        await world.idle()
        assert world.outcomes("w")[-1] == "note rejected(too_large)"
        await world.crash_and_recover()
        world.send("w", "note", HALF + HALF)
        world.send("w", "last", None)
        world.send("w", "note", FITS)
        await world.idle()
        assert world.outcomes("w")[-3:] == [
            "note rejected(too_large)",
            "last applied",
            "note applied",
        ]


async def test_the_bound_is_made_exact_before_it_refuses() -> None:
    """However often a part of the data is replaced: what they have counts, not what they had."""
    async with world_with() as world:
        for number in range(100):
            world.send("w", "note", f"{number}" + "x" * 1_000)
        await world.idle()
        assert world.entry().outcomes["applied"] == 100


async def test_what_a_run_returns_does_not_fit() -> None:
    """The run is done all the same; its event is refused, and history says why."""
    async with world_with(lambda _: Event("done", LARGE_ONE)) as world:
        world.send("w", "go")
        await world.idle()
        assert world.runs() == ["work 1 done"]
        assert world.outcomes("w")[-1] == "done rejected(too_large)"
        assert not world.snapshot("w").owed
        world.send("w", "stay")
        await world.idle()
        assert world.state() == "idle"


async def test_what_a_timer_would_make_does_not_fit() -> None:
    """The timer is over, its workflow stays in its state, and other events move it."""
    async with world_with() as world:
        world.send("w", "last", HALF)
        world.send("w", "timed")
        await world.rest(3)
        assert world.outcomes("w")[-1].endswith("rejected(too_large)")
        assert (world.state(), world.snapshot("w").timers) == ("waits", ())
        world.send("w", "stay")
        await world.idle()
        assert world.state() == "idle"


async def test_an_event_that_is_too_large_makes_no_workflow() -> None:
    """A birth that owes a run would keep its event as the cause: rejected, and there is none."""
    text = MACHINE.replace("initial: idle", "initial: busy")
    async with world_with(machine=text) as world:
        world.send("w", "done", LARGE_ONE)
        world.send("v", "done", "small")
        await world.idle()
        assert not world.exists("w")
        [told] = [one for one in world.history() if one.get("reason") == Reason.TOO_LARGE]
        assert (told["workflow_id"], told["kind"]) == ("w", "rejected")
        assert world.exists("v")


async def test_large_workflows_become_bytes_at_once() -> None:
    """So all that a cut holds of them was counted; who is small stays decoded."""
    async with world_with() as world:
        world.send("small", "note", "x")
        world.send("large", "note", "x" * LARGE_BYTES)
        await world.idle()
        parts = world.processes[0].member.owners[Shard(0)]._parts
        assert parts is not None
        by_id = parts.workflows.by_id
        assert [type(by_id[name]) is bytes for name in ("small", "large")] == [False, True]
        world.send("large", "last", "y")
        await world.idle()
        assert world.snapshot("large").data["last"] == "y"


@pytest.mark.parametrize("size", [1, LARGE_BYTES])
async def test_a_job_of_a_state_that_was_left_while_its_cut_was_written(size: int) -> None:
    """Also of one that became bytes in that cut: it never begins."""
    build = Script()
    async with jobs_world(build=build) as world:
        left = False

        async def leave(place: str) -> None:
            nonlocal left
            if place == "commit.written" and not left and "w" in _owing(world):
                left = True
                world.send("w", "leave")
                await world.rest(0.5)

        world.faults.on_await = leave
        world.send("w", "go", "x" * size)
        await world.idle()
        assert left
        assert world.state() == "idle"
        assert not build.calls


def _owing(world: World) -> set[str]:
    """The workflows of which the cut that is being written makes runs durable."""
    parts = world.processes[0].member.owners[Shard(0)]._parts
    return set() if parts is None else set(parts.ledger._in_flight)


@pytest.mark.parametrize("roomy", [False, True])
async def test_a_cut_is_bounded_in_bytes(*, roomy: bool) -> None:
    """Past the limit the shard takes in commands only until a cut is made, and says so."""
    limit = 100_000_000 if roomy else 100_000
    world = World(
        (MACHINE, {"work": Script(), "look": Script()}), limits=EngineLimits(cut_bytes=limit)
    )
    async with world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for number in range(5):
            world.send(f"w{number}", "note", "x" * 30_000)
        await world.rest(0.5)
        for number in range(5):
            world.send(f"v{number}", "note", "x" * 30_000)
        await world.rest(0.5)
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        assert parts.entry.offsets[EVENTS] == (10 if roomy else 5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is not roomy
        await world.idle()
        assert world.entry().outcomes["applied"] == 10


async def test_large_workflows_that_wait_keep_no_intake_from_going_on() -> None:
    """A takeover wakes all that wait; with nothing to cut, what they weigh would never be less."""
    broken = [PermanentError("never")] * 5
    world = World(
        (MACHINE, {"work": Script(*broken), "look": Script()}),
        limits=EngineLimits(cut_bytes=100_000),
    )
    async with world:
        for number in range(5):
            world.send(f"w{number}", "go", "x" * 30_000)
        await world.idle()
        await world.crash_and_recover()
        world.send("v", "note", "small")
        await world.idle()
        assert world.outcomes("v") == ["note applied"]


async def test_a_callback_that_emits_a_million_events() -> None:
    """Its attempt fails for good at the limit, which its failure names; nothing of it leaves."""

    def emits(ctx: Context) -> None:
        for number in range(1_000_000):
            ctx.emit("note", number, workflow_id=f"v{number}", machine="m")

    async with world_with(emits) as world:
        world.send("w", "go")
        await world.idle()
        [told] = world.history("w", "run")
        assert (told["outcome"], told["attempt"]) == ("failed", 1)
        assert "may send 10000" in told["message"]
        assert world.records("app.inbox") == []
        world.send("other", "note")
        await world.idle()
        assert world.exists("other")


async def test_as_many_as_one_attempt_may_send() -> None:
    """The twin: one less, and all of them leave in one cut."""

    def emits(ctx: Context) -> None:
        for number in range(10_000):
            ctx.emit("note", number, workflow_id="v", machine="m")

    async with world_with(emits) as world:
        world.send("w", "go")
        await world.idle()
        assert len(world.records("app.inbox")) == 10_000


@pytest.mark.parametrize("roomy", [False, True])
async def test_a_machine_that_begins_too_large_makes_no_workflow(*, roomy: bool) -> None:
    """What each workflow begins with counts from its birth on: rejected, unless there is room."""
    text = MACHINE.replace("last: null}", f"last: {LARGE_ONE}}}")
    async with world_with(machine=text, limit=10 * LIMIT if roomy else LIMIT) as world:
        world.send("w", "last", "small")
        await world.idle()
        assert world.exists("w") is roomy
        if not roomy:
            [told] = [one for one in world.history() if one.get("reason") == Reason.TOO_LARGE]
            assert (told["workflow_id"], told["kind"]) == ("w", "rejected")
            assert "snapshot_bytes" in told["detail"]


async def test_what_a_workflow_begins_with_counts_beside_what_comes() -> None:
    """Two halves are too much, also if one of them was there from the birth on."""
    text = MACHINE.replace("last: null}", f"last: {HALF[5_000:]}}}")
    async with world_with(machine=text) as world:
        world.send("w", "note", HALF + HALF[5_000:])
        world.send("w", "note", HALF)
        await world.idle()
        assert world.outcomes("w") == ["note rejected(too_large)", "note applied"]


async def test_births_with_large_data_bound_a_cut() -> None:
    """They weigh as what is decoded does: past the limit the shard waits for its cut."""
    text = MACHINE.replace("last: null}", f"last: {LARGE_ONE}}}")
    scripts = {"work": Script(), "look": Script()}
    async with World((text, scripts), limits=EngineLimits(cut_bytes=100_000)) as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for number in range(5):
            world.send(f"w{number}", "note", "x")
        await world.rest(0.5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert "cut_bytes" in reached
        await world.idle()
        assert world.entry().outcomes["applied"] == 5


GROWN = MACHINE.replace("version: 1", "version: 2").replace(
    "states:",
    "migrate: [{from: 1, data: {last: =data.note + data.note}}]\nstates:",
    1,
)


@pytest.mark.parametrize("roomy", [False, True])
async def test_an_upgrade_that_makes_too_much_parks_its_workflow(*, roomy: bool) -> None:
    """The workflow stays as it was, says why, and goes on once a version makes less of it."""
    scripts = {"work": Script(), "look": Script()}
    async with world_with(limit=10 * LIMIT if roomy else LIMIT) as world:
        world.send("w", "note", HALF[3_000:])
        await world.idle()
        world.redefine((GROWN, scripts))
        await world.crash_and_recover()
        world.send("w", "note", "small")
        await world.idle()
        snapshot = world.snapshot("w")
        assert snapshot.version == (2 if roomy else 1)
        if roomy:
            return
        assert (snapshot.parked, snapshot.data["last"]) == ("no_place", None)
        assert snapshot.failure is not None
        assert (snapshot.failure.callback, snapshot.failure.type) == ("migrate", "TooLarge")
        assert f"may have {LIMIT}" in snapshot.failure.message
        smaller = GROWN.replace("data.note + data.note", "data.note")
        world.redefine((smaller.replace("version: 2", "version: 3"), scripts))
        await world.crash_and_recover()
        world.command("retry", "w")
        await world.idle()
        assert (world.snapshot("w").version, world.outcomes("w")[-1]) == (3, "note applied")
