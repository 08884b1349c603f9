"""Finished workflows that go when their time is over, and workflows that an operator forgets."""

from __future__ import annotations

import pytest

from event_center.engine.plan import EngineLimits
from event_center.engine.removal import Removal
from event_center.errors import PermanentError
from event_center.failpoint import Step
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: new
on_failure: dead_letter
states:
  new:
    on: {go: busy, end: over, ask: {target: over, before: check}}
    after: {24h: over}
  busy:
    entry: work
    on: {end: over}
  over:
    type: final
    entry: last
"""
HOUR_MS = 3_600_000


def world_with(
    last: Script | None = None, keep_ms: int | None = HOUR_MS, **scripts: Script
) -> World:
    """A world of the machine that keeps finished workflows for an hour."""
    functions = {name: scripts.get(name, Script()) for name in ("work", "check")}
    limits = EngineLimits(keep_finished_ms=keep_ms)
    return World((MACHINE, functions | {"last": last or Script()}), limits=limits)


async def test_a_finished_workflow_goes_when_its_time_is_over() -> None:
    """Its late events are refused until then; a later one makes another workflow of the same id."""
    async with world_with() as world:
        world.send("w", "end")
        await world.idle()
        await world.leap(seconds=3_590)
        world.send("w", "end")
        await world.idle()
        assert world.outcomes("w")[-1] == "end rejected(finished)"
        await world.leap(seconds=20)
        assert not world.exists("w")
        assert sum(world.entry().counts.values()) == 0
        [told] = world.history("w", "removed")
        assert (told["reason"], told["state"]) == ("retention", "over")
        world.send("w", "go")
        await world.idle()
        assert (world.state(), world.snapshot("w").seq) == ("busy", 1)


@pytest.mark.parametrize("again", [True, False])
async def test_a_timer_of_an_earlier_state_does_not_keep_it(
    again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What was armed before its end is looked at first; when it goes is to be known again then.

    The twin, which does not look for that, keeps it for ever.
    """
    async with world_with(keep_ms=48 * HOUR_MS) as world:
        world.send("w", "go")
        await world.idle()
        world.send("w", "end")
        await world.idle()
        if not again:
            monkeypatch.setattr(Removal, "again", lambda *_: None)
        await world.leap(hours=25)
        assert world.exists("w")
        await world.leap(hours=24)
        assert world.exists("w") is not again


@pytest.mark.parametrize("crash", [False, True])
async def test_time_counts_from_when_all_of_it_is_over(crash: bool) -> None:
    """A run that a final state owes keeps the workflow; its hour begins when that is done."""
    last = Script(HOLD)
    async with world_with(last) as world:
        world.send("w", "end")
        await world.rest()
        await world.leap(hours=2)
        assert world.exists("w")
        last.let_go()
        await world.idle()
        await world.leap(seconds=3_000)
        if crash:
            await world.crash_and_recover()
        assert world.exists("w")
        await world.leap(seconds=700)
        assert not world.exists("w")


async def test_an_open_letter_keeps_its_workflow() -> None:
    """What can still be replayed needs its workflow: its time begins with the last letter's end."""
    check = Script(PermanentError("no"))
    async with world_with(check=check) as world:
        world.send("w", "ask")
        await world.idle()
        world.command("set-state", "w", state="over", reason="enough")
        await world.idle()
        await world.leap(hours=2)
        assert world.exists("w")
        world.command("discard", "w", number=0, reason="enough")
        await world.idle()
        await world.leap(hours=2)
        assert not world.exists("w")


async def test_one_that_is_set_into_a_state_again_stays() -> None:
    """Its time as a finished one counts no more."""
    async with world_with() as world:
        world.send("w", "end")
        await world.idle()
        world.command("set-state", "w", state="busy", reason="not yet")
        await world.idle()
        await world.leap(hours=2)
        assert world.state() == "busy"


async def test_for_ever() -> None:
    """Without a limit nothing goes."""
    async with world_with(keep_ms=None) as world:
        world.send("w", "end")
        await world.idle()
        await world.leap(hours=100_000)
        assert world.exists("w")


async def test_a_new_limit_counts_for_those_that_finished_before_it() -> None:
    """Snapshots say since when all is over, and not until when they stay."""
    async with world_with(keep_ms=None) as world:
        world.send("w", "end")
        await world.idle()
        world._options["limits"] = EngineLimits(keep_finished_ms=HOUR_MS, warm=2)
        world.redefine((MACHINE, {name: Script() for name in ("work", "check", "last")}))
        await world.crash_and_recover()
        assert world.exists("w")
        await world.leap(hours=2)
        assert not world.exists("w")


async def test_an_event_that_was_published_in_time_finds_its_workflow() -> None:
    """A daemon that was away refuses it as finished, and removes the workflow after that."""
    async with world_with() as world:
        world.send("w", "end")
        await world.idle()
        world.crash()
        world.send("w", "go")
        await world.leap(hours=2)
        await world.start()
        await world.served()
        await world.leap(seconds=1)
        assert world.outcomes("w")[-1] == "go rejected(finished)"
        assert not world.exists("w")


@pytest.mark.parametrize("step", [Step.CUT_TAKEN_IN, Step.CUT_BUILT, Step.LOG_WRITTEN])
async def test_a_crash_in_the_cut_that_removes(step: Step) -> None:
    """It is removed once, by whoever makes the cut that says so."""
    async with world_with() as world:
        world.send("w", "end")
        await world.idle()
        world.die_at = step
        await world.leap(hours=2)
        await world.start()
        await world.served()
        await world.leap(seconds=1)
        assert not world.exists("w")
        assert len(world.history("w", "removed")) == 1


async def test_forget_ends_all_of_it() -> None:
    """The run under way, what it owes and what waits have their end on record; then it is gone."""
    work = Script(HOLD)
    async with world_with(work=work) as world:
        world.send("w", "go")
        world.send("w", "end")
        await world.rest()
        world.command("forget", "w", reason="made by mistake")
        await world.rest()
        assert not world.exists("w")
        assert world.runs() == ["work 0 given_up"]
        assert world.outcomes("w")[-2:] == ["end discarded(by_operator)", "@forget applied"]
        assert world.history("w")[-1]["reason"] == "forgotten"
        world.command("forget", "w", reason="again")
        await world.idle()
        assert world.history("w")[-1]["reason"] == "unknown_workflow"
        world.send("w", "end")
        await world.idle()
        assert world.state() == "over"


async def test_forget_needs_a_reason() -> None:
    """Nothing is removed without a record of why."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        world.command("forget", "w")
        await world.idle()
        assert world.history("w")[-1]["detail"] == "forget needs a reason"
        assert world.exists("w")


async def test_forgotten_while_its_cut_is_written() -> None:
    """What a cut under way has promised to run does not run for a workflow that is gone."""
    work = Script()
    async with world_with(work=work) as world:
        world.send("w", "go")
        world.command("forget", "w", reason="made by mistake")
        await world.idle()
        calls = len(work.calls)
        await world.crash_and_recover()
        await world.idle()
        assert len(work.calls) == calls
        assert not world.exists("w") or world.history("w")[-1]["kind"] != "removed"


LONG = resting("""
data: {n: 0}
on: {tick: {assign: {n: =data.n + 1}}}
states:
  idle: {on: {go: busy}}
  busy: {entry: work, on: {done: calm}}
  calm: {}
""")


async def test_a_new_workflow_is_not_advanced_as_the_forgotten_one() -> None:
    """One with more events than a row goes on after the cut: unless its id is another's by then."""
    work = Script(HOLD, HOLD)
    async with World((LONG, {"work": work})) as world:

        async def forgotten_meanwhile(place: str) -> None:
            parts = world.processes[0].owner(0)._parts
            if place == "commit.written" and parts is not None and parts.turn.again:
                world.faults.on_await = None
                world.command("forget", "w", reason="made by mistake")
                world.send("w", "go")
                for _ in range(5):
                    world.send("w", "tick")
                await world.rest(0.5)

        world.send("w", "go")
        for _ in range(700):
            world.send("w", "tick")
        await world.rest(1)
        world.faults.on_await = forgotten_meanwhile
        work.let_go("done")
        await world.rest(5)
        assert world.faults.on_await is None
        [end] = [n for n, told in enumerate(world.history("w")) if told["kind"] == "removed"]
        ticks = [told for told in world.history("w")[end:] if told.get("event") == "tick"]
        assert [told["seq"] for told in ticks] == []
        work.let_go()
        await world.idle()
        assert world.snapshot("w").data["n"] == 5
