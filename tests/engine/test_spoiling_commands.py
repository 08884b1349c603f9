"""A command with which no cut goes through is refused; and what to do about a workflow that spoils."""

from __future__ import annotations

import pytest

from event_center.engine.isolation import Isolation
from event_center.engine.parts import Parts
from event_center.log.port import Cut
from event_center.wire import snapshot as wire
from event_center.wire.entries import snapshot_key
from tests.engine.script import Script
from tests.engine.test_isolation import MACHINE, spoiled
from tests.engine.world import World

MOVED = """
machine: m
version: 1
initial: idle
perpetual: true
states:
  idle: {on: {note: idle, go: spoiled}}
  spoiled: {}
"""
OTHERS = 5


def others(world: World) -> int:
    """How many others have been decided, each after its first event."""
    return sum(world.exists(f"a{number}") for number in range(OTHERS))


def send_others(world: World) -> None:
    """Somebody else goes on."""
    for number in range(OTHERS):
        world.send(f"a{number}", "note", number)


async def parked(world: World) -> None:
    """A workflow is parked, with the event that spoils its cuts waiting for it."""
    world.send("w", "note", "well")
    await world.idle()
    world.faults.spoiled = spoiled
    world.send("w", "note", "spoiled")
    await world.rest(60)
    assert world.snapshot("w").parked == "cut_failed"


async def test_a_retry_while_it_still_spoils() -> None:
    """P8: it is rejected and says why, the workflow stays parked with its event, and the others go on."""
    async with World((MACHINE, {"work": Script()})) as world:
        await parked(world)
        world.command("retry", "w")
        send_others(world)
        await world.rest(60)
        assert (world.snapshot("w").parked, others(world)) == ("cut_failed", OTHERS)
        assert world.entry().waiting["parked"] == 1
        assert world.outcomes("w")[-1] == "@retry rejected(not_applicable)"
        assert "the log did not answer" in world.history("w")[-1]["detail"]
        assert world.processes[0].member.reached() == []
        assert world.entry().takeovers < 15
        world.faults.spoiled = None
        world.command("retry", "w")
        await world.idle()
        assert world.snapshot("w").data == {"note": "spoiled"}


async def test_without_that_it_stops_its_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: the command is taken up again and again, since a parked workflow is commanded too."""
    monkeypatch.setattr(Parts, "refuse", lambda self, position: False)
    async with World((MACHINE, {"work": Script()})) as world:
        await parked(world)
        world.command("retry", "w")
        send_others(world)
        await world.rest(10)
        assert others(world) == 0
        world.faults.spoiled = None
        await world.rest(60)
        assert others(world) == OTHERS


@pytest.mark.parametrize("shards", [1, 2])
async def test_a_command_that_spoils_parks_nobody(shards: int) -> None:
    """Its workflow is as it was, and goes on; the history has the command and why it was refused."""
    async with World(MOVED, shards=shards) as world:
        world.send("w", "note")
        await world.idle()
        world.faults.spoiled = spoiled
        for _ in range(2):
            world.command("set-state", "w", state="spoiled", reason="a test")
            send_others(world)
            world.send("w", "note")
        await world.rest(60)
        assert (world.snapshot("w").parked, world.state(), others(world)) == (None, "idle", OTHERS)
        told = world.outcomes("w")
        assert told.count("@set-state rejected(not_applicable)") == 2
        assert told.count("note applied") == 3


@pytest.mark.parametrize("verb", ["skip", "cancel", "forget", "set-state"])
async def test_what_an_operator_can_do(verb: str) -> None:
    """`skip` discards the event that waits first; the others end it too, and the next event is decided."""
    async with World((MACHINE, {"work": Script()})) as world:
        await parked(world)
        if verb == "set-state":  # the event goes on waiting, and spoils again
            world.faults.spoiled = None
        world.command(verb, "w", reason="a test", **({"state": "idle"} if "set" in verb else {}))
        await world.idle()
        assert world.entry().waiting["parked"] == 0
        world.send("w", "note", "fine")
        await world.idle()
        finished = verb == "cancel"
        assert world.snapshot("w").data == {"note": "well" if finished else "fine"}
        assert world.entry().outcomes["discarded"] == (verb in {"skip", "forget"})


def moves(cut: Cut) -> bool:
    """Whether the workflow is in it, and does not stand still."""
    value = cut.entries.get(snapshot_key("w"))
    return value is not None and wire.peek(value).status not in wire.STOPPED


async def test_a_workflow_of_which_not_even_a_refusal_goes_through() -> None:
    """P8: it is parked after that, and the command is refused once it stands still; the others go on."""
    async with World((MACHINE, {"work": Script()})) as world:
        world.send("w", "note", "well")
        await world.idle()
        world.faults.spoiled = moves
        world.command("cancel", "w")
        send_others(world)
        await world.rest(60)
        assert (world.snapshot("w").parked, others(world)) == ("cut_failed", OTHERS)
        assert world.outcomes("w")[-1] == "@cancel rejected(not_applicable)"


async def test_who_forgets_what_was_refused_refuses_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: it is refused again and again, which goes through no more than the command."""
    refused = Isolation._refused

    def forgetful(self: Isolation, parts: Parts, workflow_id: str) -> bool:
        self._refused_at.clear()
        return refused(self, parts, workflow_id)

    monkeypatch.setattr(Isolation, "_refused", forgetful)
    async with World((MACHINE, {"work": Script()})) as world:
        world.send("w", "note", "well")
        await world.idle()
        world.faults.spoiled = moves
        world.command("cancel", "w")
        send_others(world)
        await world.rest(10)
        assert (world.snapshot("w").parked, others(world)) == (None, 0)


async def test_a_refusal_that_was_never_tried_parks_nobody() -> None:
    """A cut that fails for an outage right after the refusal was decided on says nothing of the refusal."""
    failed = 0

    def bad(cut: Cut) -> bool:
        nonlocal failed
        planned = bool(world.processes[0].owner(0)._takeovers.isolation._refusing)
        if planned and not failed:
            failed += 1
            return True
        return spoiled(cut)

    async with World(MOVED) as world:
        world.send("w", "note")
        await world.idle()
        world.faults.spoiled = bad
        world.command("set-state", "w", state="spoiled", reason="a test")
        send_others(world)
        world.send("w", "note")
        await world.rest(600)
        assert (failed, world.snapshot("w").parked) == (1, None)
        assert world.outcomes("w") == [
            "note applied",
            "@set-state rejected(not_applicable)",
            "note applied",
        ]
