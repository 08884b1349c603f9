"""Limits: what pauses the intake, who is not held up by it, and plain functions in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.engine.timers import Timers
from event_center.log.memory import Ending
from event_center.model import Snapshot, Timer
from event_center.plugins.context import Context
from tests.engine.ahead import Ahead
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import EVENTS, World
from tests.waiting import PATIENCE_S, until

MACHINE = resting("""
data: {n: 0}
unhandled: defer
states:
  idle: {on: {go: busy, add: {assign: {n: =data.n + 1}}}}
  busy: {entry: {do: work, timeout: 5s, retry: {max_attempts: 2, interval: 10ms}}, on: {done: idle}}
""")


def world_with(work: Any, limits: EngineLimits) -> World:
    """A world of the machine."""
    return World((MACHINE, {"work": work}), limits=limits)


async def test_a_full_mailbox_pauses_the_intake_but_not_the_commands() -> None:
    """Past the limit of waiting events records stay in the log; commands are read, and make room."""
    work = Script(HOLD)
    async with world_with(work, EngineLimits(mailbox=10)) as world:
        world.send("w", "go")
        await world.rest()
        for _ in range(3000):
            world.send("w", "add")
        world.send("other", "add")
        await world.rest(3)
        assert not world.exists("other")
        taken = world.entry().offsets[EVENTS]
        assert taken < 3001
        assert world.waiting() == taken - 1
        world.command("skip", "w")
        await world.idle()
        assert world.exists("other")
        assert world.entry().read == 3003


@pytest.mark.parametrize("roomy", [False, True])
async def test_large_events_that_wait_for_their_turn_pause_the_intake(roomy: bool) -> None:
    """Of all shards, and it is named; with room for them nobody waits, nor for those set aside."""
    limits = EngineLimits() if roomy else EngineLimits(mailbox_bytes=100_000)
    work = Script(HOLD)
    async with World((MACHINE, {"work": work}), limits=limits, shards=2) as world:
        world.send("set-aside", "done", "x" * 200_000)
        world.send("w", "go")
        await world.rest()
        for _ in range(3):
            world.send("w", "done", "x" * 40_000)
        await world.rest()
        for number in range(4):
            world.send(f"v{number}", "add")
        await world.rest(1)
        assert [world.exists(f"v{number}") for number in range(4)] == [roomy] * 4
        reached = world.processes[0].member.reached()
        assert [one.limit for one in reached] == ([] if roomy else ["mailbox_bytes"])
        world.command("skip", "w")
        await world.idle()
        assert all(world.exists(f"v{number}") for number in range(4))


async def test_deferred_and_parked_events_do_not_pause_the_intake() -> None:
    """What waits for another event or for an operator must not keep that event out."""
    work = Script()
    async with world_with(work, EngineLimits(mailbox=10)) as world:
        world.send("w", "go")
        for _ in range(50):
            world.send("w", "add")
        await world.idle()
        assert world.entry().waiting["deferred"] == 50
        world.send("w", "done")
        world.send("other", "add")
        await world.idle()
        assert world.snapshot("w").data["n"] == 50


async def test_records_beyond_a_cut_wait_in_the_log() -> None:
    """While the log takes no cut a shard takes in what one cut may hold, and a fetch more at most."""
    async with world_with(Script(), EngineLimits(cut_records=100)) as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 8)
        for number in range(5000):
            world.send(f"w{number % 10}", "add")
        await world.rest(1)
        world.command("pause", "w1")
        await world.rest(1)
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        assert parts.ledger.taken <= 1102
        paused = parts.workflows.live("w1")
        assert paused is not None
        assert paused.status == "paused"
        await world.idle()
        assert world.entry().read == 5001


async def test_events_that_wait_weigh_no_more_than_the_limit() -> None:
    """Past it the shard takes in commands only, and says so; what is discarded makes room."""
    async with world_with(Script(), EngineLimits(waiting_bytes=100_000)) as world:
        world.send("w", "add")
        await world.rest()
        world.command("pause", "w")
        await world.rest()
        for _ in range(3):
            world.send("w", "add", "x" * 40_000)
        await world.rest()
        world.send("v", "add")
        await world.rest(1)
        assert not world.exists("v")
        assert [reached.limit for reached in world.processes[0].member.reached()] == [
            "waiting_bytes"
        ]
        await world.crash_and_recover()
        await world.rest(1)
        assert not world.exists("v")
        world.command("forget", "w", reason="too large")
        await world.idle()
        assert world.exists("v")


JOBS = resting("""
states:
  idle: {on: {go: making, add: {}}}
  making: {invoke: {do: make, on_done: {target: idle}}, on: {stop: idle}}
""")


async def test_results_of_jobs_that_wait_weigh_as_well() -> None:
    """Of paused workflows they pile up: only commands are taken in until they are taken up or dropped."""
    make = Script(HOLD, HOLD, HOLD)
    limits = EngineLimits(waiting_bytes=100_000)
    async with World((JOBS, {"make": make}), limits=limits) as world:
        for name in "abc":
            world.send(name, "go")
        await world.rest(1)
        for name in "abc":
            world.command("pause", name)
        await world.rest(1)
        for _ in "abc":
            make.let_go("x" * 40_000)
        await world.rest(1)
        world.send("other", "add")
        await world.rest(1)
        assert not world.exists("other")
        assert [one.limit for one in world.processes[0].member.reached()] == ["waiting_bytes"]
        world.command("cancel", "a")
        await world.rest(1)
        assert world.processes[0].member.reached() == []
        assert world.exists("other")
        for name in "bc":
            world.command("resume", name)
        await world.idle()
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        assert set(parts.ledger.waiting.weights.values()) == {0}
        assert [world.state(name) for name in "bc"] == ["idle", "idle"]


async def piled_up(world: World, work: Script) -> None:
    """Far more events wait for a run than are decided in a row, and it has ended."""
    world.send("w", "go")
    for _ in range(1500):
        world.send("w", "add")
    await world.rest()
    work.let_go("done")


async def test_a_long_queue_of_one_workflow_does_not_keep_the_loop() -> None:
    """More waiting events than are decided in a row are decided row by row, in order."""
    work = Script(HOLD)
    async with world_with(work, EngineLimits()) as world:
        await piled_up(world, work)
        await world.idle()
        assert world.snapshot("w").data["n"] == 1500


async def test_a_queue_that_is_half_decided_goes_on_after_a_crash() -> None:
    """A crash between two rows loses and doubles nothing."""
    work = Script(HOLD)
    async with world_with(work, EngineLimits()) as world:
        await piled_up(world, work)
        while world.waiting() in {0, 1500}:
            await world.rest(0)
        await world.crash_and_recover()
        await world.idle()
        assert world.snapshot("w").data["n"] == 1500


@pytest.mark.real_time
async def test_plain_functions_run_in_threads_beside_each_other() -> None:
    """A function that blocks holds a thread, not the event loop; context variables stay apart."""
    barrier = threading.Barrier(3, timeout=PATIENCE_S)
    threads: set[int] = set()

    def work(ctx: Context) -> str:
        threads.add(threading.get_ident())
        barrier.wait()
        return "done"

    async with world_with(work, EngineLimits()) as world:
        for number in range(3):
            world.send(f"w{number}", "go")
        await world.idle()
        assert threading.get_ident() not in threads
        assert all(world.snapshot(f"w{number}").seq == 2 for number in range(3))


@pytest.mark.real_time
async def test_a_plain_function_that_raises_or_takes_too_long_is_retried() -> None:
    """Errors of threads are failed attempts; a thread that is late is left behind, its result dropped."""
    text = MACHINE.replace("timeout: 5s", "timeout: 10m")
    ahead = Ahead()
    attempts: list[int] = []
    late = threading.Event()

    def work(attempt: int) -> str | None:
        attempts.append(attempt)
        if attempt == 1:
            late.wait(PATIENCE_S)
            return "go"
        return "done"

    def blows() -> None:
        raise ValueError("no")

    async with World((text, {"work": work})) as world:
        world.send("w", "go")
        await until(lambda: attempts == [1])
        ahead.move(1_200.0)
        await world.idle()
        late.set()
        assert attempts == [1, 2]
        assert world.outcomes("w") == ["go applied", "done applied"]
    async with World((text, {"work": blows})) as world:
        world.send("w", "go")
        await world.idle()
        assert world.snapshot("w").parked == "failed"


async def test_a_callback_that_blocks_its_loop_delays_and_breaks_nothing() -> None:
    """A blocking async callback is a mistake; deadlines and cuts go on after it."""

    async def work(ctx: Context) -> str:
        asyncio.get_running_loop().block(0.05)  # type: ignore[attr-defined]  # the virtual one
        return "done"

    async with world_with(work, EngineLimits()) as world:
        for number in range(4):
            world.send(f"w{number}", "go")
        await world.idle()
        assert world.entry().outcomes["applied"] == 4


def test_superseded_timers_do_not_stay_in_memory() -> None:
    """A workflow that comes back to a state with a timer 100,000 times costs one entry."""
    timers = Timers(lambda: None)
    snapshot = Snapshot("w", "m", 1, "waiting")
    for number in range(100_000):
        snapshot.timers = (Timer("@after/3d", number, number + 259_200_000),)
        timers.arm(snapshot)
        timers.look_at("other", 900_000_000 - number)
    assert len(timers._heap) <= 1_010
    assert timers.pop(259_200_000) == ["w"]
    timers.again(snapshot, 259_200_000)
    assert timers.pop(259_299_998) == []
    assert timers.pop(259_299_999) == ["w"]
    assert timers.pop(900_000_000) == ["other"]
    assert timers.next_ms() is None
