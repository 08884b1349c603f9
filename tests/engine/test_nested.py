"""States inside of states in the engine: regions that go on beside a run, history, and take-overs."""

from __future__ import annotations

from typing import Any

from event_center.errors import PermanentError
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = resting("""
data: {why: null}
states:
  idle: {on: {go: work, back: last}}
  work:
    type: parallel
    states:
      left:
        initial: l1
        states:
          l1:
            entry: first
            on: {moved: l2}
            on_done: l2
            on_error: {target: l3, assign: {why: =payload.type}}
          l2: {entry: third, on: {more: l3}}
          l3: {after: {1h: l2}}
          last: {type: history}
      right:
        initial: r1
        states: {r1: {entry: second, on_done: r2}, r2: {on: {ends: r3}}, r3: {type: final}}
    on: {stop: idle}
""")


def world_with(**functions: Any) -> World:
    known = {name: functions.get(name, Script()) for name in ("first", "second", "third")}
    return World((MACHINE, known))


async def test_a_transition_in_one_region_leaves_the_runs_of_the_others() -> None:
    """P3: what the other region owes still happens, each run with the event that caused it."""
    second, third = Script(), Script()
    async with world_with(first=Script("moved"), second=second, third=third) as world:
        world.send("w", "go", {"n": 1})
        await world.idle()
        assert world.state() == "l2|r2"
        assert world.runs() == ["first 1 done", "second 1 done", "third 1 done"]
        assert [ctx.event.name for ctx in second.calls] == ["go"]
        assert second.calls[0].payload == {"n": 1}
        assert [ctx.event.name for ctx in third.calls] == ["moved"]


async def test_the_cause_of_an_earlier_run_survives_a_crash() -> None:
    """P3: after a take-over the run that stayed owed sees the event that caused it."""
    second = Script(HOLD, None)
    async with world_with(first=Script("moved"), second=second) as world:
        world.send("w", "go", {"n": 1})
        await world.rest(1)
        assert world.state() == "l2|r1"
        await world.crash_and_recover()
        await world.idle()
        assert world.state() == "l2|r2"
        assert [(ctx.event.name, ctx.payload) for ctx in second.calls] == [("go", {"n": 1})] * 2


async def test_a_failed_run_is_handled_by_its_own_region() -> None:
    """`on_error` of the state that owes the run; what the other region owes is not given up."""
    async with world_with(first=Script(PermanentError("no"))) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "l3|r2"
        assert world.snapshot("w").data == {"why": "PermanentError"}
        assert world.runs() == ["first 1 failed", "second 1 done"]


async def test_history_is_durable() -> None:
    """P5: what a state was left in comes back after a crash as well."""
    async with world_with() as world:
        world.send("w", "go")
        world.send("w", "more")
        world.send("w", "stop")
        await world.idle()
        assert world.snapshot("w").memory == {"last": "l3"}
        await world.crash_and_recover()
        world.send("w", "back")
        await world.idle()
        assert world.state() == "l3|r2"
        assert [timer.id for timer in world.snapshot("w").timers] == ["@after/1h/l3"]
        await world.leap(2)
        await world.idle()
        assert world.state() == "l2|r2"


async def test_set_state_enters_what_is_inside() -> None:
    """An operator names a state or a whole configuration; nobody is put into a history state."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        world.command("set-state", "w", state="work", reason="again")
        await world.idle()
        assert world.state() == "l2|r2"
        world.command("set-state", "w", state="last", reason="wrong")
        world.command("set-state", "w", state="l3|r3", reason="there")
        await world.idle()
        assert world.state() == "l3|r3"
