"""A callback with a limit of its own: its further runs wait, nobody else does, and none is lost."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.errors import PluginError
from event_center.machine import parse
from event_center.plugins.callbacks import callbacks
from event_center.plugins.registry import Bound, resolve
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = resting("""
states:
  idle:
    on:
      go: busy
      ask: {before: {do: work, timeout: 5s}, target: idle, reenter: true}
      other: looked
      build: building
  busy: {entry: {do: work, timeout: 5s}, on: {done: idle}}
  looked: {entry: look, on: {done: idle}}
  building: {invoke: {do: build, timeout: 5s, on_done: idle}}
""")
RUNS = 6


def limited(limit: int | None, work: Script) -> Bound:
    """The machine, with this limit of one callback and of one job."""
    found = callbacks("m")
    found.action("work", limit=limit)(work)
    found.job("build", limit=limit)(work)
    found.action("look")(Script("done"))
    return resolve(parse(MACHINE), [found])


def reached(world: World) -> dict[str, str]:
    """What the first process says that waits."""
    return {one.limit: one.meaning for one in world.processes[0].member.reached()}


@pytest.mark.parametrize(("event", "name"), [("go", "work"), ("ask", "work"), ("build", "build")])
async def test_no_more_of_a_callback_at_once_than_its_limit(event: str, name: str) -> None:
    """The others wait in their order, with all of their time; other callbacks go on, and it is named."""
    work = Script(*[HOLD] * RUNS)
    async with World(limited(2, work)) as world:
        for number in range(RUNS):
            world.send(f"w{number}", event)
        await world.rest()
        world.send("v", "other")
        await world.rest()
        assert (work.held, world.state("v")) == (2, "idle")
        assert reached(world) == {"limit": f"4 runs of '{name}' wait: 2 may be under way at once"}
        for left in range(RUNS, 0, -1):
            assert work.held == min(left, 2)
            await world.rest(2)  # so that the last ones wait for longer than their timeout
            work.let_go("done" if event == "go" else None)
            await world.rest()
        await world.idle()
        assert [ctx.workflow_id for ctx in work.calls] == [f"w{n}" for n in range(RUNS)]
        assert all(ctx.attempt == 1 for ctx in work.calls)
        assert work.calls[-1].deadline_ms - work.calls[0].deadline_ms > 4_000
        assert reached(world) == {}


async def test_without_a_limit_all_are_under_way() -> None:
    """The twin: as many as the process may have."""
    work = Script(*[HOLD] * RUNS)
    async with World(limited(None, work)) as world:
        for number in range(RUNS):
            world.send(f"w{number}", "go")
        await world.rest()
        assert (work.held, reached(world)) == (RUNS, {})
        for _ in range(RUNS):
            work.let_go("done")
        await world.idle()


async def test_who_ends_otherwise_makes_room_too() -> None:
    """One that fails, is late, or is cancelled while it runs or waits: the next one begins, and once."""
    work = Script(OSError("not now"), HOLD, HOLD, HOLD)
    async with World(limited(1, work)) as world:
        for number in range(4):
            world.send(f"w{number}", "go")
        await world.rest()
        assert work.held == 1
        world.command("cancel", "w2")
        await world.rest(6)
        assert work.cancelled == 1
        assert [ctx.workflow_id for ctx in work.calls][:3] == ["w0", "w1", "w3"]
        world.command("cancel", "w3")
        await world.rest(60)
        assert all(ctx.workflow_id != "w2" for ctx in work.calls)
        assert reached(world) == {}


@pytest.mark.parametrize("stopped", [False, True])
async def test_who_waits_is_owed_to_the_next_owner(stopped: bool) -> None:
    """After a crash and after a stop in order: what has not begun begins there, within the limit."""
    first, second = Script(*[HOLD] * RUNS), Script(*[HOLD] * RUNS)
    async with World(limited(2, first)) as world:
        for number in range(RUNS):
            world.send(f"w{number}", "go")
        await world.rest()
        world.redefine(limited(2, second))
        if stopped:
            await world.stop()
        else:
            world.crash()
        await world.start()
        done = 0
        for _ in range(100):
            assert second.held <= 2
            if second.held:
                second.let_go("done")
                done += 1
            await world.rest()
        await world.idle()
        assert {ctx.workflow_id for ctx in second.calls} == {f"w{n}" for n in range(RUNS)}
        assert done == RUNS


@pytest.mark.parametrize("limit", [0, -1, True, "10"])
def test_a_limit_that_is_none(limit: Any) -> None:
    """It is refused where it is written, with what to write."""
    with pytest.raises(
        PluginError, match=r"'work' of callbacks\('m'\) has the limit .*; write how many"
    ):
        callbacks("m").action("work", limit=limit)
