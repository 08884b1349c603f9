"""Decide callbacks: awaited before the accept, in order, all or nothing, and again after a crash."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.errors import PermanentError, RetryLater
from event_center.failpoint import Step
from event_center.plugins.context import Context
from tests.engine.script import HOLD, Script, emits
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: a
perpetual: true
data: {n: 0, error: null}
retries:
  quick: {max_attempts: 3, interval: 1s, backoff_rate: 2}
{extra}
states:
  a:
    exit: leave
    on:
      go: {target: b, before: check, actions: [act, tell], assign: {n: =data.n + 1}}
      tick: {}
      quiet: {actions: {do: act, retry: quick}, assign: {n: =data.n + 10}}
  b: {on: {back: a, tick: {}}}
  c: {on: {back: a, tick: {}}}
  over: {type: final}
"""


def machine(extra: str = "") -> str:
    """The machine, with lines of its own; `c` and `over` are entered by hand or on errors."""
    reach = "on: {lost: c, end: over}"
    return MACHINE.replace("{extra}", f"{reach}\n{extra}")


class Four:
    """The four callbacks of the machine; steps are given to the last one to be awaited."""

    def __init__(self, *steps: Any) -> None:
        self.order: list[str] = []
        self.act = Script(*steps)
        self.check, self.leave, self.tell = Script(), Script(), Script()

    @property
    def functions(self) -> dict[str, Any]:
        """By their names in the machine."""
        names = ("check", "leave", "act", "tell")
        return {name: self._noting(name, getattr(self, name)) for name in names}

    def _noting(self, name: str, script: Script) -> Any:
        async def callback(ctx: Context) -> Any:
            self.order.append(name)
            return await script(ctx)

        return callback


async def test_they_run_in_order_before_the_state_changes() -> None:
    """`before`, `exit` of the old state, `actions`: each sees the workflow as it was."""
    four = Four()
    async with World((machine(), four.functions)) as world:
        world.send("w", "go", {"x": 1})
        await world.idle()
        assert four.order == ["check", "leave", "act", "tell"]
        assert [ctx.state for ctx in (four.act.calls + four.tell.calls)] == ["a", "a"]
        assert four.act.calls[0].data == {"n": 0, "error": None}
        assert four.act.calls[0].payload == {"x": 1}
        assert four.act.keys == ["w/events/0/0/act"]
        assert world.snapshot("w").data["n"] == 1
        assert world.state() == "b"


async def test_what_they_emit_leaves_with_the_accept_or_not_at_all() -> None:
    """P5: nothing of a transition that did not happen is ever seen, a returned event included."""
    four = Four(PermanentError("no"))
    four.check.steps.append(emits("tick", workflow_id="other"))
    async with World((machine("on_failure: dead_letter"), four.functions)) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "a"
        assert not world.records("app.inbox")
        four.check.steps.append(emits("go", workflow_id="x", machine="m"))
        four.act.steps.append("tick")
        world.command("discard", "w", number=0)
        world.send("w", "go")
        await world.idle()
        assert world.state() == "b"
        assert world.state("x") == "b"
        assert world.outcomes("w")[-1] == "tick applied"


@pytest.mark.parametrize("suspends", [False, True])
async def test_a_failed_attempt_is_tried_again_with_the_same_key(suspends: bool) -> None:
    """Retries follow the policy; the state changes once; the attempt is counted."""
    steps: list[Any] = [ValueError("1"), ValueError("2"), None]
    four = Four(*([HOLD] * 3 if suspends else steps))
    async with World((machine(), four.functions)) as world:
        world.send("w", "quiet")
        world.send("w", "tick")
        started = world.clock()
        for step in steps:
            await world.rest()
            if suspends:
                four.act.let_go(step)
            await world.rest(4)
            if step is not None:
                assert world.snapshot("w").status in {"retrying", "active"}
        await world.idle()
        assert four.act.attempts == [1, 2, 3]
        assert len(set(four.act.keys)) == 1
        assert world.clock() - started >= 3_000
        snapshot = world.snapshot("w")
        assert (snapshot.data["n"], snapshot.status, snapshot.failure) == (10, "active", None)
        assert (snapshot.deciding_attempt, snapshot.deciding_due_ms) == (0, 0)
        assert world.outcomes("w") == ["quiet applied", "tick applied"]


@pytest.mark.parametrize(
    ("extra", "state", "status", "outcomes"),
    [
        ("", "a", "parked", []),
        (
            "on_error: c",
            "c",
            "active",
            ["quiet rejected(failed)", "@error applied", "tick applied"],
        ),
        (
            "on_failure: dead_letter",
            "a",
            "active",
            ["quiet dead_lettered(failed)", "tick dead_lettered(behind_letter)"],
        ),
    ],
)
async def test_after_the_last_attempt(
    extra: str, state: str, status: str, outcomes: list[str]
) -> None:
    """`on_error`, else `on_failure`; the event and those behind it keep their order."""
    four = Four(*[ValueError(f"{n}") for n in range(3)])
    async with World((machine(extra), four.functions)) as world:
        world.send("w", "quiet")
        world.send("w", "tick")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.state, snapshot.status) == (state, status)
        assert world.outcomes("w") == outcomes
        assert four.act.attempts == [1, 2, 3]
        await world.crash_and_recover()
        await world.idle()
        assert world.outcomes("w") == outcomes


@pytest.mark.parametrize(
    ("error", "attempts", "after_s"),
    [
        (PermanentError("never"), [1], 0.0),
        (RetryLater(7.5), [1, 2], 7.5),
        (RetryLater(float("nan")), [1, 2], 0.0),
        (RetryLater(-3), [1, 2], 0.0),
    ],
)
async def test_errors_that_say_when_to_try_again(
    error: Exception, attempts: list[int], after_s: float
) -> None:
    """PermanentError ends the attempts; RetryLater says the delay, whatever number it gives."""
    four = Four(error)
    async with World((machine(), four.functions)) as world:
        world.send("w", "quiet")
        started = world.clock()
        await world.idle()
        assert four.act.attempts == attempts
        assert after_s * 1000 <= world.clock() - started < after_s * 1000 + 500
        assert (world.snapshot("w").status == "parked") is (len(attempts) == 1)


async def test_an_endless_delay_fits_into_the_log() -> None:
    """RetryLater(inf) waits a year: the shard goes on."""
    four = Four(RetryLater(float("inf")))
    async with World((machine(), four.functions)) as world:
        world.send("w", "quiet")
        world.send("other", "tick")
        await world.rest(5)
        assert world.snapshot("w").status == "retrying"
        assert world.exists("other")
        world.command("retry", "w")
        await world.idle()
        assert four.act.attempts == [1, 1]
        assert world.snapshot("w").data["n"] == 10


async def test_an_event_in_decide_is_a_waiting_entry_and_is_decided_again_after_a_crash() -> None:
    """No callback holds an offset; the next owner decides the event anew, with the same key."""
    four = Four(HOLD, None)
    async with World((machine(), four.functions)) as world:
        world.send("w", "go")
        world.send("w", "tick")
        await world.rest()
        assert world.waiting() == 2
        assert world.entry().offsets["events"] == 2
        assert world.snapshot("w").seq == 0
        await world.crash_and_recover()
        await world.idle()
        assert four.act.attempts == [1, 1]
        assert len(set(four.act.keys)) == 1
        assert world.outcomes("w") == ["go applied", "tick applied"]
        assert world.waiting() == 0


async def test_attempts_and_their_delay_survive_a_crash() -> None:
    """The next owner goes on with the attempt that is due, not with the first one."""
    four = Four(RetryLater(60), RetryLater(60), None)
    async with World((machine(), four.functions)) as world:
        world.send("w", "quiet")
        await world.rest()
        await world.crash_and_recover()
        await world.rest(30)
        assert four.act.attempts == [1]
        await world.rest(40)
        await world.crash_and_recover()
        await world.idle()
        assert four.act.attempts == [1, 2, 3]
        assert world.snapshot("w").data["n"] == 10


RESULTS = """
machine: m
version: 1
initial: a
perpetual: true
data: {n: 0}
on_error: failed
retries:
  quick: {max_attempts: 2, interval: 1s}
states:
  a: {on: {go: b}}
  b:
    entry: [work, more]
    on:
      worked: {actions: {do: act, retry: quick}, assign: {n: =data.n + 1}}
      other: {}
    on_done: c
    on_error: {target: failed, actions: {do: act, retry: quick}}
  c: {on: {other: {}}}
  failed: {on: {other: {}}}
"""


async def test_the_result_of_a_run_may_need_decide_callbacks_and_their_retries() -> None:
    """The run is done when its event is accepted; it is not run again while its result is retried."""
    act, work, more = Script(ValueError("x"), None), Script("worked"), Script()
    async with World((RESULTS, {"act": act, "work": work, "more": more})) as world:
        world.send("w", "go")
        world.send("w", "other")
        await world.idle()
        assert (len(work.calls), len(more.calls), act.attempts) == (1, 1, [1, 2])
        assert world.state() == "c"
        assert world.snapshot("w").data["n"] == 1
        assert world.snapshot("w").status == "active"
        assert world.outcomes("w")[-1] == "other applied"


async def test_a_result_in_decide_is_worked_out_again_after_a_crash() -> None:
    """Either the cut has the result, or the run happens again, with the same key."""
    act, work, more = Script(RetryLater(30), HOLD), Script("worked", "worked"), Script()
    async with World((RESULTS, {"act": act, "work": work, "more": more})) as world:
        world.send("w", "go")
        await world.rest()
        await world.crash_and_recover()
        await world.rest()
        assert len(work.calls) == 2
        assert len(set(work.keys)) == 1
        assert act.attempts == [1, 2]
        act.let_go()
        await world.idle()
        assert world.state() == "c"
        assert len(more.calls) == 1


async def test_a_result_that_can_not_be_decided_goes_to_on_error() -> None:
    """After its attempts the run is done all the same, and `on_error` of the state is decided."""
    act = Script(ValueError("1"), ValueError("2"), ValueError("3"), None)
    work, more = Script("worked"), Script()
    async with World((RESULTS, {"act": act, "work": work, "more": more})) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "failed"
        assert act.attempts == [1, 2, 1, 2]
        assert len(more.calls) == 0
        assert world.runs() == ["work 1 done", "more 0 given_up"]
        assert world.outcomes("w") == [
            "go applied",
            "worked rejected(failed)",
            "@error applied",
        ]


@pytest.mark.parametrize("crash", [False, True])
async def test_on_error_whose_callbacks_fail_loses_nothing(crash: bool) -> None:
    """A failed event waits until its `on_error` is decided, also across a crash."""
    text = machine("on_error: {target: c, actions: {do: tell, retry: quick}}")
    four = Four(PermanentError("1"), *([PermanentError("2")] if crash else []))
    four.tell.steps.extend([RetryLater(20), None])
    async with World((text, four.functions)) as world:
        world.send("w", "quiet")
        world.send("w", "tick")
        await world.rest()
        assert world.waiting() == 2
        if crash:
            await world.crash_and_recover()
        await world.idle()
        assert world.state() == "c"
        assert world.outcomes("w") == ["quiet rejected(failed)", "@error applied", "tick applied"]
        assert world.waiting() == 0


async def test_on_error_that_fails_for_good_parks_with_its_event() -> None:
    """The failure of `on_error` has no second `on_error`: parked, and `skip` discards the event."""
    text = machine("on_error: {target: c, actions: {do: tell, retry: none}}")
    four = Four(PermanentError("1"))
    four.tell.steps.append(ValueError("2"))
    async with World((text, four.functions)) as world:
        world.send("w", "quiet")
        world.send("w", "tick")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.status, snapshot.parked) == ("parked", "failed")
        assert world.waiting() == 2
        world.command("skip", "w")
        await world.idle()
        assert world.outcomes("w") == [
            "quiet discarded(by_operator)",
            "@skip applied",
            "tick applied",
        ]


async def test_a_deferred_event_that_is_retried_keeps_its_place_across_a_crash() -> None:
    """Set aside, then tried and failed, then a crash: it is decided before what came later."""
    text = machine("unhandled: defer")
    four = Four(RetryLater(30), None)
    async with World((text, four.functions)) as world:
        world.send("w", "tick")
        world.send("w", "lost")
        world.send("w", "quiet")
        world.send("w", "back")
        world.send("w", "tick")
        await world.rest()
        await world.crash_and_recover()
        await world.idle()
        assert world.outcomes("w")[2:] == ["back applied", "quiet applied", "tick applied"]


async def test_a_deferred_event_that_is_retried_is_not_overtaken_by_a_later_one() -> None:
    """P4: two were set aside, and the first is tried twice: the second comes after it."""
    four = Four(RetryLater(30), None)
    async with World((machine("unhandled: defer"), four.functions)) as world:
        for event in ("lost", "quiet", "go", "back"):
            world.send("w", event)
        await world.idle()
        assert world.outcomes("w")[1:] == ["back applied", "quiet applied", "go applied"]


async def test_a_death_after_a_decide_callback_was_decided_repeats_it_with_its_key() -> None:
    """The numbered step `decided` is reached by decide callbacks too; nothing of it was durable."""
    four = Four()
    async with World((machine(), four.functions)) as world:
        await world.idle()
        world.die_at = Step.RUN_DECIDED
        world.send("w", "go")
        await world.rest()
        assert world.die_at is None
        assert four.order == ["check"]
        await world.start()
        await world.served()
        await world.idle()
        assert four.order == ["check", "check", "leave", "act", "tell"]
        assert four.check.keys == ["w/events/0/0/check"] * 2
