"""Cuts that fail, takeovers, and processes that die at every numbered step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.failpoint import Step
from event_center.log.memory import Ending
from event_center.plugins.context import Context
from tests.engine.machines import COUNTING
from tests.engine.script import HOLD, Script
from tests.engine.world import EVENTS, OWN, Functions, World


def world_with(work: Script | None = None, check: Script | None = None, shards: int = 1) -> World:
    """A world of the machine; `work` returns `done` ten times by default."""
    functions = {"work": work or Script(*["done"] * 10), "check": check or Script()}
    return World((COUNTING, functions), shards=shards)


def traffic(world: World, count: int = 12) -> None:
    """Some events of every kind for a handful of workflows."""
    for number in range(count):
        world.send(f"w{number % 4}", ("add", "go", "ask")[number % 3])


async def test_a_cut_that_was_not_committed_is_tried_again_as_it_is() -> None:
    """NotCommitted is certain: the lease stands, the same cut goes in later, nothing is lost."""
    async with world_with() as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 3)
        world.send("w", "add")
        await world.rest(0.1)
        world.send("w", "add")
        await world.rest(0.1)
        assert not world.exists("w")
        await world.idle()
        assert world.snapshot("w").data["n"] == 2
        epochs = {cut.epoch for cut in world.broker.cuts}
        assert epochs == {1}


@pytest.mark.parametrize("ending", [one for one in Ending if one is not Ending.NOT_COMMITTED])
async def test_an_unknown_cut_is_never_retried_but_read_back(ending: Ending) -> None:
    """P2: the shard is taken over again and the log says what is true; every event counts once."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        world.faults.commits.append(ending)
        world.send("w", "go")
        world.send("w", "add")
        await world.idle()
        assert world.snapshot("w").data["n"] == 2
        assert world.state() == "idle"
        assert world.broker.cuts[-1].epoch > 1


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.WRITTEN_LATER])
async def test_unknown_endings_in_a_row_end_when_the_faults_do(ending: Ending) -> None:
    """P8: any number of failed cuts delays, and changes nothing in the end."""
    async with world_with() as world:
        world.faults.commits.extend([ending] * 5)
        traffic(world)
        await world.idle()
        assert world.entry().read == 12
        assert sum(world.entry().waiting.values()) == 0


async def test_a_fenced_owner_discards_everything() -> None:
    """P6: whoever is fenced writes nothing, cancels what runs, and does not stop the process."""
    work = Script(HOLD, "done")
    async with world_with(work) as world:
        world.send("w", "go")
        await world.rest()
        world.processes[0].log.expel()
        await world.start()
        await world.rest(3)
        assert work.cancelled == 1
        assert not world.processes[0].member.owners
        await world.rest()
        assert world.state() == "idle"
        world.processes[0].log.readmit()
        world.send("w", "add")
        await world.idle()
        assert world.snapshot("w").data["n"] == 1


async def test_a_lost_shard_with_a_cut_under_way_and_timers_due_harms_nobody() -> None:
    """P6: what a former owner still has in memory moves nothing: no cut, no timer, no callback."""
    check = Script()
    async with world_with(Script(), check) as world:
        world.send("w", "go")
        await world.idle()
        zombie = world.processes[0]
        zombie.log.expel()
        other = await world.start()
        await world.served()
        lease: Any = other.owner(0)._lease
        await world.leap(1)
        await world.idle()
        assert len(world.history("w", "timer")) == 1
        assert world.broker.cuts[-1].epoch == lease.epoch
        zombie.log.readmit()
        await world.rest(5)
        world.send("w", "ask")
        await world.idle()
        assert len(check.calls) == 1


async def test_after_a_lost_shard_nothing_of_its_owner_is_left() -> None:
    """The asyncio tasks of an abandoned ownership end; callbacks under way are cancelled."""
    check = Script(HOLD)
    async with world_with(Script(HOLD), check) as world:
        world.send("w", "go")
        world.send("v", "ask")
        await world.rest()
        world.processes[0].log.expel()
        await world.rest()
        assert (check.held, check.cancelled) == (0, 1)
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert not [name for name in names if name.startswith(("shard", "timekeeper"))]


@pytest.mark.parametrize("place", ["lease", "restore", "restored", "open_gate"])
async def test_a_shard_that_is_lost_during_its_takeover(place: str) -> None:
    """Lost at any await of a takeover: the process forgets the shard and lives on."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        await world.stop()

        async def expel(at: str) -> None:
            if at == place:
                world.faults.on_await = None
                world.processes[0].log.expel()
                await world.rest(0.5)

        world.faults.on_await = expel
        await world.start()
        await world.rest(3)
        assert not world.processes[0].member.owners
        world.processes[0].log.readmit()
        world.send("w", "add")
        await world.idle()
        assert world.snapshot("w").data["n"] == 2


async def test_a_zombie_that_commits_late_is_fenced() -> None:
    """P6: a process that was thought dead can not write after its successor has leased."""
    async with world_with() as world:
        world.send("w", "add")
        await world.idle()
        zombie = world.processes.pop(0)
        zombie.log.crash()
        await world.start()
        await world.served()
        parts = zombie.member.owners[world.home("w")]._parts
        assert parts is not None
        parts.ledger.repeated(0)
        parts.ledger.wake()
        world.send("w", "add")
        await world.rest(5)
        await world.idle()
        assert world.snapshot("w").data["n"] == 2
        zombie.crash()


@pytest.mark.parametrize("shards", [2, 5])
async def test_shards_move_to_a_second_process_in_the_middle_of_runs(shards: int) -> None:
    """A rebalance owes what runs: it happens again at the new owner, with the same key."""
    work = Script(*[HOLD] * 10)
    async with world_with(work, shards=shards) as world:
        for number in range(10):
            world.send(f"w{number}", "go")
            world.send(f"w{number}", "add")
        await world.rest()
        assert work.held == 10
        work.steps.extend(["done"] * 10)
        await world.start()
        await world.served()
        await world.rest()
        first, second = (process.member.owners for process in world.processes)
        assert first
        assert second
        while work.held:
            work.let_go("done")
        await world.idle()
        assert sum(world.snapshot(f"w{n}").data["n"] for n in range(10)) == 10
        assert len(work.calls) == 10 + work.cancelled
        assert len(set(work.keys)) == 10
        await world.stop()
        traffic(world)
        await world.idle()
        assert len(world.processes[0].member.owners) == shards


async def test_members_come_and_go_while_events_flow() -> None:
    """P1, P2: nothing is lost or doubled by rebalances, crashes and stops in the middle of traffic."""
    async with world_with(Script(*["done"] * 1000), shards=4) as world:
        for number in range(8):
            traffic(world, 30)
            await world.rest(0.013)
            if number % 4 == 1:
                world.crash()
            elif number % 4 == 3:
                await world.stop()
            await world.start()
            await world.rest(0.01)
        await world.idle()
        assert sum(world.entry(shard).read for shard in range(4)) == 240


async def test_a_graceful_stop_waits_for_what_runs_and_takes_no_more_in() -> None:
    """The result of the run is in the last cut; what is published meanwhile is the next owner's."""
    work = Script(HOLD)
    async with world_with(work) as world:
        world.send("w", "go")
        await world.rest()
        stopping = world.processes[0]

        async def let_go() -> None:
            await world.rest(5)
            world.send("w", "add")
            await world.rest(1)
            work.let_go("done")

        world._tasks.start_soon(let_go)
        await world.stop()
        assert work.cancelled == 0
        assert world.state() == "idle"
        assert world.entry().offsets[EVENTS] == 1
        runners = stopping.member._runners
        assert runners is not None
        assert not runners._under_way
        await world.start()
        await world.idle()
        assert world.snapshot("w").data["n"] == 1


async def test_a_stop_under_full_load_leaves_nothing_to_redo() -> None:
    """With every runner busy and more waiting, it ends once these runs have; no callback runs again."""
    called: Counter[str] = Counter()

    async def work(ctx: Context) -> str:
        called[ctx.idempotency_key] += 1
        await world.rest(1.0 + called.total() % 7 / 10)
        return "done"

    functions: Functions = {"work": work, "check": Script()}
    world = World((COUNTING, functions), limits=EngineLimits(callbacks=50, mailbox=200))
    async with world:
        for number in range(500):
            world.send(f"w{number}", "go")
            world.send(f"w{number}", "add")
        await world.rest(2.5)
        before, ended = world.clock(), called.total()
        assert 50 < ended < 300
        await world.stop()
        assert world.clock() - before < 3_000
        assert called.total() == ended
        await world.start()
        await world.idle()
        assert len(called) == called.total() == 500
        assert all(world.snapshot(f"w{number}").data["n"] == 1 for number in range(500))


async def test_a_graceful_stop_owes_what_does_not_end_in_time() -> None:
    """After the grace time the callback is cancelled; its run is owed, with no attempt used."""
    work = Script(HOLD, HOLD)
    async with world_with(work) as world:
        world.send("w", "go")
        await world.rest()
        before = world.clock()
        await world.stop()
        assert 19_000 < world.clock() - before < 22_000
        assert work.cancelled == 1
        await world.start()
        await world.rest()
        assert work.attempts == [1, 1]
        assert len(set(work.keys)) == 1


async def test_a_stop_ends_although_the_log_takes_no_cut() -> None:
    """A log that refuses every cut can not keep the process alive beyond the grace time."""
    async with world_with() as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 1000)
        world.send("w", "add")
        await world.rest()
        before = world.clock()
        await world.stop()
        assert world.clock() - before < 30_000
        world.faults.commits.clear()
        await world.start()
        await world.idle()
        assert world.snapshot("w").data["n"] == 1


def deaths() -> Iterator[tuple[Step, int]]:
    """Every step, and how often it is passed before the process dies there."""
    for step in Step:
        for passed in (0, 2):
            if passed == 0 or not step.startswith("takeover"):
                yield step, passed


@pytest.mark.parametrize(("step", "passed"), list(deaths()))
async def test_death_at_every_step(step: Step, passed: int) -> None:
    """P1 to P5: wherever a process dies, the next one finds every record once and every run owed."""
    work, check = Script(*["done"] * 50), Script()
    async with world_with(work, check) as world:
        await world.idle()
        if step.startswith("takeover"):
            traffic(world)
            world.crash()
            world.die_at = step
            await world.start()
            await world.rest()
        else:
            for _ in range(passed):
                traffic(world, 6)
                await world.idle()
            world.die_at = step
            traffic(world)
            await world.rest(2)
        assert world.die_at is None, "the step was never reached"
        await world.start()
        await world.idle()
        entry = world.entry()
        assert entry.read == 12 + 6 * passed
        assert sum(entry.waiting.values()) == 0
        added = [told["event"] for told in world.history() if told.get("outcome") == "applied"]
        total = sum(world.snapshot(f"w{number}").data["n"] for number in range(4))
        assert total == added.count("add") + added.count("ask")


async def test_counters_and_history_may_be_without_refusals() -> None:
    """`history = transitions`: refusals are counted and kept in the snapshot, but not told."""
    world = World((COUNTING, {"work": Script(), "check": Script()}), every_outcome=False)
    world.audits = False
    async with world:
        world.send("w", "add")
        world.send("w", "done")
        world.send("nobody", "done")
        await world.idle()
        assert [told["kind"] for told in world.history()] == ["created", "applied"]
        assert world.entry().outcomes["rejected"] == 2
        assert len(world.records(OWN.history)) == 2
