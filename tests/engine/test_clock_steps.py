"""Timers when the wall clock is set back, or when the next owner's is behind: none is lost."""

from __future__ import annotations

from event_center.errors import RetryLater
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
states:
  idle: {on: {go: watched, slow: shy}}
  watched: {on: {tick: {}}, after: {1h: idle}}
  shy: {on: {tick: {}}, after: {1h: {target: idle, before: ask}}}
"""


def fired(world: World) -> list[str]:
    """The names of all timers that fired, as history tells it."""
    return [told["event"] for told in world.history("w", "timer")]


async def test_a_timer_that_was_tried_goes_on_under_a_clock_that_is_behind() -> None:
    """It was due by the clock of who began it: its callbacks have run, so the next owner ends it."""
    ask = Script(RetryLater(1), HOLD)
    async with World((MACHINE, {"ask": ask})) as world:
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
