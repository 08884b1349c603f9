"""Runs that end their process each time: counted, kept alone, parked; and the others go on."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from event_center.engine import quarantine
from event_center.engine.attempt import CRASHED
from event_center.engine.quarantine import ALONE_S, LONGEST_S, SUSPECT
from event_center.engine.starts import StartCounts
from event_center.log.memory import Ending
from event_center.model import Status
from event_center.plugins.context import Context
from tests.engine.script import HOLD, Script
from tests.engine.world import PROCESS, World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
data: {n: 0}
retries:
  default: {max_attempts: 3, interval: 1s, backoff_rate: 2}
on:
  tick: {assign: {n: =data.n + 1}}
states:
  idle: {on: {go: busy, build: building, ask: {target: asked, actions: look}}}
  busy: {entry: {do: work, timeout: 1h}, on: {done: idle, ask: {actions: look}}}
  building: {invoke: {do: make, timeout: 1h, on_done: idle}}
  asked: {}
"""
NAMES = ("work", "make", "look")


class Killer:
    """A callback that ends its process whenever it runs for one of these workflows."""

    world: World

    def __init__(
        self, *victims: str, after: Any = None, kills_s: float = 0.05, lasts_s: float = 1.05
    ) -> None:
        self.victims = set(victims)
        self.after = after
        self.kills_s, self.lasts_s = kills_s, lasts_s
        """How long it takes to end its process, and to end where it does not."""
        self.under_way: set[str] = set()
        self.beside: list[frozenset[str]] = []
        """What was under way whenever it killed."""
        self.calls: Counter[str] = Counter()

    async def __call__(self, ctx: Context) -> Any:
        self.calls[ctx.workflow_id] += 1
        self.under_way.add(ctx.workflow_id)
        try:
            if ctx.workflow_id in self.victims:
                await self.world.rest(self.kills_s)
                self.beside.append(frozenset(self.under_way - {ctx.workflow_id}))
                process = PROCESS.get()
                self.world.processes.remove(process)
                process.crash()
                await self.world.rest(36_000)
            await self.world.rest(self.lasts_s)
        finally:
            self.under_way.discard(ctx.workflow_id)
        return self.after


def world_with(**functions: Any) -> World:
    """A world of the machine; callbacks that are not named return nothing."""
    world = World((MACHINE, {name: functions.get(name, Script()) for name in NAMES}))
    for function in functions.values():
        if isinstance(function, Killer):
            function.world = world
    return world


async def live_on(world: World, most: int = 3 * CRASHED, step_s: float = 0.02) -> int:
    """Start the center again whenever it has died, until all is quiet; returns how often that was."""
    deaths = 0
    while not (world.processes and await world._quiet()):
        await world.rest(step_s)
        if not world.processes:
            deaths += 1
            if deaths == most:
                break
            await world.start()
    return deaths


async def test_what_ends_its_process_is_parked_alone() -> None:
    """P8: after so many takeovers it is parked (crashed); the other workflows of its shard are done."""
    work = Killer("bad", after="done")
    async with world_with(work=work) as world:
        await world.idle()
        for name in ("a", "bad", "b"):
            world.send(name, "go")
            world.send(name, "tick")
        assert await live_on(world) == CRASHED
        bad = world.snapshot("bad")
        assert (bad.status, bad.parked, bad.owed[0].starts) == (Status.PARKED, "crashed", CRASHED)
        assert work.calls["bad"] == CRASHED
        assert world.runs("bad") == ["work 1 crashed"]
        assert bad.failure is not None
        assert bad.failure.type == "Crashed"
        for name in ("a", "b"):
            assert (world.state(name), world.snapshot(name).data) == ("idle", {"n": 1})
        # Not begun at the takeovers at which only the suspects had their turn.
        assert work.calls["a"] == SUSPECT + 1
        assert world.waiting() == 1


async def test_a_suspect_runs_alone() -> None:
    """From the third takeover on nothing else runs beside it; those that only were there are done."""
    work = Killer("bad", after="done")
    async with world_with(work=work) as world:
        await world.idle()
        for name in ("a", "bad", "b"):
            world.send(name, "go")
        await live_on(world)
        together, alone = work.beside[:SUSPECT], work.beside[SUSPECT:]
        assert together == [{"a", "b"}] * SUSPECT
        assert alone == [frozenset()] * (CRASHED - SUSPECT)


async def test_without_the_count_it_ends_its_process_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: nothing is counted, so nobody is parked, and the others are never done either."""
    monkeypatch.setattr(StartCounts, "of", lambda self, run: 1)
    work = Killer("bad", after="done")
    async with world_with(work=work) as world:
        await world.idle()
        world.send("a", "go")
        world.send("bad", "go")
        assert await live_on(world) == 3 * CRASHED == work.calls["bad"]
        assert world.state("a") == "busy"


async def test_a_job_that_ends_its_process_is_parked() -> None:
    """A job is counted as an entry callback is; its workflow is parked, and `skip` gives it up."""
    make = Killer("bad")
    async with world_with(make=make) as world:
        await world.idle()
        for name in ("a", "bad"):
            world.send(name, "build")
        assert await live_on(world) == CRASHED
        bad = world.snapshot("bad")
        assert (bad.parked, bad.jobs[0].starts) == ("crashed", CRASHED)
        assert world.state("a") == "idle"
        world.command("skip", "bad")
        await world.idle()
        assert (world.snapshot("bad").status, world.snapshot("bad").jobs) == (Status.ACTIVE, ())


async def test_a_decide_callback_that_ends_its_process_is_parked() -> None:
    """Its event is a waiting entry, and its workflow counts; `retry` begins anew, `skip` discards it."""
    look = Killer("bad", "worse")
    async with world_with(look=look) as world:
        await world.idle()
        for name in ("a", "bad", "worse"):
            world.send(name, "ask")
            world.send(name, "tick")
        await live_on(world)
        for name in ("bad", "worse"):
            snapshot = world.snapshot(name)
            assert (snapshot.state, snapshot.parked) == ("idle", "crashed")
            assert snapshot.deciding_starts == CRASHED
        assert (world.state("a"), world.snapshot("a").data) == ("asked", {"n": 1})
        look.victims.clear()
        world.command("retry", "bad")
        world.command("skip", "worse")
        await world.idle()
        assert (world.state("bad"), world.state("worse")) == ("asked", "idle")
        assert world.snapshot("bad").deciding_starts == 0
        assert world.snapshot("worse").data == {"n": 1}
        assert "ask discarded(by_operator)" in world.outcomes("worse")


async def test_retry_of_what_has_crashed_begins_anew() -> None:
    """It has as many takeovers again, and that it may have happened is not forgotten."""
    work = Killer("bad", after="done")
    async with world_with(work=work) as world:
        await world.idle()
        world.send("bad", "go")
        await live_on(world)
        world.command("retry", "bad")
        assert await live_on(world) == CRASHED - 1
        assert world.snapshot("bad").parked == "crashed"
        work.victims.clear()
        world.command("retry", "bad")
        await world.idle()
        assert world.state("bad") == "idle"


async def test_a_clean_release_takes_its_count_back() -> None:
    """However often a center is stopped and started, nothing is taken for what ends its process."""
    async with world_with(work=Script(*[HOLD] * 60), look=Script(*[HOLD] * 60)) as world:
        await world.idle()
        world.send("w", "go")
        world.send("v", "ask")
        await world.rest(1)
        for _ in range(CRASHED + 2):
            await world.stop()
            await world.start()
            await world.served()
            await world.rest(1)
            assert world.snapshot("w").owed[0].starts == 1
            assert world.snapshot("v").deciding_starts == 1
        await world.stop()
        assert world.snapshot("w").owed[0].starts == 0
        assert world.snapshot("v").deciding_starts == 0
        await world.start()
        await world.served()


async def test_takeovers_of_a_process_that_lives_do_not_count() -> None:
    """A log that does not say how cuts end makes nobody a suspect: the process has not ended."""
    work = Script(*[HOLD] * 60)
    async with world_with(work=work) as world:
        await world.idle()
        world.send("w", "go")
        await world.rest(1)
        for _ in range(CRASHED + 2):
            world.faults.commits.append(Ending.WRITTEN)
            world.send("other", "tick")
            await world.rest(ALONE_S + 5)
        assert len(work.calls) > CRASHED
        assert world.snapshot("w").owed[0].starts == 1
        work.let_go("done")
        await world.rest(1)


async def test_the_end_of_an_attempt_takes_the_count_back() -> None:
    """A run that failed, on record, was not what ended the process."""
    work = Script(HOLD, HOLD, ConnectionError("nobody answers"), "done")
    async with world_with(work=work) as world:
        await world.idle()
        world.send("w", "go")
        await world.rest(0.2)
        await world.crash_and_recover()
        await world.rest(0.2)
        assert world.snapshot("w").owed[0].starts == 1
        await world.crash_and_recover()
        await world.rest(0.2)
        owed = world.snapshot("w").owed[0]
        assert (owed.attempt, owed.starts) == (1, 0)
        await world.idle()
        assert world.state() == "idle"


async def test_others_do_not_wait_for_ever_for_a_suspect_that_lasts() -> None:
    """It is alone for ten seconds at most; then the others begin beside it."""
    work = Script(*[HOLD] * 60)
    async with world_with(work=work) as world:
        await world.idle()
        world.send("w", "go")
        for _ in range(SUSPECT):
            await world.rest(0.5)
            await world.crash_and_recover()
        world.send("v", "go")
        world.send("v", "tick")
        await world.rest(ALONE_S / 2)
        assert [ctx.workflow_id for ctx in work.calls] == ["w"] * (SUSPECT + 1)
        assert world.state("v") == "busy"
        await world.rest(ALONE_S)
        assert work.calls[-1].workflow_id == "v"
        for _ in range(work.held):
            work.let_go("done")
        await world.idle()


async def test_a_suspect_that_is_skipped_keeps_nobody_waiting() -> None:
    """Given up in its turn or before it: the next one has its turn, and the others follow."""
    work = Script(*[HOLD] * 60)
    async with world_with(work=work) as world:
        await world.idle()
        for name in ("a", "b", "c"):
            world.send(name, "go")
        for _ in range(SUSPECT):
            await world.rest(0.5)
            await world.crash_and_recover()
        world.send("d", "go")
        await world.rest(0.5)
        (alone,) = {ctx.workflow_id for ctx in work.calls[3 * SUSPECT :]}
        rest = sorted({"a", "b", "c"} - {alone})
        world.command("skip", rest[0])
        world.command("skip", alone)
        await world.rest(0.5)
        assert work.calls[-1].workflow_id == rest[1]
        world.command("pause", rest[1])
        world.command("skip", rest[1])
        await world.rest(0.5)
        assert work.calls[-1].workflow_id == "d"
        work.let_go("done")
        await world.idle()


async def test_a_stop_amid_suspects_is_clean() -> None:
    """What is held at the doors stays owed, and the next owner begins it."""
    work = Script(*[HOLD] * 60)
    async with world_with(work=work) as world:
        await world.idle()
        for name in ("a", "b"):
            world.send(name, "go")
        for _ in range(SUSPECT):
            await world.rest(0.5)
            await world.crash_and_recover()
        world.send("d", "go")
        await world.rest(0.5)
        await world.stop()
        assert [world.snapshot(name).owed[0].starts for name in "abd"] == [2, 2, 0]
        work.steps.clear()
        await world.start()
        await world.served()
        await world.idle()
        assert not any(world.snapshot(name).owed for name in "abd")


@pytest.mark.parametrize(("bad", "kills_s"), [("a0", 15.0), ("a2", 100.0), ("a4", 500.0)])
async def test_what_ends_its_process_late_is_told_from_what_lasts(bad: str, kills_s: float) -> None:
    """However long it runs before, beside jobs that last as long: it is parked, and they are done."""
    make = Killer(bad, kills_s=kills_s, lasts_s=3_000)
    work = Killer(after="done", lasts_s=5)
    async with world_with(make=make, work=work) as world:
        await world.idle()
        for number in range(5):
            world.send(f"a{number}", "build")
        for _ in range(30):
            world.send("short", "go")
        await live_on(world, step_s=1.0)
        assert world.snapshot(bad).parked == "crashed"
        for number in range(5):
            if f"a{number}" != bad:
                assert world.snapshot(f"a{number}").parked is None
                assert world.state(f"a{number}") == "idle"
        assert world.state("short") == "idle"


async def test_if_nobody_has_to_be_told_apart_all_that_last_are_parked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: ten takeovers are enough for whoever has met them, so that innocent ones stop as well."""
    monkeypatch.setattr(quarantine, "HOPELESS", CRASHED)
    make = Killer("a4", kills_s=100, lasts_s=3_000)
    async with world_with(make=make) as world:
        await world.idle()
        for number in range(5):
            world.send(f"a{number}", "build")
        await live_on(world, step_s=1.0)
        assert sum(world.snapshot(f"a{number}").parked == "crashed" for number in range(5)) > 1


async def test_many_suspects_keep_nobody_waiting_for_long() -> None:
    """What is no suspect begins after ten seconds, however many of them there are."""
    make, work = Script(*[HOLD] * 2_000), Script(*["done"] * 9)
    async with world_with(make=make, work=work) as world:
        await world.idle()
        for number in range(100):
            world.send(f"a{number}", "build")
        for _ in range(SUSPECT):
            await world.rest(1)
            await world.crash_and_recover()
        world.send("w", "go")
        await world.rest(ALONE_S / 2)
        assert world.state("w") == "busy"
        assert [one.limit for one in world.processes[0].member.reached()] == ["callbacks"]
        await world.rest(ALONE_S / 2 + 1)
        assert world.state("w") == "idle"
        await world.rest(8 * ALONE_S)
        assert len(make.calls) == 100 * (SUSPECT + 1)
        assert world.processes[0].member.reached() == []


async def test_a_group_has_an_hour_at_most() -> None:
    """However often they were counted: who waits behind a job that lasts for a day begins after that."""
    make = Script(*[HOLD] * 2_000)
    machine = MACHINE.replace("{do: make, timeout: 1h", "{do: make, timeout: 24h")
    async with World((machine, {"work": Script(), "make": make, "look": Script()})) as world:
        await world.idle()
        for name in "ab":
            world.send(name, "build")
        for number in range(12):
            await world.rest(min(ALONE_S * 2.0**number, LONGEST_S) + 5)  # so that both have begun
            await world.crash_and_recover()
        await world.rest(1)
        begun = len(make.calls)
        await world.rest(LONGEST_S - 60)
        assert len(make.calls) == begun
        await world.rest(60)
        assert len(make.calls) == begun + 1
