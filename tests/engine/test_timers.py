"""Timers: once per state entry, after what the log held by then, and never lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from event_center.errors import PermanentError, RetryLater
from event_center.log.memory import Ending
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
data: {beats: 0, seen: 0}
states:
  idle: {on: {go: watched, work: busy, beat: beating, slow: shy, weigh: picky}}
  watched:
    on: {tick: {assign: {seen: =data.seen + 1}}, leave: idle, again: {target: watched, reenter: true}}
    after: {24h: late}
  busy:
    entry: {do: run, retry: {max_attempts: 5, interval: 1h, max_delay: 1h, backoff_rate: 1}}
    on: {tick: {}, done: idle}
    after:
      10m: {assign: {beats: =data.beats + 1}, repeat: true}
      24h: late
  beating:
    on: {leave: idle, tick: {}}
    after: {1h: {assign: {beats: =data.beats + 1}, repeat: true}}
  shy: {on: {leave: idle, tick: {}}, after: {1h: {target: late, before: ask}}}
  picky: {on: {leave: idle, tick: {}}, after: {1h: {target: late, guard: =data.seen > 0}}}
  late: {on: {back: idle, tick: {}}}
"""


def world_with(run: Script | None = None, ask: Script | None = None, shards: int = 1) -> World:
    """A world of the machine."""
    return World((MACHINE, {"run": run or Script(), "ask": ask or Script()}), shards=shards)


def fired(world: World) -> list[str]:
    """The names of all timers that fired, as history tells it."""
    return [told["event"] for told in world.history("w", "timer")]


@pytest.mark.parametrize("steady", [False, True])
async def test_a_step_of_the_clock_is_seen_by_who_looks(steady: bool) -> None:
    """A timer fires when the clock steps over it; its twin takes the clock for steady, and sleeps."""
    world = world_with()
    world.plan = replace(world.plan, steady=steady)
    async with world:
        world.send("w", "go")
        await world.idle()
        await world.leap(25)
        assert fired(world) == ["@after/24h"] * (not steady)


async def test_a_timer_fires_once_when_it_is_due() -> None:
    """P7: not a moment early, and once."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        await world.leap(23.9)
        assert world.state() == "watched"
        await world.leap(0.2)
        assert world.state() == "late"
        await world.leap(24 * 7)
        assert fired(world) == ["@after/24h"]
        assert world.entry().timers == 1
        assert world.snapshot("w").timers == ()
        [told] = world.history("w", "timer")
        assert (told["from"], told["to"], told["seq"]) == ("watched", "late", 2)


async def test_a_timer_is_exact_to_the_moment() -> None:
    """The timekeeper wakes when the timer is due, and not a second later."""
    text = MACHINE.replace("24h: late", "1500ms: late")
    async with World((text, {"run": Script(), "ask": Script()})) as world:
        world.send("w", "go")
        await world.rest(1.45)
        assert world.state() == "watched"
        await world.rest(0.1)
        assert world.state() == "late"


async def test_a_timer_of_a_state_that_was_left_is_stale() -> None:
    """Leaving and entering a state again, or re-entering it, begins its time anew."""
    async with world_with() as world:
        for event in ("go", "leave", "go"):
            world.send("w", event)
        await world.idle()
        await world.leap(23)
        world.send("w", "again")
        await world.idle()
        await world.leap(23)
        assert fired(world) == []
        await world.leap(1.1)
        assert fired(world) == ["@after/24h"]


async def test_a_timer_survives_a_restart_and_fires_at_its_time() -> None:
    """A due time is absolute: it passes while nobody runs, and the next owner sees it."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        world.crash()
        await world.leap(25)
        await world.start()
        await world.served()
        await world.idle()
        assert fired(world) == ["@after/24h"]
        await world.crash_and_recover()
        await world.leap(30)
        assert fired(world) == ["@after/24h"]


async def test_a_repeating_timer_fires_once_for_all_periods_that_were_missed() -> None:
    """Once per period; those missed while nobody ran fire once, and the rhythm is kept."""
    async with world_with() as world:
        world.send("w", "beat")
        await world.idle()
        begun = world.snapshot("w").entered_at_ms
        await world.leap(1.1)
        await world.leap(1)
        assert world.snapshot("w").data["beats"] == 2
        world.crash()
        await world.leap(5)
        await world.start()
        await world.idle()
        snapshot = world.snapshot("w")
        assert snapshot.data["beats"] == 3
        [timer] = snapshot.timers
        assert timer.due_ms == begun + 8 * 3_600_000
        world.send("w", "leave")
        await world.idle()
        await world.leap(10)
        assert len(fired(world)) == 3


@pytest.mark.parametrize("restart", [False, True])
async def test_a_timer_waits_for_what_the_log_held_when_it_became_due(restart: bool) -> None:
    """P7 with P4: an event that was published before the due time is decided before the timer."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        if restart:
            world.crash()
        else:
            world.faults.fetch_delay_s = 3.0
            await world.rest(5)
        world.send("w", "tick")
        world.send("w", "leave")
        await world.leap(25)
        if restart:
            await world.start()
        await world.rest(10)
        await world.idle()
        assert fired(world) == []
        assert world.state() == "idle"
        assert world.snapshot("w").data["seen"] == 1


async def test_the_commands_topic_and_other_shards_do_not_hold_timers_up() -> None:
    """Watermarks are those of the shard: a timer fires although another shard is behind."""
    async with world_with(shards=2) as world:
        world.send("w", "go")
        await world.idle()
        world.command("pause", "w")
        world.command("resume", "w")
        world.send("w", "tick", partition=1 - world.home("w"))
        await world.leap(25)
        await world.idle()
        assert fired(world) == ["@after/24h"]


async def test_between_attempts_a_timer_goes_ahead_of_the_queue() -> None:
    """While a run waits for its retry, due timers are decided; the events behind it wait on."""
    run = Script(ValueError("1"), RetryLater(48 * 3600), HOLD)
    async with world_with(run) as world:
        world.send("w", "work")
        world.send("w", "tick")
        await world.rest()
        await world.leap(0.25)
        assert world.snapshot("w").data["beats"] == 1
        assert world.snapshot("w").status == "retrying"
        assert world.waiting() == 1
        await world.leap(0.8)
        assert run.attempts == [1, 2]
        await world.leap(30)
        assert fired(world)[-1] == "@after/24h"
        assert world.state() == "late"
        assert world.runs()[-1] == "run 2 given_up"
        assert world.outcomes("w")[-1] == "tick applied"


async def test_behind_a_run_a_timer_joins_the_queue_at_its_tail() -> None:
    """While a callback is under way nothing is decided; then the events in their order, the timer last."""
    run = Script(HOLD)
    text = MACHINE.replace("do: run,", "do: run, timeout: 3d,")
    async with World((text, {"run": run, "ask": Script()})) as world:
        world.send("w", "work")
        world.send("w", "tick")
        await world.rest()
        await world.leap(0.25)
        assert fired(world) == []
        world.send("w", "tick")
        await world.rest()
        run.let_go()
        await world.idle()
        assert [told["event"] for told in world.history("w") if told["kind"] != "run"][2:] == [
            "tick",
            "@after/10m",
            "tick",
        ]


async def test_a_timer_that_queued_behind_a_failing_attempt_fires_before_the_next() -> None:
    """A timer that became due during an attempt is decided as soon as that attempt failed."""
    run = Script(HOLD, HOLD)
    text = MACHINE.replace("do: run,", "do: run, timeout: 3d,")
    async with World((text, {"run": run, "ask": Script()})) as world:
        world.send("w", "work")
        world.send("w", "tick")
        await world.rest()
        await world.leap(25)
        run.let_go(ValueError("no"))
        await world.rest()
        assert world.state() == "late"
        assert fired(world) == ["@after/10m", "@after/24h"]
        assert world.outcomes("w")[-1] == "tick applied"


@pytest.mark.parametrize("verb", ["pause", "park"])
async def test_timers_of_a_stopped_workflow_stay_due(verb: str) -> None:
    """Paused or parked: nothing fires; afterwards everything that is due does, once."""
    run = Script(PermanentError("no"), HOLD)
    async with world_with(run) as world:
        world.send("w", "go" if verb == "pause" else "work")
        await world.idle()
        if verb == "pause":
            world.command("pause", "w")
            await world.idle()
        await world.leap(25)
        await world.crash_and_recover()
        await world.leap(25)
        assert fired(world) == []
        world.command("resume" if verb == "pause" else "retry", "w")
        await world.rest()
        if verb == "park":
            run.let_go()
        await world.idle()
        assert fired(world)[-1] == "@after/24h"
        assert len(fired(world)) == (1 if verb == "pause" else 2)
        assert world.state() == "late"


async def test_a_timer_with_decide_callbacks_is_retried_and_survives_a_crash() -> None:
    """A timer whose callbacks fail is still due: retried, also by the next owner, and fires once."""
    ask = Script(RetryLater(60), RetryLater(60), None)
    async with world_with(ask=ask) as world:
        world.send("w", "slow")
        await world.idle()
        await world.leap(1.1)
        world.send("w", "tick")
        await world.rest(30)
        assert ask.attempts == [1]
        await world.crash_and_recover()
        await world.rest(200)
        await world.idle()
        assert len(ask.calls) == 3
        assert len(set(ask.keys)) == 1
        assert fired(world) == ["@after/1h"]
        assert world.state() == "late"
        assert world.snapshot("w").status == "active"


@pytest.mark.parametrize(("seen", "state"), [(0, "picky"), (1, "late")])
async def test_a_timer_whose_guard_says_no_is_over(seen: int, state: str) -> None:
    """A refused timer has had its chance: it does not fire again, and nothing waits for it."""
    text = MACHINE.replace("seen: 0", f"seen: {seen}")
    async with World((text, {"run": Script(), "ask": Script()})) as world:
        world.send("w", "weigh")
        await world.idle()
        await world.leap(3)
        await world.idle()
        assert world.state() == state
        assert world.snapshot("w").timers == ()


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("verb", ["retry", "skip"])
async def test_a_timer_that_can_not_be_decided_parks_and_is_not_lost(
    verb: str, crash: bool
) -> None:
    """`retry` decides the timer again; `skip` gives it up and leaves the events behind it alone."""
    ask = Script(PermanentError("no"))
    async with world_with(ask=ask) as world:
        world.send("w", "slow")
        await world.idle()
        await world.leap(1.1)
        assert world.snapshot("w").parked == "failed"
        world.send("w", "tick")
        await world.idle()
        if crash:
            await world.crash_and_recover()
        world.command(verb, "w")
        await world.idle()
        assert world.state() == ("late" if verb == "retry" else "shy")
        assert world.snapshot("w").timers == ()
        assert "tick applied" in world.outcomes("w")


@pytest.mark.parametrize("crash", [False, True])
async def test_skip_between_two_attempts_gives_the_timer_up(crash: bool) -> None:
    """It is the timer that failed, also for the next owner: the event behind it is decided."""
    ask = Script(RetryLater(60))
    async with world_with(ask=ask) as world:
        world.send("w", "slow")
        await world.idle()
        await world.leap(1.1)
        world.send("w", "tick")
        await world.rest(5)
        assert world.snapshot("w").status == "retrying"
        if crash:
            await world.crash_and_recover()
        world.command("skip", "w")
        await world.idle()
        assert len(ask.calls) == 1
        assert world.state() == "shy"
        assert world.snapshot("w").timers == ()
        assert "tick applied" in world.outcomes("w")


async def test_attempts_at_a_timer_are_not_those_of_the_event_behind_it() -> None:
    """After a crash between two attempts the timer keeps its count and its place, ahead of the event."""
    ask = Script(RetryLater(60), None)
    async with world_with(ask=ask) as world:
        world.send("w", "slow")
        await world.idle()
        await world.leap(1.1)
        world.send("w", "tick")
        await world.rest(5)
        await world.crash_and_recover()
        await world.idle()
        assert ask.attempts == [1, 2]
        assert [
            one for one in world.outcomes("w") if "tick" in one or "late" in one or "@" in one
        ] == [
            "@after/1h applied",
            "tick applied",
        ]
        assert world.state() == "late"


async def test_a_timer_fires_although_its_first_cut_did_not_succeed() -> None:
    """P7: a log that refuses cuts for a while changes nothing."""
    async with world_with() as world:
        world.send("w", "go")
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 3)
        await world.leap(25)
        await world.rest(5)
        await world.idle()
        assert fired(world) == ["@after/24h"]
