"""Events that come before their workflow, where the machine holds them; and what becomes of them."""

from __future__ import annotations

import pytest

from event_center.engine.plan import EngineLimits
from event_center.failpoint import Step
from event_center.model import Status
from event_center.testing import audit_formats
from event_center.wire.envelope import Rules
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: new
data: {log: []}
events:
  open: {missing: create}
  add: {missing: {hold: 10m}}
  note: {missing: {hold: 1h, expiry: reject}}
  stop: {missing: reject}
on:
  note: {assign: {log: "=data.log + ['note']"}}
states:
  new:
    entry: greet
    on: {open: busy}
  busy:
    on:
      add: {assign: {log: "=data.log + [payload]"}}
      stop: over
  over: {type: final}
"""


def world_with(greet: Script | None = None, limits: EngineLimits | None = None) -> World:
    """A world of the machine."""
    return World((MACHINE, {"greet": greet or Script()}), limits=limits)


async def test_the_creating_event_comes_first_then_the_held_ones_in_their_order() -> None:
    """Nothing that came too early is lost, and it is decided as if it had come in time."""
    async with world_with() as world:
        for number in (1, 2, 3):
            world.send("w", "add", number)
        await world.idle()
        assert world.entry().waiting["held"] == 3
        assert world.snapshot("w").status is Status.EXPECTED
        world.send("w", "open")
        world.send("w", "add", 4)
        await world.idle()
        assert world.snapshot("w").data == {"log": [1, 2, 3, 4]}
        assert world.outcomes("w") == ["open applied", *["add applied"] * 4]
        assert world.entry().waiting["held"] == world.waiting() == 0


@pytest.mark.parametrize("held", [True, False], ids=["held", "created"])
async def test_held_events_survive_a_crash_with_their_order(held: bool) -> None:
    """A takeover finds them as they were: before their workflow, and behind its creating event."""
    greet = Script(*[] if held else [HOLD])
    async with world_with(greet) as world:
        world.send("w", "add", 1)
        world.send("w", "add", 2)
        await world.rest()
        if not held:
            world.send("w", "open")
            world.send("w", "add", 3)
            await world.rest()
        await world.crash_and_recover()
        if held:
            world.send("w", "open")
            world.send("w", "add", 3)
        await world.idle()
        assert world.snapshot("w").data == {"log": [1, 2, 3]}


@pytest.mark.parametrize("step", [Step.CUT_TAKEN_IN, Step.CUT_BUILT, Step.LOG_WRITTEN])
async def test_a_crash_in_the_cut_that_makes_the_workflow(step: Step) -> None:
    """Held events are there once, before or behind the creation, wherever the process dies."""
    async with world_with() as world:
        world.send("w", "add", 1)
        await world.rest()
        world.die_at = step
        world.send("w", "open")
        await world.rest()
        await world.start()
        await world.served()
        await world.idle()
        assert world.snapshot("w").data == {"log": [1]}
        assert world.outcomes("w") == ["open applied", "add applied"]


async def test_a_held_event_expires_as_its_machine_says() -> None:
    """It becomes a letter or is rejected at its own time, and nothing is expected any more then."""
    async with world_with() as world:
        world.send("w", "add", 1)
        world.send("w", "note")
        await world.idle()
        await world.leap(seconds=590)
        assert world.entry().waiting["held"] == 2
        await world.leap(seconds=20)
        assert world.entry().waiting["held"] == 1
        assert [(one.reason, one.workflow_id) for one in world.letters()] == [("expired", "w")]
        await world.crash_and_recover()
        await world.leap(hours=1)
        assert not world.exists("w")
        assert world.entry().waiting["held"] == world.waiting() == 0
        reasons = [(told["kind"], told["reason"]) for told in world.history("w")]
        assert reasons == [("dead_lettered", "expired"), ("rejected", "expired")]
        world.send("w", "open")
        await world.idle()
        assert world.state() == "busy"


async def test_an_event_that_was_published_in_time_beats_the_expiry() -> None:
    """A daemon that was away decides what the log held before it says that nothing came."""
    async with world_with() as world:
        world.send("w", "add", 1)
        await world.idle()
        world.crash()
        world.send("w", "open")
        await world.leap(hours=1)
        await world.start()
        await world.served()
        await world.idle()
        await world.leap(seconds=1)
        assert world.snapshot("w").data == {"log": [1]}


async def test_an_event_that_makes_no_workflow_is_not_held_with_others() -> None:
    """While others are held for it, each event is still what its machine says."""
    async with world_with() as world:
        world.send("w", "add", 1)
        world.send("w", "stop")
        world.send("w", "unheard")
        await world.idle()
        assert world.outcomes("w") == [
            "stop rejected(unknown_workflow)",
            "unheard rejected(unknown_workflow)",
        ]
        assert world.entry().waiting["held"] == 1


async def test_duplicates_of_held_events_are_found() -> None:
    """An id counts from the moment in which its event is held, and after the creation too."""
    async with world_with() as world:
        world.send("w", "add", 1, id="a")
        world.send("w", "add", 1, id="a")
        await world.idle()
        world.send("w", "open")
        world.send("w", "add", 1, id="a")
        await world.idle()
        assert world.snapshot("w").data == {"log": [1]}
        assert world.entry().outcomes["duplicate"] == 2


@pytest.mark.parametrize(
    "limits", [EngineLimits(max_held=2), EngineLimits(max_held_in_shard=2)], ids=["one", "shard"]
)
async def test_more_than_the_limit_is_not_held(limits: EngineLimits) -> None:
    """What finds no room is at once what its expiry would be; a hold of nothing is none."""
    async with world_with(limits=limits) as world:
        for _ in range(3):
            world.send("w", "add", 1)
        if limits.max_held > 2:
            world.send("v", "note")
        await world.idle()
        assert world.entry().waiting["held"] == 2
        letter, *others = world.letters()
        assert (letter.reason, others) == ("held_full", [])
        limit = "max_held" if limits.max_held == 2 else "max_held_in_shard"
        assert f"({limit})" in str(letter.message)
        assert not world.exists("v")


async def test_a_hold_takes_no_commands_but_forget() -> None:
    """An operator may discard what is held; all else is asked of no workflow."""
    async with world_with() as world:
        world.send("w", "add", 1)
        await world.rest()
        world.command("pause", "w")
        await world.rest()
        world.command("forget", "w", reason="a wrong id")
        await world.idle()
        assert world.history("w")[0]["reason"] == "unknown_workflow"
        assert world.outcomes("w")[1:] == ["add discarded(by_operator)", "@forget applied"]
        assert not world.exists("w")
        assert world.entry().waiting["held"] == 0


async def test_another_machine_may_make_the_workflow() -> None:
    """Who holds the event is not who makes the workflow: the creating topic says whose it is."""
    other = MACHINE.replace("machine: m", "machine: n")
    topics = {"events": Rules(machine="m"), "others": Rules(machine="n")}
    functions = {"greet": Script()}
    async with World((MACHINE, functions), (other, functions), topics=topics) as world:
        world.send("w", "add", 1)
        await world.idle()
        world.send("w", "open", topic="others")
        await world.idle()
        assert world.snapshot("w").machine == "n"
        assert world.snapshot("w").data == {"log": [1]}


def test_the_audit_knows_expected_ones() -> None:
    """A snapshot of this status is of no workflow: nothing of its own moves it."""
    shot = audit_formats.read_snapshot(
        b'1tws\tm\t1\t\texpected\t5\n{"seq":0,"at":1,"data":{},"seen":{},"waiting":[1,1]}', "here"
    )
    assert shot.stopped
