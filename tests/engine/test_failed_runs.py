"""Runs that fail: what counts as a failure, when they are tried again, and what happens in the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from event_center.engine.run import Runners
from event_center.errors import PermanentError, RetryLater
from event_center.model import Event
from event_center.plugins.context import Context
from tests.engine.script import HOLD, Script, emits
from tests.engine.test_effects import world_with


class Odd(Exception):
    """Not even its message can be read."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


BAD: list[tuple[Any, str]] = [
    (ValueError("broken"), "ValueError"),
    (Odd(), "Odd"),
    (OSError("no such file: \udcff"), "OSError"),
    (ValueError("x" * 1_000_000), "ValueError"),
    (asyncio.CancelledError("by itself"), "CancelledError"),
    (SystemExit(3), "SystemExit"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (GeneratorExit(), "GeneratorExit"),
    (lambda _: 42, "PluginError"),
    (lambda _: "", "PluginError"),
    (lambda _: ["done"], "PluginError"),
    (lambda _: Event("done", {1: object()}), "PluginError"),
    (lambda _: Event("\udcff"), "PluginError"),
    (lambda _: Event("done", None, id=object()), "PluginError"),  # type: ignore[arg-type]  # on purpose
]


@pytest.mark.parametrize(("step", "kind"), BAD)
async def test_whatever_a_callback_raises_or_returns_is_its_own_failure(
    step: Any, kind: str
) -> None:
    """Retries, then `on_error` with type and message; nobody else hears of it."""
    work = Script(step, step, step)
    async with world_with(work=work) as world:
        world.send("w", "go")
        world.send("other", "double")
        await world.idle()
        assert work.attempts == [1, 2, 3]
        assert len(set(work.keys)) == 1
        assert world.state() == "gone"
        assert world.snapshot("w").data["result"]["type"] == kind
        assert len(world.snapshot("w").data["result"]["message"]) < 5_000
        assert world.runs()[:3] == ["work 1 failed", "work 2 failed", "work 3 failed"]
        assert world.state("other") == "idle"


@pytest.mark.parametrize(
    ("error", "attempts", "after_s"),
    [(PermanentError("no"), [1], 0), (RetryLater(90), [1, 2], 90), (ValueError(), [1, 2], 1)],
)
async def test_when_a_failed_run_is_tried_again(
    error: Exception, attempts: list[int], after_s: int
) -> None:
    """PermanentError never; RetryLater after its delay; else by the policy."""
    work = Script(error, "done")
    async with world_with(work=work) as world:
        world.send("w", "go")
        started = world.clock()
        await world.idle()
        assert work.attempts == attempts
        assert after_s * 1000 <= world.clock() - started < after_s * 1000 + 500


async def test_a_timeout_is_a_failed_attempt() -> None:
    """A callback that takes longer than its timeout is cancelled; late by a sweep at most."""
    work = Script(HOLD, "done")
    async with world_with(work=work) as world:
        world.send("w", "go")
        await world.rest(9.9)
        assert work.cancelled == 0
        await world.rest(0.3)
        assert work.cancelled == 1
        failure = world.snapshot("w").failure
        assert failure is not None
        assert failure.type == "TimeoutError"
        await world.idle()
        assert work.attempts == [1, 2]


async def test_without_the_sweep_no_timeout_ends_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: a callback that is over its time has it all the same."""
    monkeypatch.setattr(Runners, "_sweep", lambda self: None)
    work = Script(HOLD)
    async with world_with(work=work) as world:
        world.send("w", "go")
        await world.rest(600)
        assert (work.attempts, work.cancelled) == ([1], 0)
        work.let_go("done")
        await world.idle()


async def test_a_callback_that_swallows_its_cancellation_timed_out_all_the_same() -> None:
    """What it returns then is dropped: the attempt has failed."""

    async def work(ctx: Context) -> str:
        if ctx.attempt == 1:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                return "leave"
        return "done"

    async with world_with(work=work) as world:
        world.send("w", "go")
        await world.idle()
        assert world.runs() == ["work 1 failed", "work 2 done"]
        assert world.outcomes("w") == ["go applied", "done applied"]


async def test_a_callback_that_does_not_end_is_abandoned() -> None:
    """Five seconds after its cancellation its workflow goes on; what it returns later is dropped."""
    released = asyncio.Event()
    attempts: list[int] = []

    async def work(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        while ctx.attempt == 1 and not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return "done"

    async with world_with(work=work) as world:
        world.send("w", "go")
        await world.rest(17)
        assert attempts == [1, 2]
        await world.idle()
        released.set()
        await world.idle()
        assert world.outcomes("w") == ["go applied", "done applied"]


async def test_a_run_that_failed_for_good_without_on_error_parks() -> None:
    """The run stays owed; `retry` begins its attempts anew."""
    mourn = Script(PermanentError("no"), None)
    async with world_with(work=Script(PermanentError("no")), mourn=mourn) as world:
        world.send("w", "go")
        world.send("w", "back")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.status, snapshot.parked, snapshot.state) == ("parked", "failed", "failed")
        assert snapshot.failure is not None
        assert world.entry().waiting["parked"] == 1
        await world.crash_and_recover()
        await world.idle()
        assert len(mourn.calls) == 1
        world.command("retry", "w")
        await world.idle()
        assert mourn.attempts == [1, 1]
        assert world.outcomes("w")[-2:] == ["@done applied", "back applied"]


@pytest.mark.parametrize(
    "step",
    [
        emits("go", workflow_id="\udcff"),
        emits("\udcff"),
        emits("go", id=object()),
        emits("go", machine=object()),
    ],
)
async def test_what_can_not_be_sent_fails_its_callback(step: Any) -> None:
    """An emitted event that no log could hold is the failure of its callback, not of the shard."""
    async with world_with(work=Script(step, step, step)) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "gone"
