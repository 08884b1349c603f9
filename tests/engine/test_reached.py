"""Limits that are reached are named, for as long as they are: nobody waits for no reason."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.log.memory import Ending
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import World
from tests.waiting import PATIENCE_S, until

MACHINE = resting("""
unhandled: defer
events:
  early: {missing: {hold: 10m}}
  go: {}
  build: {}
  add: {}
  done: {}
states:
  idle: {on: {go: busy, build: building, add: {}}}
  busy: {entry: {do: work, timeout: 1h}, on: {done: idle}}
  building: {invoke: {do: build, timeout: 1h, on_done: idle}}
""")


def world_with(limits: EngineLimits, work: Any = None, build: Any = None) -> World:
    """A world of the machine."""
    functions = {"work": work or Script(HOLD, HOLD), "build": build or Script(HOLD, HOLD)}
    return World((MACHINE, functions), limits=limits)


def reached(world: World) -> dict[str, str]:
    """The limits of the first process, and what waits because of each."""
    return {one.limit: one.meaning for one in world.processes[0].member.reached()}


@pytest.mark.parametrize(
    ("limits", "events", "limit", "said"),
    [
        (EngineLimits(mailbox=3), ["w go"] + ["w add"] * 3, "mailbox", "3 events wait in memory"),
        (EngineLimits(callbacks=1), ["v go", "w go"], "callbacks", "1 callbacks wait"),
        (EngineLimits(jobs=1), ["v build", "w build"], "jobs", "1 jobs wait"),
        (EngineLimits(max_waiting=2), ["w go"] + ["w add"] * 2, "max_waiting", "of 'w'"),
        (EngineLimits(max_held=2), ["w early"] * 2, "max_held", "for 'w'"),
        (EngineLimits(max_held_in_shard=1), ["w early"], "max_held_in_shard", "1 events are held"),
    ],
)
async def test_a_limit_is_named_while_it_is_reached(
    limits: EngineLimits, events: list[str], limit: str, said: str
) -> None:
    """P4, P8: one event below it nothing is said; at the limit its name, and who waits; then nothing."""
    async with world_with(limits) as world:
        for event in events[:-1]:
            world.send(*event.split())
        await world.rest(1)
        assert reached(world) == {}
        world.send(*events[-1].split())
        await world.rest(1)
        assert reached(world).keys() == {limit}
        assert said in reached(world)[limit]
        for workflow_id in ("v", "w"):
            world.command("forget", workflow_id, reason="the end of a test")
            await world.rest(10)
        assert reached(world) == {}


async def test_several_workflows_at_their_limits_are_counted() -> None:
    """One is named, and how many more there are."""
    async with world_with(EngineLimits(max_waiting=1)) as world:
        for event in ("v go", "v add", "w go", "w add"):
            world.send(*event.split())
        await world.rest(1)
        assert reached(world)["max_waiting"].endswith("of 'v' and 1 more")


async def test_a_log_that_takes_no_cut_is_named() -> None:
    """With the reason that the log has given, and the records that no cut covers; until it takes one."""
    async with world_with(EngineLimits(cut_records=2)) as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 1_000)
        for number in range(3):
            world.send(f"w{number}", "add")
        await world.rest(1)
        assert reached(world).keys() == {"log", "cut_records"}
        assert "not durable" in reached(world)["log"]
        world.faults.commits.clear()
        await world.idle()
        assert reached(world) == {}


async def test_what_a_lost_lease_said_is_not_said_for_ever() -> None:
    """A cut that was refused, and was written at the next try without an answer: nothing is wrong then."""
    async with world_with(EngineLimits()) as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED, Ending.WRITTEN])
        world.send("w", "add")
        await world.rest(10)
        assert (world.exists("w"), reached(world)) == (True, {})


async def test_a_log_that_lets_nobody_take_over_is_named() -> None:
    """A shard that is not served says why, until it is."""
    async with world_with(EngineLimits()) as world:
        await world.idle()
        world.faults.commits.extend([Ending.LOST] * 1_000)
        world.send("w", "add")
        await world.rest(20)
        assert "nothing is taken in" in reached(world)["log"]
        world.faults.commits.clear()
        await world.idle()
        assert reached(world) == {}


@pytest.mark.real_time
async def test_a_full_pool_of_threads_is_named() -> None:
    """Plain functions that wait for a thread are counted, and not those that have one."""
    go = threading.Event()

    def work() -> str:
        go.wait(PATIENCE_S)
        return "done"

    async with world_with(EngineLimits(threads=1), work) as world:
        world.send("v", "go")
        await world.rest(0.2)
        assert reached(world) == {}
        world.send("w", "go")
        await until(lambda: "threads" in reached(world))
        assert "1 callbacks that are plain functions" in reached(world)["threads"]
        go.set()
        await world.idle()
        assert reached(world) == {}


async def test_a_process_that_has_not_joined_has_no_limits() -> None:
    """Asked before it serves anything, or after its end."""
    async with world_with(EngineLimits()) as world:
        await world.idle()
        process = world.processes[0]
        await world.stop()
        assert process.member.reached() == []
