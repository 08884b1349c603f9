"""Jobs: what states invoke, which nothing waits for, and what their ends mean."""

from __future__ import annotations

import asyncio
import threading

import pytest

from event_center.engine.plan import EngineLimits
from event_center.log.memory import Ending
from event_center.plugins.job import JobContext
from tests.engine.job_world import Stubborn, jobs_world
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script, emits
from tests.engine.world import World


async def test_a_job_starts_when_its_transition_is_durable() -> None:
    """P3: with a log that does not take the cut, the job does not start."""
    build = Script({"size": 3})
    async with jobs_world(build=build) as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        world.send("w", "go")
        await world.rest(1)
        assert not build.calls
        await world.idle()
        assert build.keys == ["w/1/build"]
        assert build.events == ["go"]


async def test_the_result_is_the_payload_of_on_done() -> None:
    """What a job returns moves its workflow, in the cut that marks it done."""
    async with jobs_world(build=Script({"size": 3})) as world:
        world.send("w", "go")
        await world.idle()
        assert world.snapshot("w").data["result"] == {"size": 3}
        assert world.state() == "idle"
        assert not world.snapshot("w").jobs
        assert world.runs() == ["build 1 done"]
        assert world.entry().jobs == 0
        assert world.entry().runs == 1


async def test_events_are_decided_while_a_job_runs() -> None:
    """A job makes nobody wait; it is owed all the time."""
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        for event in ("go", "tick", "tick"):
            world.send("w", event)
        await world.rest(1)
        assert world.snapshot("w").data["n"] == 2
        assert world.waiting() == 0
        assert world.entry().jobs == 1
        build.let_go("whole")
        await world.idle()
        assert world.snapshot("w").data == {"n": 2, "result": "whole"}


async def test_leaving_its_state_cancels_a_job() -> None:
    """It is asked to end at once, and given up on record."""
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.send("w", "leave")
        await world.rest(0.1)
        assert build.cancelled == 1
        await world.idle()
        assert world.runs() == ["build 0 given_up"]
        assert world.entry().jobs == 0


async def test_a_job_that_is_left_before_its_start_never_starts() -> None:
    """Two events in one cut: the job of the state in between is given up, and nobody ran it."""
    build = Script()
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        world.send("w", "leave")
        await world.idle()
        assert not build.calls
        assert world.runs() == ["build 0 given_up"]


@pytest.mark.parametrize("seconds", [0.5, 9.0])
async def test_a_late_result_is_dropped_on_record(seconds: float) -> None:
    """Within its grace, or after it was abandoned: what a job returns that was left counts for nothing."""
    build = Stubborn(seconds, "too late")
    async with jobs_world(build=build) as world:
        build.world = world
        world.send("w", "go")
        await world.rest(1)
        world.send("w", "leave")
        await world.rest(10)
        await world.idle()
        assert world.runs() == ["build 0 given_up", "build 1 dropped"]
        assert world.snapshot("w").data["result"] is None


@pytest.mark.parametrize(("seconds", "waits"), [(0.5, 1.0), (9.0, 3.5)])
async def test_never_two_of_one_name_at_once(seconds: float, waits: float) -> None:
    """A job that is entered again starts when the one before has ended, or its grace is over."""
    build = Stubborn(seconds, None)
    async with jobs_world(build=build) as world:
        build.world = world
        world.send("w", "go")
        await world.rest(1)
        world.send("w", "over")
        await world.rest(0.3)
        assert build.calls == 1
        await world.rest(waits)
        assert build.calls == 2
        await world.idle()
        assert world.snapshot("w").data["result"] == "again"


async def test_a_job_is_tried_again() -> None:
    """Attempts are counted in the snapshot, wait for their time, and have the same key."""
    build = Script(ConnectionError("no"), ConnectionError("no"), "yes")
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(0.5)
        [owed] = world.snapshot("w").jobs
        assert (owed.attempt, owed.due_ms > world.clock()) == (1, True)
        assert world.snapshot("w").status == "active"
        world.send("w", "tick")
        await world.rest(0.2)
        assert world.snapshot("w").data["n"] == 1
        await world.idle()
        assert build.attempts == [1, 2, 3]
        assert set(build.keys) == {"w/1/build"}
        assert world.runs() == ["build 1 failed", "build 2 failed", "build 3 done"]
        assert world.snapshot("w").data["result"] == "yes"


async def test_a_job_that_failed_for_good_goes_to_on_error() -> None:
    """Its branches are asked in order, by the class of the error."""
    async with jobs_world(build=Script(*[ConnectionError("no")] * 3)) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "broken"
        assert world.snapshot("w").data["result"] == "ConnectionError"
        assert world.runs()[-1] == "build 3 failed"
        assert not world.snapshot("w").jobs


async def test_a_timeout_is_a_failed_attempt() -> None:
    """An attempt that takes too long is cancelled, and fails with TimeoutError."""
    mute = Script(HOLD)
    async with jobs_world(mute=mute) as world:
        world.send("w", "alone")
        await world.idle()
        assert mute.cancelled == 1
        [failed] = world.history("w", "run")
        assert (failed["error"], failed["message"]) == ("TimeoutError", "no result within 5 s")


async def test_silence_is_a_failed_attempt() -> None:
    """A job that says nothing for longer than its heartbeat has failed; one that does goes on."""

    async def build(ctx: JobContext) -> str:
        for step in range(6):
            await world.rest(20)
            if ctx.attempt == 1 and step == 3:
                await world.rest(3600)
            ctx.heartbeat(f"step {step}")
        return "whole"

    world = jobs_world(build=build)
    async with world:
        world.send("w", "go")
        await world.idle()
        first, second = world.history("w", "run")
        assert (first["error"], second["outcome"]) == ("HeartbeatTimeout", "done")
        assert first["message"] == "no heartbeat within 30 s; the last one said: step 2"
        assert world.snapshot("w").data["result"] == "whole"


async def test_a_job_begins_after_the_entry_callbacks() -> None:
    """Entry callbacks come first; events wait for them, and not for the job."""
    prepare, after_it = Script(HOLD), Script(HOLD)
    async with jobs_world(prepare=prepare, after_it=after_it) as world:
        world.send("w", "first")
        await world.rest(1)
        assert (len(prepare.calls), len(after_it.calls)) == (1, 0)
        prepare.let_go()
        await world.rest(1)
        assert after_it.keys == ["w/1/after_it"]
        assert after_it.events == ["first"]
        after_it.let_go()
        await world.idle()
        assert world.runs() == ["prepare 1 done", "after_it 1 done"]


async def test_what_a_job_emits_leaves_with_its_end() -> None:
    """P5: what it emits is in the cut that marks it done; of one that was left, never."""
    one = Script(emits("tick"), HOLD)
    async with jobs_world(one=one, two=Script(HOLD, HOLD)) as world:
        world.send("w", "both")
        await world.rest(1)
        assert "tick applied" in world.outcomes("w")
        world.send("v", "both")
        await world.rest(0.5)
        world.send("v", "leave")
        world.send("w", "leave")
        await world.idle()
        assert "tick applied" not in world.outcomes("v")


async def test_a_result_that_is_no_json_is_a_failed_attempt() -> None:
    """The message says what a job may return."""
    async with jobs_world(build=Script(object(), object(), object())) as world:
        world.send("w", "go")
        await world.idle()
        assert world.snapshot("w").data["result"] == "PluginError"
        message = world.history("w", "run")[0]["message"]
        assert "its result is the payload of `on_done`" in message


async def test_the_end_of_a_job_may_need_decide_callbacks() -> None:
    """It is decided like an event: `actions` of `on_done` are awaited, and tried again."""
    note = Script(ConnectionError("no"), HOLD, None)
    tell = Script({"n": 1}, {"n": 1})
    async with jobs_world(tell=tell, note=note) as world:
        world.send("w", "retell")
        await world.rest(5)
        world.send("w", "tick")
        await world.rest(1)
        assert world.state() == "told"
        await world.crash_and_recover()
        await world.idle()
        assert tell.keys == ["w/1/tell"] * 2
        assert world.state() == "idle"
        assert {ctx.payload["n"] for ctx in note.calls} == {1}


async def test_many_jobs_at_once() -> None:
    """As many run as the limit says, none keeps callbacks from running, and all come to their end."""
    running: list[int] = []
    most = 0

    async def build(ctx: JobContext) -> int:
        nonlocal most
        running.append(1)
        most = max(most, len(running))
        await world.rest(1)
        running.pop()
        return 7

    prepare = Script(*[None] * 5)
    world = jobs_world(EngineLimits(jobs=20, callbacks=2), build=build, prepare=prepare)
    async with world:
        for number in range(100):
            world.send(f"w{number}", "go")
        world.send("v", "first")
        await world.rest(0.9)
        assert len(prepare.calls) == 1
        await world.idle()
        assert most == 20
        results = {world.snapshot(f"w{number}").data["result"] for number in range(100)}
        assert results == {7}


NESTED = resting("""
states:
  idle: {on: {go: pair}}
  pair:
    type: parallel
    invoke: {do: around, on_done: idle}
    states:
      left:
        initial: l1
        states:
          l1: {invoke: {do: first, on_done: l2}, on: {skip: l2}}
          l2: {invoke: {do: second, on_error: l1}}
      right:
        initial: r1
        states:
          r1: {entry: enter, invoke: {do: third, on_done: {target: r1, reenter: true}}}
    on: {stop: idle}
""")


async def test_each_state_has_its_own_job() -> None:
    """Jobs of regions and of what is around them run side by side, and end with their own states."""
    script = {name: Script(HOLD, HOLD) for name in ("around", "first", "second", "third")}
    script["enter"] = Script()
    async with World((NESTED, script)) as world:
        world.send("w", "go")
        await world.rest(1)
        assert {name: len(script[name].calls) for name in ("around", "first", "third")} == {
            "around": 1,
            "first": 1,
            "third": 1,
        }
        script["first"].let_go()
        await world.rest(0.5)
        assert world.state() == "l2|r1"
        assert [owed.name for owed in world.snapshot("w").jobs] == ["around", "third", "second"]
        script["third"].let_go()
        await world.rest(0.5)
        assert script["third"].keys == ["w/1/third", "w/3/third"]
        assert len(script["enter"].calls) == 2
        assert script["around"].cancelled == script["second"].cancelled == 0
        script["around"].let_go()
        await world.idle()
        assert world.state() == "idle"
        assert script["second"].cancelled == script["third"].cancelled == 1


ROUND = resting("""
states:
  idle: {on: {go: round}}
  round: {invoke: {do: turn, on_done: {target: round, reenter: true}}}
""")


@pytest.mark.parametrize(("seconds", "parked"), [(0.0, "loop"), (1.5, None)])
async def test_time_paces_a_circle_of_jobs(seconds: float, parked: str | None) -> None:
    """Jobs that end at once and follow each other for ever park their workflow; those that last do not."""

    async def turn(ctx: JobContext) -> None:
        if seconds:
            await world.rest(seconds)

    world = World((ROUND, {"turn": turn}))
    async with world:
        world.send("w", "go")
        await world.rest(1_700)
        assert world.snapshot("w").parked == parked
        assert world.snapshot("w").seq > 1_000
        world.command("cancel", "w")
        await world.idle()


@pytest.mark.real_time
async def test_a_plain_function_hears_of_its_end_from_its_heartbeat() -> None:
    """A thread can not be cancelled: `heartbeat` raises in it what an await would raise."""
    heard: list[str] = []
    beating, over = threading.Event(), threading.Event()

    def build(ctx: JobContext) -> str:
        try:
            while True:
                ctx.heartbeat("on and on")
                beating.set()
        except asyncio.CancelledError:
            heard.append(ctx.idempotency_key)
        over.set()
        return "too late"

    async with jobs_world(build=build) as world:
        world.send("w", "go")
        while not beating.is_set():
            await world.rest(0.01)
        world.send("w", "leave")
        while not over.is_set():
            await world.rest(0.01)
        await world.idle()
        assert heard == ["w/1/build"]
        assert world.snapshot("w").data["result"] is None


async def test_forgotten_with_its_workflow() -> None:
    """A job of a workflow that is removed is cancelled, and what it returns is nobody's."""
    build = Stubborn(5, "too late")
    async with jobs_world(build=build) as world:
        build.world = world
        world.send("w", "go")
        await world.rest(1)
        world.command("forget", "w", reason="made by mistake")
        await world.rest(10)
        await world.idle()
        assert world.runs() == ["build 0 given_up"]
        assert world.entry().jobs == 0
        assert not world.exists("w")


async def test_a_new_workflow_has_nothing_of_the_forgotten_one() -> None:
    """What a job of a workflow that was removed returns does not move another one of the same id."""
    build = Stubborn(5, "of the forgotten one")
    async with jobs_world(build=build) as world:
        build.world = world
        world.send("w", "go")
        await world.rest(1)
        world.command("forget", "w", reason="made by mistake")
        await world.rest(1)
        world.send("w", "go")
        await world.idle()
        assert world.snapshot("w").data["result"] == "again"
        assert world.entry().jobs == 0
