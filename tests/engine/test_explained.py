"""What is said of events that are refused and of guards that fail: enough to mend the cause."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from structlog.testing import capture_logs

from event_center.engine.stopping import Stop
from event_center.wire.envelope import Rules
from tests.engine.script import Script
from tests.engine.world import Functions, World

PARCEL = """
machine: parcel
version: 1
initial: new
perpetual: true
states:
  new: {on: {packed: book}}
  book:
    entry: call
    on: {taken: road, heavy: {target: road, guard: not_light}}
  road: {on: {fixed: {target: new, actions: mend}}}
"""


def _heavy(payload: dict[str, int]) -> bool:
    return payload["weight"] > 1


async def test_a_refused_event_says_what_the_state_accepts() -> None:
    """A misspelled event is told with what was perhaps meant; a known one with what fits now."""
    async with World((PARCEL, {"call": Script(), "mend": Script(), "not_light": _heavy})) as world:
        for event in ("packed", "takn", "packed"):
            world.send("w", event)
        world.send("v", "pakced")
        await world.idle()
        details = [one.detail for one in world.snapshot("w").refusals]
        assert details == [
            "state book accepts: heavy, taken; did you mean 'taken'?",
            "state book accepts: heavy, taken",
        ]
        told = world.history("v")[-1]
        assert told["reason"] == "unknown_workflow"
        assert "a new parcel accepts: packed; did you mean 'packed'?" in told["detail"]


async def test_an_event_of_no_machine_says_why_nothing_was_made() -> None:
    """Where the topic names no machine, the detail says so."""
    async with World(
        (PARCEL, {"call": Script(), "mend": Script(), "not_light": _heavy}),
        topics={"events": Rules(machine=None)},
    ) as world:
        world.send("w", "packed")
        await world.idle()
        assert "names no machine" in world.history("w")[-1]["detail"]


async def test_a_guard_that_fails_is_named_with_its_line() -> None:
    """Log, snapshot and letter say which guard it was; the log says where it is written."""
    functions: Functions = {"call": Script(), "mend": Script(), "not_light": _heavy}
    with capture_logs() as logs:
        async with World((PARCEL, functions)) as world:
            world.send("w", "packed")
            world.send("w", "heavy", {})
            await world.idle()
            failure = world.snapshot("w").failure
            assert failure is not None
            assert (failure.callback, failure.type) == ("guard not_light", "KeyError")
            [told] = [one for one in logs if one["event"] == "run.failed"]
    line = _heavy.__code__.co_firstlineno
    assert (told["callback"], told["error"]) == ("guard not_light", "KeyError")
    assert told["where"].endswith(f"test_explained.py:{line}")
    [parked] = [one for one in logs if one["event"] == "workflow.parked"]
    assert parked["where"] == told["where"]


@pytest.mark.parametrize("decides", [False, True])
async def test_a_returned_event_that_nobody_knows_is_in_the_log(decides: bool) -> None:
    """A callback that returns a misspelled event is a mistake of its author, who hears of it."""
    call = Script("taken" if decides else "takn")
    with capture_logs() as logs:
        functions: Functions = {"call": call, "mend": Script("pakced"), "not_light": _heavy}
        async with World((PARCEL, functions)) as world:
            world.send("w", "packed")
            if decides:
                world.send("w", "fixed")
            await world.idle()
    [told] = [one for one in logs if one["event"] == "run.unknown_event"]
    assert told["callback"] == ("mend" if decides else "call")
    assert f"did you mean '{'packed' if decides else 'taken'}'?" in told["known"]
    assert told["log_level"] == "warning"


@pytest.mark.parametrize("place", ["lease", "restore", "open_gate"])
async def test_a_stop_during_a_takeover_lasts_the_grace_time_at_most(place: str) -> None:
    """P8: a log that does not answer keeps no stop waiting, wherever the takeover stands."""
    async with World((PARCEL, {"call": Script(), "mend": Script(), "not_light": _heavy})) as world:
        await world.idle()
        world.crash()

        async def away(name: str) -> None:
            if name == place:
                await asyncio.Event().wait()

        world.faults.on_await = away
        await world.start()
        await world.rest(1)
        before = world.clock()
        async with asyncio.timeout(60):
            await world.stop()
        assert world.clock() - before <= 20_500
        world.faults.on_await = None
        await world.start()
        world.send("w", "packed")
        await world.idle()
        assert world.state() == "book"


async def test_without_the_limit_a_stop_waits_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: a takeover outside of the stop's scope keeps it waiting for as long as the log is away."""
    async with World((PARCEL, {"call": Script(), "mend": Script(), "not_light": _heavy})) as world:
        await world.idle()
        world.crash()

        async def away(name: str) -> None:
            if name == "lease":
                await asyncio.Event().wait()

        world.faults.on_await = away
        monkeypatch.setattr(Stop, "limit", lambda _: anyio.CancelScope())
        await world.start()
        await world.rest(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await world.processes[0].member.stop()
        world.crash()
