"""`reconcile`: what is asked before an attempt when one before it may have happened."""

from __future__ import annotations

from typing import Any

import pytest

from event_center import DONE
from event_center.engine.starts import StartCounts
from event_center.machine import parse
from event_center.plugins.callbacks import callbacks
from event_center.plugins.registry import resolve
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script, emits
from tests.engine.world import World

MACHINE = resting("""
data: {result: null}
retries:
  default: {max_attempts: 3, interval: 1s, backoff_rate: 2}
states:
  idle: {on: {go: busy, build: building}}
  busy:
    entry: {do: work, timeout: 10s}
    on: {done: {target: idle, assign: {result: =payload}}}
    on_done: over
  over: {on: {back: idle}}
  building:
    invoke: {do: make, timeout: 10s, on_done: {target: idle, assign: {result: =payload}}}
    on: {leave: idle}
""")


@pytest.fixture
def asked() -> Script:
    """What is asked of every callback."""
    return Script()


def world_with(asked: Any, **functions: Any) -> World:
    """A world of the machine, whose callbacks have this `reconcile`."""
    machine = parse(MACHINE)
    found = callbacks(machine.name)
    for name in ("work", "make"):
        found.action(name, reconcile=asked)(functions.get(name, Script()))
    return World(resolve(machine, [found]))


async def crashed_in(world: World, event: str) -> None:
    """The process dies while the callback of this event is under way, and another one takes over."""
    await world.idle()
    world.send("w", event)
    await world.rest(0.2)
    await world.crash_and_recover()


@pytest.mark.parametrize(
    ("event", "answer", "state"),
    [
        ("go", "done", "idle"),
        ("go", DONE, "over"),
        ("build", {"x": 1}, "idle"),
        ("build", DONE, "idle"),
    ],
)
async def test_its_answer_is_the_result(event: str, answer: Any, state: str) -> None:
    """After a crash the callback does not run again if `reconcile` knows that it has; on record."""
    work, asked = Script(HOLD), Script(answer)
    async with world_with(asked, work=work, make=work) as world:
        await crashed_in(world, event)
        await world.idle()
        assert world.state() == state
        assert (len(work.calls), asked.keys) == (1, work.keys)
        [told] = world.history("w", "run")
        assert (told["outcome"], told["reconciled"], told["attempt"]) == ("done", True, 1)
        if event == "build":
            expected = None if answer is DONE else answer
            assert world.snapshot("w").data == {"result": expected}


@pytest.mark.parametrize("event", ["go", "build"])
async def test_without_an_answer_the_callback_runs(asked: Script, event: str) -> None:
    """It is asked first, with the same key and attempt; what it emits without an answer is not sent."""
    work = Script(HOLD, "done")
    asked.steps.append(emits("lost"))
    async with world_with(asked, work=work, make=work) as world:
        await crashed_in(world, event)
        await world.idle()
        assert world.state() == "idle"
        assert work.keys == asked.keys * 2
        assert (work.attempts, asked.attempts) == ([1, 1], [1])
        assert world.records("app.inbox") == []
        assert "reconciled" not in world.history("w", "run")[0]


async def test_it_is_not_asked_before_the_first_attempt(asked: Script) -> None:
    """Nor after one that failed by itself: its result, an error, is known."""
    work = Script(ConnectionError("nobody answers"), "done")
    async with world_with(asked, work=work) as world:
        await world.idle()
        world.send("w", "go")
        await world.idle()
        assert world.state() == "idle"
        assert (len(work.calls), asked.calls) == (2, [])


@pytest.mark.parametrize("event", ["go", "build"])
async def test_it_is_asked_after_an_attempt_that_was_cut_off(asked: Script, event: str) -> None:
    """What timed out may have happened, also when the center stops before the next attempt."""
    work = Script(HOLD)
    asked.steps.append("done")
    async with world_with(asked, work=work, make=work) as world:
        await world.idle()
        world.send("w", event)
        await world.rest(10.3)
        await world.stop()
        await world.start()
        await world.served()
        await world.idle()
        assert (len(work.calls), asked.attempts) == (1, [2])
        assert world.state() == "idle"


async def test_it_is_asked_after_a_stop_that_did_not_wait(asked: Script) -> None:
    """The grace was over before the callback was: whoever comes next asks."""
    work = Script(HOLD, HOLD)
    asked.steps.append("done")
    async with world_with(asked, work=work, make=work) as world:
        await world.idle()
        world.send("w", "build")
        await world.rest(1)
        await world.stop()
        await world.start()
        await world.served()
        await world.idle()
        assert (len(work.calls), len(asked.calls)) == (1, 1)


async def test_a_question_that_fails_uses_an_attempt_and_is_asked_again(asked: Script) -> None:
    """As long as nobody knows, the callback does not run."""
    work = Script(HOLD)
    asked.steps.extend([ConnectionError("nobody answers"), HOLD, "done"])
    async with world_with(asked, work=work) as world:
        await crashed_in(world, "go")
        await world.rest(5)
        await world.crash_and_recover()
        await world.idle()
        assert world.state() == "idle"
        assert (len(work.calls), asked.attempts) == (1, [1, 2, 2])
        assert world.runs() == ["work 1 failed", "work 2 done"]


@pytest.mark.parametrize("event", ["go", "build"])
async def test_it_is_asked_of_a_workflow_that_was_paused(asked: Script, event: str) -> None:
    """Paused while its callback ran, then a crash: `resume` asks before it runs again."""
    work = Script(HOLD)
    asked.steps.append("done")
    async with world_with(asked, work=work, make=work) as world:
        await world.idle()
        world.send("w", event)
        await world.rest(0.2)
        world.command("pause", "w")
        await world.rest(0.2)
        await world.crash_and_recover()
        await world.crash_and_recover()
        world.command("resume", "w")
        await world.idle()
        assert (world.state(), len(work.calls), len(asked.calls)) == ("idle", 1, 1)


@pytest.mark.parametrize("event", ["go", "build"])
async def test_paused_while_it_is_asked(asked: Script, event: str) -> None:
    """It knows of nothing, and its workflow stands: it is asked again when that goes on."""
    work = Script(HOLD, "done")
    asked.steps.extend([HOLD, None])
    async with world_with(asked, work=work, make=work) as world:
        await crashed_in(world, event)
        await world.rest(0.2)
        world.command("pause", "w")
        await world.rest(0.2)
        asked.let_go()
        await world.rest(0.2)
        assert (len(work.calls), len(asked.calls)) == (1, 1)
        world.command("resume", "w")
        await world.idle()
        assert (world.state(), len(work.calls), len(asked.calls)) == ("idle", 2, 2)


async def test_a_job_that_is_left_while_it_is_asked(asked: Script) -> None:
    """Nothing of it begins any more."""
    make = Script(HOLD)
    asked.steps.append(HOLD)
    async with world_with(asked, make=make) as world:
        await crashed_in(world, "build")
        await world.rest(0.2)
        world.send("w", "leave")
        await world.idle()
        assert (world.state(), len(make.calls), asked.cancelled) == ("idle", 1, 1)


async def test_without_the_count_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, asked: Script
) -> None:
    """The twin: what the takeover does not note happens twice."""
    monkeypatch.setattr(StartCounts, "of", lambda self, run: 0)
    work = Script(HOLD, "done")
    asked.steps.append("done")
    async with world_with(asked, work=work) as world:
        await crashed_in(world, "go")
        await world.idle()
        assert (len(work.calls), asked.calls) == (2, [])
