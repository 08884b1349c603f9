"""Jobs: what states invoke, which nothing waits for, and what their ends mean."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.failpoint import Step
from event_center.log.memory import Ending
from event_center.plugins.job import JobContext
from tests.engine.script import HOLD, Script, emits
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
data: {n: 0, result: null}
retries:
  default: {max_attempts: 3, interval: 1s, backoff_rate: 2}
states:
  idle: {on: {go: building, both: doubled, alone: quiet, first: prepared, retell: told}}
  building:
    invoke:
      do: build
      timeout: 10m
      heartbeat: 30s
      grace: 3s
      on_done: {target: idle, assign: {result: =payload}}
      on_error:
        - {target: idle, errors: TimeoutError, assign: {result: late}}
        - {target: broken, assign: {result: =payload.type}}
    on: {tick: {assign: {n: =data.n + 1}}, leave: idle, over: {target: building, reenter: true}}
  doubled: {invoke: [one, {do: two, on_done: idle}], on: {leave: idle, tick: {}}}
  quiet: {invoke: {do: mute, retry: none, timeout: 5s}, on: {leave: idle, tick: {}}}
  prepared: {entry: prepare, invoke: {do: after_it, on_done: idle}, on: {leave: idle}}
  told: {invoke: {do: tell, on_done: {target: idle, actions: note}}, on: {tick: {}}}
  broken: {on: {back: idle}}
"""
NAMES = ("build", "one", "two", "mute", "prepare", "after_it", "tell", "note")


def world_with(limits: EngineLimits | None = None, **functions: Any) -> World:
    """A world of the machine; callbacks that are not named return nothing."""
    known = {name: functions.get(name, Script()) for name in NAMES}
    return World((MACHINE, known), limits=limits, publishable=["outside"])


async def test_a_job_starts_when_its_transition_is_durable() -> None:
    """P3: with a log that does not take the cut, the job does not start."""
    build = Script({"size": 3})
    async with world_with(build=build) as world:
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
    async with world_with(build=Script({"size": 3})) as world:
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
    async with world_with(build=build) as world:
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
    async with world_with(build=build) as world:
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
    async with world_with(build=build) as world:
        world.send("w", "go")
        world.send("w", "leave")
        await world.idle()
        assert not build.calls
        assert world.runs() == ["build 0 given_up"]


class Stubborn:
    """A job that does not care for its cancellation, for so long."""

    world: World

    def __init__(self, seconds: float, result: Any) -> None:
        self.seconds = seconds
        self.result = result
        self.calls = 0

    async def __call__(self, ctx: JobContext) -> Any:
        self.calls += 1
        if self.calls > 1:
            return "again"
        try:
            await self.world.rest(3600)
        except asyncio.CancelledError:
            await self.world.rest(self.seconds)
        return self.result


@pytest.mark.parametrize("seconds", [0.5, 9.0])
async def test_a_late_result_is_dropped_on_record(seconds: float) -> None:
    """Within its grace, or after it was abandoned: what a job returns that was left counts for nothing."""
    build = Stubborn(seconds, "too late")
    async with world_with(build=build) as world:
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
    async with world_with(build=build) as world:
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
    async with world_with(build=build) as world:
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


async def test_attempts_survive_a_crash() -> None:
    """A job that waits for its retry is tried by the next owner, at its time, with its count."""
    build = Script(ConnectionError("no"), "yes")
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(0.5)
        await world.crash_and_recover()
        await world.rest(0.1)
        assert build.attempts == [1]
        await world.idle()
        assert build.attempts == [1, 2]


async def test_a_job_that_failed_for_good_goes_to_on_error() -> None:
    """Its branches are asked in order, by the class of the error."""
    async with world_with(build=Script(*[ConnectionError("no")] * 3)) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "broken"
        assert world.snapshot("w").data["result"] == "ConnectionError"
        assert world.runs()[-1] == "build 3 failed"
        assert not world.snapshot("w").jobs


async def test_a_timeout_is_a_failed_attempt() -> None:
    """An attempt that takes too long is cancelled, and fails with TimeoutError."""
    mute = Script(HOLD)
    async with world_with(mute=mute) as world:
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

    world = world_with(build=build)
    async with world:
        world.send("w", "go")
        await world.idle()
        first, second = world.history("w", "run")
        assert (first["error"], second["outcome"]) == ("HeartbeatTimeout", "done")
        assert first["message"] == "no heartbeat within 30 s; the last one said: step 2"
        assert world.snapshot("w").data["result"] == "whole"


async def test_without_on_error_the_workflow_is_parked() -> None:
    """P8: a job that nobody hears of parks its workflow; `retry` begins it anew."""
    mute = Script(ConnectionError("no"), "fine")
    async with world_with(mute=mute) as world:
        world.send("w", "alone")
        await world.idle()
        found = world.snapshot("w")
        assert (found.status, found.parked) == ("parked", "failed")
        assert found.failure is not None
        assert found.failure.message == "no"
        world.send("w", "tick")
        await world.idle()
        assert world.waiting() == 1
        world.command("retry", "w")
        await world.idle()
        assert mute.attempts == [1, 1]
        assert world.snapshot("w").status == "active"
        assert world.outcomes("w")[-1] == "tick applied"
        assert not world.snapshot("w").jobs


async def test_skip_gives_up_the_job_that_failed() -> None:
    """The others of its state go on."""
    one = Script(*[ConnectionError("no")] * 3)
    two = Script(HOLD)
    async with world_with(one=one, two=two) as world:
        world.send("w", "both")
        await world.rest(10)
        assert world.snapshot("w").status == "parked"
        world.command("skip", "w")
        await world.rest(0.5)
        assert [owed.name for owed in world.snapshot("w").jobs] == ["two"]
        two.let_go()
        await world.idle()
        assert world.state() == "idle"
        assert world.runs()[-2:] == ["one 3 given_up", "two 1 done"]


async def test_skip_of_a_job_under_way_gives_it_up() -> None:
    """With nothing else to give up: the jobs of the workflow are asked to end, and it stays."""
    build = Script(HOLD)
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.command("skip", "w", by="me")
        await world.idle()
        assert build.cancelled == 1
        assert world.runs() == ["build 0 given_up"]
        assert world.state() == "building"


async def test_retry_does_not_wait() -> None:
    """A job that waits for its next attempt is begun anew at once."""
    build = Script(ConnectionError("no"), "yes")
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(0.3)
        world.command("retry", "w")
        await world.rest(0.3)
        assert build.attempts == [1, 1]
        await world.idle()
        assert world.snapshot("w").data["result"] == "yes"
        world.command("retry", "w")
        await world.idle()
        assert world.outcomes("w")[-1] == "@retry rejected(not_applicable)"


async def test_the_end_of_a_job_waits_while_its_workflow_is_paused() -> None:
    """A paused workflow keeps its job running, and hears of its end when it is resumed."""
    build = Script(HOLD)
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.command("pause", "w")
        await world.rest(0.2)
        build.let_go("whole")
        await world.rest(0.2)
        assert world.state() == "building"
        world.command("resume", "w")
        await world.idle()
        assert world.snapshot("w").data["result"] == "whole"
        assert build.attempts == [1]


async def test_no_job_starts_while_its_workflow_is_paused() -> None:
    """Neither one whose attempt is due nor one that begins: `resume` starts them."""
    build = Script(ConnectionError("no"), "yes")
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(0.3)
        world.command("pause", "w")
        await world.rest(10)
        assert build.attempts == [1]
        world.command("resume", "w")
        await world.idle()
        assert build.attempts == [1, 2]


@pytest.mark.parametrize("command", ["cancel", "set-state"])
async def test_operators_end_jobs(command: str) -> None:
    """`cancel` and `set-state` leave the state, and its job with it."""
    build = Script(HOLD)
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.command(command, "w", state="broken", reason="a test")
        await world.idle()
        assert build.cancelled == 1
        assert world.runs() == ["build 0 given_up"]
        assert not world.snapshot("w").jobs


async def test_an_operator_can_put_a_workflow_to_its_job() -> None:
    """`set-state` owes the jobs of the state, like a transition into it."""
    build = Script("whole")
    async with world_with(build=build) as world:
        world.send("w", "both")
        await world.idle()
        world.command("set-state", "w", state="building", reason="a test")
        await world.idle()
        assert build.events == ["@set-state"]
        assert world.snapshot("w").data["result"] == "whole"


async def test_a_job_begins_after_the_entry_callbacks() -> None:
    """Entry callbacks come first; events wait for them, and not for the job."""
    prepare, after_it = Script(HOLD), Script(HOLD)
    async with world_with(prepare=prepare, after_it=after_it) as world:
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


async def test_a_clean_stop_ends_jobs_and_the_next_owner_begins_them_anew() -> None:
    """A job is no reason to wait with a shutdown; its attempt does not count, its key stays."""
    build = Script(HOLD, "whole")
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        begun = world.clock()
        await world.stop()
        assert world.clock() - begun < 1_000
        assert build.cancelled == 1
        await world.start()
        await world.idle()
        assert build.attempts == [1, 1]
        assert set(build.keys) == {"w/1/build"}
        assert world.snapshot("w").data["result"] == "whole"


@pytest.mark.parametrize("step", Step)
async def test_a_job_survives_a_death_at_every_step(step: Step) -> None:
    """P3: whenever its process dies, the job runs, with its one key, and moves its workflow once."""
    build = Script(ConnectionError("no"), *["whole"] * 5)
    async with world_with(build=build) as world:
        await world.idle()
        for number in range(3):
            world.die_at = step
            world.send(f"w{number}", "go")
            world.send(f"w{number}", "tick")
            await world.rest(3)
            world.die_at = None
            if not world.processes:
                await world.start()
        await world.idle()
        for number in range(3):
            assert world.state(f"w{number}") == "idle"
            assert world.snapshot(f"w{number}").data["result"] == "whole"
            assert world.runs(f"w{number}")[-1].endswith("done")
        assert set(build.keys) == {f"w{number}/1/build" for number in range(3)}
        assert world.entry().jobs == 0


async def test_what_a_job_emits_leaves_with_its_end() -> None:
    """P5: what it emits is in the cut that marks it done; of one that was left, never."""
    one = Script(emits("tick"), HOLD)
    async with world_with(one=one, two=Script(HOLD, HOLD)) as world:
        world.send("w", "both")
        await world.rest(1)
        assert "tick applied" in world.outcomes("w")
        world.send("v", "both")
        await world.rest(0.5)
        world.send("v", "leave")
        await world.idle()
        assert "tick applied" not in world.outcomes("v")


async def test_a_result_that_is_no_json_is_a_failed_attempt() -> None:
    """The message says what a job may return."""
    async with world_with(build=Script(object(), object(), object())) as world:
        world.send("w", "go")
        await world.idle()
        assert world.snapshot("w").data["result"] == "PluginError"
        message = world.history("w", "run")[0]["message"]
        assert "its result is the payload of `on_done`" in message


async def test_the_end_of_a_job_may_need_decide_callbacks() -> None:
    """It is decided like an event: `actions` of `on_done` are awaited, and tried again."""
    note = Script(ConnectionError("no"), HOLD, None)
    tell = Script({"n": 1}, {"n": 1})
    async with world_with(tell=tell, note=note) as world:
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


async def test_skip_of_an_end_that_can_not_be_decided_gives_the_job_up() -> None:
    """Also after a crash, when only the snapshot knows what was tried."""
    note = Script(*[ConnectionError("no")] * 9)
    async with world_with(tell=Script(1), note=note) as world:
        world.send("w", "retell")
        await world.idle()
        assert world.snapshot("w").status == "parked"
        await world.crash_and_recover()
        world.command("skip", "w")
        await world.idle()
        found = world.snapshot("w")
        assert (found.status, found.jobs, found.state) == ("active", (), "told")


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
    world = world_with(EngineLimits(jobs=20, callbacks=2), build=build, prepare=prepare)
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


async def test_a_machine_that_knows_a_job_no_more_parks_its_workflow() -> None:
    """Another version without the job: nothing is dropped without a word."""
    build = Script(HOLD)
    async with world_with(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        other = MACHINE.replace("version: 1", "version: 2").replace("do: build", "do: one")
        world.redefine((other, {name: Script() for name in NAMES if name != "build"}))
        await world.crash_and_recover()
        await world.idle()
        assert world.snapshot("w").parked == "no_place"
        world.command("skip", "w")
        await world.idle()
        assert world.snapshot("w").status == "active"
        assert world.runs() == ["build 0 given_up"]


NESTED = """
machine: m
version: 1
initial: idle
perpetual: true
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
"""


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
