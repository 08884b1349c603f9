"""Timers that are due all together, as after a night without a daemon: not in one cut, and each once."""

from __future__ import annotations

import asyncio

import pytest

from event_center.engine import timers
from event_center.log.memory.broker import KeptCut
from event_center.wire.entries import is_snapshot
from tests.engine.world import World
from tests.waiting import turns

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
events: {go: {}, leave: {}, back: {}}
states:
  idle: {on: {go: waiting}}
  waiting: {after: {24h: late}, on: {leave: idle}}
  late: {on: {back: idle}}
"""
MANY = 2 * timers.AT_ONCE + 1


async def armed(world: World) -> None:
    """All of them wait, and time passes without a daemon."""
    for number in range(MANY):
        world.send(f"w{number}", "go")
    await world.idle()
    world.crash()
    await world.leap(25)


def snapshots(cut: KeptCut) -> int:
    """How many workflows it holds."""
    return sum(is_snapshot(key) for key in cut.entries)


async def fired(world: World) -> list[int]:
    """How many of them each cut holds, once all have fired."""
    before = len(world.broker.cuts)
    await world.start()
    await world.idle()
    assert world.entry().timers == MANY
    assert all(world.state(f"w{number}") == "late" for number in range(MANY))
    return [snapshots(cut) for cut in world.broker.cuts[before:]]


async def test_they_fire_a_thousand_at_a_time() -> None:
    """Each once, and no cut holds more of them than it may, so that nothing waits long for one."""
    async with World(MACHINE) as world:
        await armed(world)
        assert max(await fired(world)) == timers.AT_ONCE


async def test_without_a_limit_they_are_one_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: all fire in one go, whatever else there is to do."""
    monkeypatch.setattr(timers, "AT_ONCE", MANY)
    async with World(MACHINE) as world:
        await armed(world)
        assert max(await fired(world)) == MANY


async def test_a_crash_between_two_cuts_of_them() -> None:
    """Those that have fired are durable and fire no more; the others are still due."""
    async with World(MACHINE) as world:
        await armed(world)
        before = len(world.broker.cuts)
        await world.start()
        while not sum(map(snapshots, world.broker.cuts[before:])):
            await turns(1)
        world.crash()
        assert 0 < world.entry().timers < MANY
        await fired(world)


def asked_by(name: str) -> bool:
    """Whether this is an asyncio task of that name."""
    task = asyncio.current_task()
    return task is not None and task.get_name().startswith(name)


async def test_what_is_due_is_not_idle() -> None:
    """A center that ends when all is decided waits for a log that is slow to say what it holds."""

    async def slow(place: str) -> None:
        if place == "watermarks" and asked_by("timekeeper"):
            await world.rest(1)

    async with World(MACHINE) as world:
        await armed(world)
        world.faults.on_await = slow
        await fired(world)


async def test_a_takeover_is_not_idle_before_the_first_look() -> None:
    """Asked at every turn from its start on, a center says that it is quiet when all have fired."""
    async with World(MACHINE) as world:
        await armed(world)
        await world.start()
        while not (world.processes[0].member.owners and await world.processes[0].owner(0).quiet()):
            await turns(1)
        assert world.entry().timers == MANY


async def test_if_nothing_comes_of_them() -> None:
    """All have left their state by then: the last of them is looked at all the same, and nothing hangs."""
    async with World(MACHINE) as world:
        await armed(world)
        for number in range(MANY):
            world.send(f"w{number}", "leave")
        await world.start()
        await world.idle()
        assert world.entry().timers == 0
        assert all(world.state(f"w{number}") == "idle" for number in range(MANY))
