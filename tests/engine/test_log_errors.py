"""A log that refuses or gives no answer, at every place where a daemon waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace

import pytest

from event_center.engine.home import Home
from event_center.engine.member import Member
from event_center.errors import (
    ConfigurationError,
    LogError,
    LogUnavailable,
    NotCommitted,
    RetryLater,
    Unknown,
)
from event_center.log.memory import Ending, MemoryLog
from event_center.log.partitioner import crc32
from event_center.log.port import Batch
from event_center.model import Shard
from event_center.wire.entries import snapshot_key
from tests.engine.machines import COUNTING
from tests.engine.script import HOLD, Script
from tests.engine.world import EVENTS, World

REFUSALS = [NotCommitted, LogUnavailable]


def world_with(work: Script | None = None, check: Script | None = None, shards: int = 1) -> World:
    """A world of the machine."""
    functions = {"work": work or Script(*["done"] * 10), "check": check or Script()}
    return World((COUNTING, functions), shards=shards)


def refuse(world: World, place: str, error: type[LogError], times: int = 3) -> deque[LogError]:
    """Let the next calls at a place fail."""
    errors: deque[LogError] = deque(error("asked for by a test") for _ in range(times))
    world.faults.troubles[place] = errors
    return errors


@pytest.mark.parametrize("error", [*REFUSALS, Unknown])
@pytest.mark.parametrize("place", ["join", "lease"])
async def test_a_member_joins_and_leases_once_the_log_lets_it(
    place: str, error: type[LogError]
) -> None:
    """P8: a log that refuses to write when a daemon starts delays it, and does not end it."""
    async with world_with() as world:
        await world.stop()
        errors = refuse(world, place, error)
        await world.start()
        world.send("w", "add")
        await world.idle()
        assert not errors
        assert world.snapshot("w").data["n"] == 1


@pytest.mark.parametrize("error", REFUSALS)
@pytest.mark.parametrize("place", ["topics", "restore", "restored", "open_gate"])
async def test_a_takeover_is_tried_again(place: str, error: type[LogError]) -> None:
    """P8: a takeover that the log did not let happen is begun anew, at any of its awaits."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        world.crash()
        errors = refuse(world, place, error)
        await world.start()
        world.send("w", "add")
        await world.idle()
        assert not errors
        assert world.snapshot("w").data["n"] == 2


@pytest.mark.parametrize("error", REFUSALS)
async def test_a_fetch_is_tried_again(error: type[LogError]) -> None:
    """P1, P8: a log that can not be read keeps its records for the next fetch."""
    async with world_with() as world:
        await world.idle()
        errors = refuse(world, "fetch", error)
        world.send("w", "add")
        await world.rest(5)
        await world.idle()
        assert not errors
        assert world.snapshot("w").data["n"] == 1


async def test_a_due_timer_fires_although_the_watermarks_could_not_be_read() -> None:
    """P7, P8: the timer is due until the log has told what it has to wait for."""
    async with world_with(Script()) as world:
        world.send("w", "go")
        await world.idle()
        errors = refuse(world, "watermarks", LogUnavailable)
        await world.leap(seconds=60)
        await world.rest(5)
        await world.idle()
        assert not errors
        assert world.state() == "idle"


async def test_a_group_that_can_not_be_left_does_not_fail_the_stop() -> None:
    """The last cut is durable by then: the process ends as it should."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        errors = refuse(world, "leave", NotCommitted, 1)
        await world.stop()
        await world.rest()
        assert not errors


@pytest.mark.parametrize("error", [*REFUSALS, Unknown])
async def test_a_lease_that_can_not_be_released_does_not_fail_the_stop(
    error: type[LogError],
) -> None:
    """P5, P8: the last cut is durable by then; the next owner fences the lease and goes on."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        errors = refuse(world, "release", error, 1)
        await world.stop()
        await world.rest()
        assert not errors
        await world.start()
        world.send("w", "add")
        await world.idle()
        assert world.snapshot("w").data["n"] == 2


@pytest.mark.parametrize("error", [*REFUSALS, Unknown])
async def test_a_stop_during_a_takeover_may_fail_to_release(error: type[LogError]) -> None:
    """A stop that comes while the log can not be read ends the process, released or not."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        world.crash()
        refuse(world, "open_gate", LogUnavailable, 1_000)
        errors = refuse(world, "release", error, 1)
        await world.start()
        await world.rest(1)
        await world.stop()
        await world.rest()
        assert not errors
        world.faults.troubles.clear()
        await world.start()
        await world.idle()
        assert world.snapshot("w").data["n"] == 1


async def test_a_stop_is_heard_while_the_group_can_not_be_joined() -> None:
    """A daemon that waits for its log to come back can be stopped."""
    async with world_with() as world:
        await world.stop()
        errors = refuse(world, "join", LogUnavailable, 1_000)
        await world.start()
        await world.rest(1)
        before = world.clock()
        await world.stop()
        await world.rest()
        assert world.clock() - before < 1_000
        assert errors
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert not [name for name in names if name.startswith(("shard", "intake"))]


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.NOT_COMMITTED])
async def test_a_log_that_takes_no_cut_is_not_asked_without_a_pause(ending: Ending) -> None:
    """Between two tries lie 50 ms and more, up to 5 s, whatever the log says."""
    async with world_with() as world:
        await world.idle()
        world.faults.commits.extend([ending] * 1_000)
        world.send("w", "add")
        await world.rest(60)
        assert 10 < 1_000 - len(world.faults.commits) < 25
        world.faults.commits.clear()
        await world.idle()
        world.faults.commits.append(ending)
        world.send("w", "add")
        before = world.clock()
        await world.idle()
        assert world.clock() - before < 1_000, "a settled cut makes the waits short again"


async def test_a_stop_ends_the_wait_for_the_next_takeover() -> None:
    """No takeover begins, and nobody waits, once the process is to stop."""
    async with world_with() as world:
        await world.idle()
        world.faults.commits.extend([Ending.LOST] * 1_000)
        world.send("w", "add")
        await world.rest(30)
        asked = len(world.faults.commits)
        before = world.clock()
        await world.stop()
        assert world.clock() - before < 100
        assert len(world.faults.commits) == asked
        world.faults.commits.clear()
        await world.start()
        await world.idle()
        assert world.snapshot("w").data["n"] == 1


async def test_a_drain_begins_nothing_more() -> None:
    """While a shard drains, what runs may end; what waits and what is owed is the next owner's."""
    work, check = Script(HOLD), Script(HOLD)
    async with world_with(work, check) as world:
        for event in ("go", "ask", "add"):
            world.send("w", event)
        for event in ("ask", "ask", "go"):
            world.send("v", event)
        await world.rest()
        assert (work.held, check.held) == (1, 1)

        async def let_go() -> None:
            await world.rest(1)
            work.let_go("done")
            check.let_go(None)

        world._tasks.start_soon(let_go)
        before = world.clock()
        await world.stop()
        assert world.clock() - before < 5_000, "nothing used up the grace time"
        assert (len(work.calls), len(check.calls)) == (1, 1)
        assert world.waiting() == 4
        work.steps.append("done")
        await world.start()
        await world.idle()
        assert world.waiting() == 0
        assert (len(work.calls), len(check.calls)) == (2, 3)
        assert [world.snapshot(one).data["n"] for one in "wv"] == [2, 2]


@pytest.mark.parametrize("value", [b"9t 1\n{}", b"1t\xff", b"1o\n", b"1w\n{"])
async def test_a_damaged_snapshot_stands_still_alone(value: bytes) -> None:
    """A workflow that can not be read stops nobody else: not at the start, not when it is due."""
    async with world_with(Script()) as world:
        world.send("w", "go")
        world.send("v", "go")
        await world.idle()
        await world.stop()
        world.audits = False
        store = world.broker.store(Shard(0))
        whole = store[snapshot_key("w")]
        world.damage(snapshot_key("w"), value)
        await world.start()
        await world.leap(seconds=61)
        await world.idle()
        assert world.state("v") == "idle"
        assert store[snapshot_key("w")] == value
        await world.stop()
        # As a newer release would have written it: the first line can be read, the rest can not.
        head, _, _ = whole.partition(b"\n")
        world.damage(snapshot_key("w"), head + b"\n{")
        await world.start()
        await world.leap(seconds=61)
        world.send("v", "add")
        await world.idle()
        assert world.snapshot("v").data["n"] == 1


async def test_a_damaged_workflow_between_two_attempts_keeps_nobody_waiting() -> None:
    """P8: it will make no attempt, so `run --until-idle` does not wait for one; who can, is waited for."""
    asked = 3600 * 24 * 365
    work = Script(RetryLater(asked), RetryLater(asked), "done")
    async with world_with(work) as world:
        world.send("w", "go")
        world.send("v", "go")
        await world.rest(1)
        await world.stop()
        world.audits = False
        store = world.broker.store(Shard(0))
        world.damage(snapshot_key("w"), store[snapshot_key("w")][:-7])
        await world.start()
        await world.rest(1)
        assert not await world.processes[0].owner(0).quiet()
        world.command("retry", "v")
        await world.idle()
        assert world.state("v") == "idle"
        world.send("w", "add")
        await world.idle()
        assert [letter.reason for letter in world.letters()] == ["unreadable_snapshot"]
        assert "shard 0 of the log in memory" in (world.letters()[0].message or "")


async def test_another_partitioner_is_refused() -> None:
    """P4: workflows live where the first partitioner put them; another would make them twice."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        await world.stop()
        plan = replace(world.plan, home=Home(crc32, 1))
        member = Member(MemoryLog(world.broker, clock=world.clock), plan)
        with pytest.RaisesGroup(
            pytest.RaisesExc(ConfigurationError, match="write partitioner = 'murmur2'"),
            flatten_subgroups=True,
        ):
            await member.run()


async def test_what_retention_has_removed_is_passed_over() -> None:
    """A batch without records moves the offset, so that lag, `--until-idle` and timers go on."""
    async with world_with() as world:
        world.audits = False
        await world.idle()
        owner = world.processes[0].owner(0)
        owner.take(Batch(Shard(0), owner.token, EVENTS, 0, [], 5, 5))
        assert owner.lag == 0
        await world.idle()
        assert world.entry().offsets[EVENTS] == 5
