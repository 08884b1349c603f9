"""What the log can not hold in one record never comes into a cut: its sender hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.engine.workflow import REFUSAL_TEXT, REFUSALS
from event_center.model import MAX_EVENT_ID, MAX_NAME, Event, Reason, Shard, Snapshot
from event_center.plugins.context import Context
from event_center.wire.entries import snapshot_key
from event_center.wire.history import MAX_DETAIL, HistoryWriter, read
from tests.engine.machines import resting
from tests.engine.script import Script
from tests.engine.world import World

MACHINE = resting("""
states:
  idle: {on: {go: busy}}
  busy:
    entry: work
    on: {done: idle, told: idle}
    on_error: {target: idle}
""")
LIMIT = 1_000
LARGE = "x" * LIMIT


def emits(ctx: Context) -> None:
    """An event to another workflow."""
    ctx.emit("go", LARGE, workflow_id="v", machine="m")


def publishes(ctx: Context) -> None:
    """A record to a topic outside."""
    ctx.publish("outside", LARGE)


def returns(_ctx: Context) -> Event:
    """An event for the workflow itself."""
    return Event("done", LARGE)


def world_with(*steps: Any, limit: int = LIMIT, shards: int = 1) -> World:
    """A world whose log holds so much in a record."""
    limits = EngineLimits(record_bytes=limit)
    machine = (MACHINE, {"work": Script(*steps)})
    return World(machine, limits=limits, publishable=["outside"], shards=shards)


@pytest.mark.parametrize("sends", [emits, publishes, returns])
async def test_what_a_callback_sends(sends: Callable[[Context], Any]) -> None:
    """Too large, it is the callback's failure, which says both sizes; nothing of it leaves."""
    async with world_with(sends, sends, sends) as world:
        world.send("w", "go")
        await world.rest(60)
        assert world.state() == "idle"
        [*_, failed] = world.history("w", "run")
        assert "1000" in failed["message"]
        assert failed["outcome"] == "failed"
        assert world.records("app.inbox") == world.records("outside") == []


@pytest.mark.parametrize("sends", [emits, publishes, returns])
async def test_a_log_that_holds_more(sends: Callable[[Context], Any]) -> None:
    """The twin: with a greater limit the same leaves."""
    async with world_with(sends, limit=10 * LIMIT) as world:
        world.send("w", "go")
        await world.rest(2)
        assert {told["outcome"] for told in world.history("w", "run")} == {"done"}


async def test_what_is_forwarded() -> None:
    """An event that its home's inbox could not hold is rejected, and those behind it go on."""
    async with world_with(shards=2) as world:
        wrong = 1 - world.home("w")
        world.send("w", "go", LARGE, partition=wrong)
        world.send("w", "go", "small", partition=wrong)
        await world.rest(2)
        outcomes = world.entry(wrong).outcomes
        assert (outcomes["rejected"], outcomes["forwarded"]) == (1, 1)
        [told] = [one for one in world.history() if one.get("reason") == Reason.TOO_LARGE]
        assert told["workflow_id"] == "w"
        assert world.snapshot("w").seq >= 1


@pytest.mark.parametrize(
    ("name", "event_id"), [("g" * (MAX_NAME + 1), "e-1"), ("go", "e" * (MAX_EVENT_ID + 1))]
)
async def test_a_name_that_is_no_name(name: str, event_id: str) -> None:
    """An event with an endless name, or id, becomes a letter that does not repeat it."""
    async with world_with() as world:
        world.send("w", name, id=event_id)
        world.send("w", "go")
        await world.rest(2)
        [letter] = world.letters()
        assert (letter.reason, letter.event) == (Reason.UNDECODABLE, None)
        assert world.snapshot("w").seq >= 1


async def test_what_is_told_of_a_long_name_is_cut() -> None:
    """A snapshot keeps the last refusals short, and history says where its detail was cut."""
    async with world_with() as world:
        world.send("w", "go")
        for number in range(2 * REFUSALS):
            world.send("w", f"{number}" + "g" * (MAX_NAME - 10))
        world.command("set-state", "w", state="s" * 100_000, reason="why not")
        await world.rest(2)
        assert len(world.broker.store(Shard(0))[snapshot_key("w")]) < 10_000
        assert {len(one.event) for one in world.snapshot("w").refusals} == {REFUSAL_TEXT}


def test_a_detail_of_history_has_an_end() -> None:
    """It quotes what comes from outside; where it was cut is seen."""
    writer = HistoryWriter("h", 0, "/app")
    told = writer.record("rejected", "w", "t/0/1", 0, {"detail": "x" * 2 * MAX_DETAIL})
    detail = read(told.value or b"")["detail"]
    assert len(detail) == MAX_DETAIL
    assert detail.endswith("x...")


async def test_what_is_told_of_names_from_outside_is_not_kept() -> None:
    """A form is kept for those records that many have in common, and no other one."""
    writer = HistoryWriter("h", 0, "/app")
    snapshot = Snapshot("w", "m", 1, "idle")

    def form(name: str) -> bytes:
        return writer.form_of(snapshot, Event(name, None, None, 0, (), "t", 0, 1), "idle")

    assert form("go") is form("go")
    assert form("g" * MAX_NAME) is not form("g" * MAX_NAME)
    assert len(writer._forms) == 1


def emits_a_long_name(ctx: Context) -> None:
    """An event to another workflow that no center would take in."""
    ctx.emit("g" * (MAX_NAME + 1), workflow_id="v")


def emits_a_long_id(ctx: Context) -> None:
    """The same for its id."""
    ctx.emit("go", workflow_id="v", id="e" * (MAX_EVENT_ID + 1))


@pytest.mark.parametrize(
    "step",
    [
        emits_a_long_name,
        emits_a_long_id,
        "g" * (MAX_NAME + 1),
        Event("done", None, "e" * (MAX_EVENT_ID + 1)),
    ],
)
async def test_what_a_callback_sends_with_a_name_that_is_no_name(step: Any) -> None:
    """It is a mistake of the callback, and says so; nothing of it comes to another workflow."""
    async with world_with(step, step, step, limit=100 * LIMIT) as world:
        world.send("w", "go")
        await world.rest(60)
        assert world.state() == "idle"
        assert not world.exists("v")
        [*_, failed] = world.history("w", "run")
        assert "characters, and may have" in failed["message"]
