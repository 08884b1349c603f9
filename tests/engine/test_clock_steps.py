"""Timers when the wall clock is set back, or when the next owner's is behind: none is lost."""

from __future__ import annotations

from event_center.engine.plan import EngineLimits
from event_center.errors import RetryLater
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: idle
states:
  idle: {on: {go: watched, slow: shy}}
  watched: {after: {1h: over}}
  shy: {on: {tick: {}}, after: {1h: {target: over, before: ask}}}
  over: {type: final}
"""


def world_with(ask: Script | None = None) -> World:
    """A world of the machine, which keeps finished workflows for an hour."""
    return World(
        (MACHINE, {"ask": ask or Script()}), limits=EngineLimits(keep_finished_ms=3_600_000)
    )


def fired(world: World) -> list[str]:
    """The names of all timers that fired, as history tells it."""
    return [told["event"] for told in world.history("w", "timer")]


async def set_back_when_due(world: World) -> None:
    """Let something become due, and the clock be set back while the log is asked what it holds."""

    async def back(name: str) -> None:
        if name == "watermarks":
            world.faults.on_await = None
            await world.leap(-1)

    world.faults.on_await = back
    await world.leap(1.1)
    await world.rest(2)
    assert world.faults.on_await is None


async def test_a_timer_that_was_due_fires_although_the_clock_is_set_back() -> None:
    """P7: who was found to be due is due, also if the clock is set back before it may fire."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        await set_back_when_due(world)
        await world.idle()
        assert fired(world) == ["@after/1h"]


async def test_who_was_kept_for_long_enough_is_removed_although_the_clock_is_set_back() -> None:
    """The same of the end of `keep_finished`: nobody would look at the workflow again."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        await world.leap(1.1)
        await world.idle()
        assert world.state() == "over"
        await set_back_when_due(world)
        await world.idle()
        assert world.history("w", "removed")


async def test_a_timer_that_was_tried_goes_on_under_a_clock_that_is_behind() -> None:
    """It was due by the clock of who began it: its callbacks have run, so the next owner ends it."""
    ask = Script(RetryLater(1), HOLD)
    async with world_with(ask) as world:
        world.send("w", "slow")
        await world.idle()
        await world.leap(1.1)
        await world.rest(2)
        world.send("w", "tick")
        await world.rest()
        assert ask.attempts == [1, 2]
        world.crash()
        await world.leap(-1.1)
        await world.start()
        await world.idle()
        assert len(set(ask.keys)) == 1
        assert fired(world) == ["@after/1h"]
