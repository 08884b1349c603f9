"""Effects: the runs that entered states owe, when they start, and what their ends mean."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.errors import RetryLater
from event_center.failpoint import Step
from event_center.log.memory import Ending
from event_center.model import Event
from event_center.plugins.context import Context
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = resting("""
data: {result: null}
retries:
  default: {max_attempts: 3, interval: 1s, backoff_rate: 2}
states:
  idle: {on: {go: busy, double: twice, quick: eager}}
  busy:
    entry: {do: work, timeout: 10s}
    on:
      done: {target: idle, assign: {result: =payload}}
      tick: {}
      leave: idle
    on_error: {target: failed, assign: {result: =payload}}
  twice: {entry: [first, second], on: {done: idle, tick: {}}, on_done: idle}
  eager: {entry: {do: hurry, eager: true}, on: {done: idle}}
  failed: {entry: mourn, on: {go: busy, back: idle}, on_done: gone}
  gone: {on: {back: idle, go: busy}}
""")
NAMES = ("work", "first", "second", "hurry", "mourn")


def world_with(limits: EngineLimits | None = None, **functions: Any) -> World:
    """A world of the machine; callbacks that are not named return nothing."""
    known = {name: functions.get(name, Script()) for name in NAMES}
    return World((MACHINE, known), limits=limits, publishable=["outside"])


async def test_an_effect_starts_when_its_transition_is_durable() -> None:
    """P3: with a log that does not take the cut, the callback does not start; an eager one does."""
    work, hurry = Script("done"), Script(HOLD)
    async with world_with(work=work, hurry=hurry) as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        world.send("w", "go")
        world.send("e", "quick")
        await world.rest(1)
        assert not world.exists("w")
        assert len(work.calls) == 0
        assert len(hurry.calls) == 1
        hurry.let_go("done")
        await world.idle()
        assert not world.faults.commits
        assert len(work.calls) == len(hurry.calls) == 1
        assert world.state("w") == world.state("e") == "idle"


async def test_a_result_is_decided_in_the_cut_that_marks_its_run_done() -> None:
    """P5: no durable moment has the run done and its event undecided, or the other way round."""
    async with world_with(work=Script(Event("done", {"n": 1}))) as world:
        world.send("w", "go")
        await world.idle()
        cuts = [cut for cut in world.broker.cuts if b"s:w" in cut.entries]
        owed = [b'"owed"' in (cut.entries[b"s:w"] or b"") for cut in cuts]
        busy = [b"\tbusy\t" in (cut.entries[b"s:w"] or b"") for cut in cuts]
        assert owed == busy == [True, False]
        assert world.snapshot("w").data == {"result": {"n": 1}}
        assert world.runs() == ["work 1 done"]
        assert world.outcomes("w") == ["go applied", "done applied"]


async def test_what_a_run_sends_leaves_in_its_cut() -> None:
    """Events go to the inbox, records to declared topics, with the cut that marks the run done."""

    async def work(ctx: Context) -> None:
        ctx.emit("go", {"from": ctx.workflow_id}, workflow_id="x", machine="m")
        ctx.publish("outside", {"a": 1}, headers={"h": "v"})
        if ctx.attempt == 1:
            raise ValueError("after it has sent")

    async with world_with(work=work) as world:
        world.send("w", "go")
        await world.rest(2)
        [record] = world.records("outside")[:1]
        assert (record.key, record.value, record.headers) == (b"w", b'{"a":1}', (("h", b"v"),))
        assert len(world.records("app.inbox")) <= 2
        assert world.snapshot("x").seq == 1


async def test_entry_callbacks_run_one_after_another_and_then_on_done() -> None:
    """The next one starts when the first is durably done; `on_done` follows the last."""
    first, second = Script(HOLD), Script(HOLD)
    async with world_with(first=first, second=second) as world:
        world.send("w", "double")
        world.send("w", "tick")
        await world.rest()
        assert (first.held, second.held) == (1, 0)
        first.let_go()
        await world.rest()
        assert second.held == 1
        assert [owed.name for owed in world.snapshot("w").owed] == ["second"]
        await world.crash_and_recover()
        second.steps.append(None)
        await world.idle()
        assert (len(first.calls), len(second.calls)) == (1, 2)
        assert world.outcomes("w") == [
            "double applied",
            "@done applied",
            "tick rejected(not_accepted)",
        ]


async def test_a_result_that_leaves_the_state_gives_the_other_runs_up() -> None:
    """What the left state still owed will not happen; history says so."""
    second = Script()
    async with world_with(first=Script("done"), second=second) as world:
        world.send("w", "double")
        await world.idle()
        assert not second.calls
        assert world.runs() == ["first 1 done", "second 0 given_up"]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("nobody", "unknown_event"),
        ("back", "not_accepted"),
        (Event("go", {"a": 1}), "not_accepted"),
    ],
)
async def test_a_result_that_the_state_refuses(returned: Any, told: str) -> None:
    """The run is done all the same, and the refusal is told; nobody waits for it any more."""
    async with world_with(work=Script(returned)) as world:
        world.send("w", "go")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.state, snapshot.owed, snapshot.status) == ("busy", (), "active")
        assert world.outcomes("w")[1].endswith(f"rejected({told})")
        world.send("w", "leave")
        await world.idle()
        assert world.state() == "idle"


async def test_attempts_survive_a_crash() -> None:
    """The count of attempts is durable before the next one starts; the key stays."""
    work = Script(RetryLater(60), RetryLater(60), HOLD)
    async with world_with(work=work) as world:
        world.send("w", "go")
        await world.rest()
        await world.crash_and_recover()
        await world.rest(30)
        assert work.attempts == [1]
        await world.rest(31)
        await world.crash_and_recover()
        await world.rest(61)
        assert work.attempts == [1, 2, 3]
        await world.crash_and_recover()
        await world.rest()
        assert work.attempts == [1, 2, 3, 3]
        assert len(set(work.keys)) == 1


async def test_callbacks_wait_side_by_side_up_to_the_limit() -> None:
    """One that suspends holds nobody up; beyond the limit of the process they wait their turn."""
    work = Script(*[HOLD] * 5)
    async with world_with(limits=EngineLimits(callbacks=3), work=work) as world:
        for number in range(5):
            world.send(f"w{number}", "go")
        await world.rest()
        assert work.held == 3
        work.let_go("done")
        await world.rest()
        assert work.held == 3
        for _ in range(4):
            work.let_go("done")
            await world.rest()
        await world.idle()
        assert len(work.calls) == 5


NUMBER: ContextVar[int] = ContextVar("number", default=0)


@pytest.mark.parametrize("waits", [False, True])
async def test_context_variables_do_not_leak_from_one_callback_to_the_next(waits: bool) -> None:
    """A callback finds every context variable as the process left it, whatever others have set."""
    found: list[int] = []

    async def work(ctx: Context) -> str:
        found.append(NUMBER.get())
        NUMBER.set(len(found))
        if waits:
            await asyncio.sleep(0.01)
            assert NUMBER.get() != 0
        return "done"

    async with world_with(work=work) as world:
        for number in range(30):
            world.send(f"w{number % 7}", "go")
        await world.idle()
        assert found == [0] * 30


async def test_cancel_scopes_and_timeouts_work_in_callbacks() -> None:
    """A callback has an asyncio task: `asyncio.timeout` and task groups work, run after run."""

    async def work(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0.5):
                await asyncio.sleep(10)
        except TimeoutError:
            return "done"
        return "leave"

    async with world_with(work=work) as world:
        for number in range(10):
            world.send(f"w{number % 2}", "go")
        await world.idle()
        assert world.outcomes("w0")[-1] == "done applied"
        assert world.entry().outcomes["applied"] == 10


async def test_events_wait_behind_a_run_in_order_and_survive_a_crash() -> None:
    """P4: what arrives while a run is under way waits as an entry, and is decided in its order."""
    work = Script(HOLD, HOLD)
    async with world_with(work=work) as world:
        world.send("w", "go")
        for event in ("tick", "leave", "tick", "go"):
            world.send("w", event)
        await world.rest()
        assert world.waiting() == world.entry().waiting["queued"] == 4
        await world.crash_and_recover()
        await world.rest()
        assert work.keys == ["w/1/work"] * 2
        work.let_go()
        await world.idle()
        assert world.outcomes("w") == [
            "go applied",
            "tick applied",
            "leave applied",
            "tick rejected(not_accepted)",
            "go applied",
        ]
        assert work.keys[2:] == ["w/4/work"]


STEPS: list[Step] = [Step.RUN_STARTED, Step.RUN_RETURNED, Step.RUN_DECIDED]


@pytest.mark.parametrize("step", STEPS)
async def test_a_run_happens_again_if_its_process_died_before_the_cut(step: Step) -> None:
    """P3: at least once, always with the same key; P2: its result moves the workflow once."""
    work = Script("done", "done")
    async with world_with(work=work) as world:
        await world.idle()
        world.die_at = step
        world.send("w", "go")
        await world.rest()
        await world.start()
        await world.idle()
        assert world.state() == "idle"
        assert world.snapshot("w").seq == 2
        assert set(work.keys) == {"w/1/work"}


async def test_a_payload_is_what_the_log_would_give_back() -> None:
    """A returned payload is taken as JSON: what its callback does to the object later is not seen."""
    kept: dict[str, Any] = {"list": [1], "tuple": (1, 2)}
    work = Script(Event("done", kept), lambda _: kept["list"].append(2))
    async with world_with(work=work) as world:
        world.send("w", "go")
        world.send("w", "go")
        await world.idle()
        assert world.snapshot("w").data == {"result": {"list": [1], "tuple": [1, 2]}}
