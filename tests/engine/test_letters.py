"""Letters in sequence: what follows an open letter, replay in order, discard, and closing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from event_center.engine.plan import EngineLimits
from event_center.errors import PermanentError, RetryLater
from event_center.model import Reason
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import World

MACHINE = resting("""
on_failure: dead_letter
unhandled: reject
data: {n: 0, log: []}
states:
  idle:
    on:
      add: {assign: {n: =data.n + payload, log: "=data.log + [payload]"}}
      ask: {actions: {do: check, retry: none}, assign: {log: "=data.log + ['asked']"}}
      work: busy
  busy: {entry: work, on: {add: {assign: {log: "=data.log + [payload]"}}, done: idle}}
""")


def world_with(check: Script | None = None, work: Script | None = None, **more: Any) -> World:
    """A world of the machine."""
    return World((MACHINE, {"check": check or Script(), "work": work or Script()}), **more)


def numbers(world: World) -> list[tuple[int | None, str]]:
    """Number and reason of every letter."""
    return [(letter.number, letter.reason) for letter in world.letters()]


def replay(world: World, number: int) -> None:
    """Replay a letter as the command line does: with the event that the letter holds."""
    letter = next(letter for letter in world.letters() if letter.number == number)
    body = orjson.loads(letter.value or b"")
    world.command("replay", "w", number=number, event=body["event"], payload=body["payload"])


async def poisoned(world: World) -> None:
    """Three events, of which the middle one can not be decided."""
    world.send("w", "add", 1)
    world.send("w", "add", "not a number")
    world.send("w", "add", 3)
    await world.idle()


async def test_a_failed_event_opens_the_sequence_and_later_events_follow() -> None:
    """`on_failure: dead_letter`: nothing overtakes the failed event, also after a restart."""
    async with world_with() as world:
        await poisoned(world)
        assert numbers(world) == [(0, Reason.FAILED), (1, Reason.BEHIND_LETTER)]
        letter = world.letters()[0]
        assert (letter.error, letter.attempts, letter.event) == ("ExpressionError", 1, "add")
        await world.crash_and_recover()
        world.send("w", "add", 4)
        await world.idle()
        assert numbers(world)[2:] == [(2, Reason.BEHIND_LETTER)]
        snapshot = world.snapshot("w")
        assert (snapshot.letters_next, snapshot.letters_last) == (0, 3)
        assert snapshot.data["log"] == [1]


async def test_replay_is_decided_only_for_the_next_letter_and_closes_the_sequence() -> None:
    """Letters are replayed in their order; after the last one new events are decided again."""
    async with world_with() as world:
        await poisoned(world)
        replay(world, 1)
        await world.idle()
        command = world.history("w", "command")[-1]
        assert (command["outcome"], command["reason"]) == ("rejected", Reason.NOT_APPLICABLE)
        assert "letter 0 comes first" in command["detail"]
        world.command("replay", "w", number=0, event="add", payload=2)
        replay(world, 1)
        world.send("w", "add", 4)
        await world.idle()
        assert world.snapshot("w").data["log"] == [1, 2, 3, 4]
        replay(world, 1)
        await world.idle()
        assert world.history("w", "command")[-1]["detail"] == "it has no open letters"


async def test_a_discarded_letter_makes_room_for_the_next() -> None:
    """`discard` closes a letter without its event, in the order of the sequence, in any status."""
    async with world_with() as world:
        await poisoned(world)
        world.command("pause", "w")
        await world.idle()
        world.command("discard", "w", number=1)
        world.command("discard", "w", number=0)
        world.command("discard", "w", number=0)
        world.command("discard", "w", number=1)
        world.command("resume", "w")
        await world.idle()
        outcomes = [one["outcome"] for one in world.history("w", "command")]
        assert outcomes == ["applied", "rejected", "applied", "rejected", "applied", "applied"]
        world.send("w", "add", 4)
        await world.idle()
        assert world.snapshot("w").data["log"] == [1, 4]


async def test_a_replay_that_fails_leaves_its_letter_open() -> None:
    """The workflow parks with the failure; after `retry` or a repaired replay the sequence goes on."""
    async with world_with() as world:
        await poisoned(world)
        replay(world, 0)
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.parked, snapshot.letters_next) == ("failed", 0)
        await world.crash_and_recover()
        world.command("skip", "w")
        await world.idle()
        assert world.snapshot("w").status == "active"
        world.command("replay", "w", number=0, event="add", payload=2)
        await world.idle()
        assert world.snapshot("w").data["log"] == [1, 2]
        assert world.snapshot("w").letters_next == 1


@pytest.mark.parametrize("crash", [False, True])
async def test_a_replay_with_decide_callbacks_is_retried(crash: bool) -> None:
    """While a replay is decided its letter stays open: a crash loses nothing."""
    text = MACHINE.replace("do: check, retry: none", "do: check")
    check = Script(PermanentError("no"), RetryLater(30))
    async with World((text, {"check": check, "work": Script()})) as world:
        world.send("w", "ask")
        await world.idle()
        replay(world, 0)
        await world.rest()
        assert world.snapshot("w").letters_next == 0
        if crash:
            await world.crash_and_recover()
            await world.rest(60)
            replay(world, 0)
        await world.idle()
        assert world.snapshot("w").data["log"] == ["asked"]
        assert world.snapshot("w").letters_next == 1
        assert world.snapshot("w").status == "active"


async def test_what_waits_behind_a_failing_event_follows_in_order() -> None:
    """Events queued behind the one that fails become letters with it; none is decided before it."""
    check = Script(HOLD)
    async with world_with(check) as world:
        world.send("w", "ask")
        for number in range(3):
            world.send("w", "add", number)
        await world.rest()
        check.let_go(ValueError("no"))
        await world.idle()
        assert [number for number, _ in numbers(world)] == [0, 1, 2, 3]
        assert world.waiting() == 0
        assert [letter.event for letter in world.letters()] == ["ask", "add", "add", "add"]


async def test_a_run_that_failed_parks_and_opens_no_letters() -> None:
    """Only events become letters: a failed run parks its workflow, whatever `on_failure` says."""
    work = Script(PermanentError("no"))
    async with world_with(work=work) as world:
        world.send("w", "work")
        world.send("w", "add", 1)
        await world.idle()
        assert numbers(world) == []
        assert world.snapshot("w").parked == "failed"
        assert world.entry().waiting["parked"] == 1


async def test_open_letters_do_not_stop_runs_and_timers() -> None:
    """Results of runs are no records: they are decided although letters are open."""
    async with world_with(work=Script(HOLD)) as world:
        await poisoned(world)
        world.command("set-state", "w", state="busy", reason="test")
        await world.rest()
        assert world.snapshot("w").letters_last == 2
        replay(world, 0)
        await world.rest()
        assert "when it is idle" in world.history("w", "command")[-1]["detail"]


async def test_an_operator_can_not_replay_what_names_no_event() -> None:
    """A replay without an event is rejected."""
    async with world_with() as world:
        await poisoned(world)
        world.command("replay", "w", number=0)
        world.command("replay", "w", number=None, event="add")
        await world.idle()
        outcomes = [one["outcome"] for one in world.history("w", "command")]
        assert outcomes == ["rejected", "rejected"]


async def test_events_that_waited_when_the_room_was_full_are_decided_before_the_letters() -> None:
    """P4: the letters of `max_waiting` are younger than what waits, and are replayed after it."""
    work = Script(HOLD)
    async with world_with(work=work, limits=EngineLimits(max_waiting=2)) as world:
        world.send("w", "work")
        for number in range(4):
            world.send("w", "add", number)
        await world.rest()
        await world.crash_and_recover()
        work.steps.append("done")
        await world.idle()
        assert world.snapshot("w").data["log"] == [0, 1]
        for number in (0, 1):
            replay(world, number)
        await world.idle()
        assert world.snapshot("w").data["log"] == [0, 1, 2, 3]


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("under_way", [False, True])
async def test_a_replay_that_is_skipped_or_lost_leaves_its_letter_open(
    under_way: bool, crash: bool
) -> None:
    """Nothing holds a replay but its command: after a skip or a crash it can be replayed again."""
    text = MACHINE.replace("retry: none", "retry: {max_attempts: 3, interval: 1m}")
    check = Script(PermanentError("no"), HOLD if under_way else RetryLater(60))
    async with World((text, {"check": check, "work": Script()})) as world:
        world.send("w", "ask")
        await world.idle()
        replay(world, 0)
        await world.rest(5)
        if crash:
            await world.crash_and_recover()
        else:
            world.command("skip", "w")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.letters_next, snapshot.letters_last, snapshot.status) == (0, 1, "active")
        assert len(check.calls) == 2
        replay(world, 0)
        await world.idle()
        assert world.snapshot("w").data["log"] == ["asked"]
        assert check.attempts[-1] == 1
