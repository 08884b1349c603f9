"""Commands: decided when read, ahead of everything, in every status; each with its outcome."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.errors import PermanentError, RetryLater
from event_center.model import Reason
from event_center.wire.command import Verb
from event_center.wire.history import rfc3339
from tests.engine.script import HOLD, Script
from tests.engine.world import OWN, World

MACHINE = """
machine: m
version: 1
initial: idle
data: {n: 0}
{extra}
states:
  idle: {on: {go: busy, ask: {target: asked, before: check}, tick: {}, end: over}}
  busy:
    entry: [work, more]
    on: {tick: {}, done: idle, ask: {target: asked, before: check}}
    after: {24h: idle}
  asked: {on: {tick: {}, back: idle}}
  over: {type: final}
"""


def world_with(
    work: Script | None = None,
    check: Script | None = None,
    extra: str = "",
    limits: EngineLimits | None = None,
) -> World:
    """A world of the machine."""
    functions = {"work": work or Script(), "more": Script(), "check": check or Script()}
    return World((MACHINE.replace("{extra}", extra), functions), limits=limits)


def told(world: World) -> list[str]:
    """The commands in history, as `verb outcome`."""
    return [f"{one['command']} {one['outcome']}" for one in world.history("w", "command")]


async def put_into(world: World, status: str, work: Script, check: Script) -> None:
    """Bring workflow `w` into this status."""
    steps: dict[str, tuple[list[str], list[Any], list[Any]]] = {
        "active": (["tick"], [], []),
        "running": (["go", "tick"], [HOLD], []),
        "retrying": (["go", "tick"], [RetryLater(3600)], []),
        "parked": (["go", "tick"], [PermanentError("no")], []),
        "deciding": (["ask", "tick"], [], [HOLD]),
        "deciding again": (["ask", "tick"], [], [RetryLater(3600)]),
        "undecidable": (["ask", "tick"], [], [PermanentError("no")]),
        "paused": (["tick"], [], []),
        "final": (["end"], [], []),
    }
    events, of_work, of_check = steps[status]
    work.steps.extend(of_work)
    check.steps.extend(of_check)
    for event in events:
        world.send("w", event)
    await world.rest()
    if status == "paused":
        world.command("pause", "w", id="to pause it")
        await world.rest()
        world.send("w", "tick")
        await world.rest()


def unless(statuses: str, *, applied: bool) -> dict[str, bool]:
    """A row: what happens in these statuses, and the contrary in all others."""
    return {status: (status in statuses.split(", ")) is applied for status in STATUSES}


STATUSES = (
    "active",
    "running",
    "retrying",
    "parked",
    "deciding",
    "deciding again",
    "undecidable",
    "paused",
    "final",
)
ARGS: dict[str, dict[str, Any]] = {
    "set-state": {"state": "asked", "reason": "because"},
    "discard": {"number": 0},
    "forget": {"reason": "because"},
    "replay": {"number": 0, "event": "tick", "payload": None},
}
FITS: dict[str, dict[str, bool]] = {
    "pause": unless("paused, final", applied=False),
    "resume": unless("paused", applied=True),
    "retry": unless("retrying, parked, deciding again, undecidable", applied=True),
    "skip": unless(
        "running, retrying, parked, deciding, deciding again, undecidable", applied=True
    ),
    "cancel": unless("final", applied=False),
    "set-state": unless("", applied=False),
    "discard": unless("", applied=True),
    "replay": unless("", applied=True),
    "forget": unless("", applied=False),
}
AFTER: dict[tuple[str, str], tuple[str, str, list[str]]] = {
    ("retry", "parked"): ("busy", "active", ["tick applied"]),
    ("retry", "retrying"): ("busy", "active", ["tick applied"]),
    ("retry", "deciding again"): ("asked", "active", ["ask applied", "tick applied"]),
    ("retry", "undecidable"): ("asked", "active", ["ask applied", "tick applied"]),
    ("skip", "running"): ("busy", "active", ["tick applied"]),
    ("skip", "retrying"): ("busy", "active", ["tick applied"]),
    ("skip", "parked"): ("busy", "active", ["tick applied"]),
    ("skip", "deciding"): ("idle", "active", ["ask discarded(by_operator)", "tick applied"]),
    ("skip", "deciding again"): ("idle", "active", ["ask discarded(by_operator)", "tick applied"]),
    ("skip", "undecidable"): ("idle", "active", ["ask discarded(by_operator)", "tick applied"]),
    ("cancel", "running"): ("busy", "final", ["tick rejected(finished)"]),
    ("cancel", "parked"): ("busy", "final", ["tick rejected(finished)"]),
    ("cancel", "deciding"): (
        "idle",
        "final",
        ["ask rejected(finished)", "tick rejected(finished)"],
    ),
    ("cancel", "undecidable"): (
        "idle",
        "final",
        ["ask rejected(finished)", "tick rejected(finished)"],
    ),
    ("cancel", "paused"): ("idle", "final", ["tick rejected(finished)"]),
    ("set-state", "running"): ("asked", "active", ["tick applied"]),
    ("set-state", "parked"): ("asked", "active", ["tick applied"]),
    ("set-state", "deciding"): ("asked", "active", ["ask rejected(not_accepted)", "tick applied"]),
    ("set-state", "undecidable"): (
        "asked",
        "active",
        ["ask rejected(not_accepted)", "tick applied"],
    ),
    ("set-state", "paused"): ("asked", "active", ["tick applied"]),
    ("set-state", "final"): ("asked", "active", []),
    ("resume", "paused"): ("idle", "active", ["tick applied"]),
}


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("verb", [str(verb) for verb in Verb])
async def test_every_command_in_every_status(verb: str, status: str, crash: bool) -> None:
    """A command is applied or rejected(not_applicable) by the status; what waits then goes on."""
    work, check = Script(), Script()
    async with world_with(work, check) as world:
        await put_into(world, status, work, check)
        if crash and status not in {"running", "deciding"}:
            await world.crash_and_recover()
        before = len(world.outcomes("w"))
        world.command(verb, "w", **ARGS.get(verb, {}))
        await world.rest(1)
        fits = FITS[verb][status]
        assert told(world)[-1] == f"{verb} {'applied' if fits else 'rejected'}"
        if not fits:
            command = world.history("w", "command")[-1]
            assert command["reason"] == Reason.NOT_APPLICABLE
            assert command["detail"]
        expected = AFTER.get((verb, status))
        if expected is not None:
            await world.idle()
            assert (world.state(), world.snapshot("w").status) == expected[:2]
            after = [one for one in world.outcomes("w")[before:] if not one.startswith("@")]
            assert after == expected[2]
            assert world.waiting() == 0


async def test_set_state_has_one_time() -> None:
    """A run that it drops before its start looks at no clock: timers are due as history says."""
    async with world_with(check=Script(HOLD), limits=EngineLimits(callbacks=1)) as world:
        world.send("v", "ask")
        await world.rest()
        world.send("w", "ask")
        await world.rest()
        world.command("set-state", "w", state="busy", reason="because")
        await world.rest()
        [told] = [one for one in world.history("w", "applied") if one["event"] == "@set-state"]
        [timer] = world.snapshot("w").timers
        assert rfc3339(timer.due_ms - 24 * 3_600_000) == told["at"]


async def test_pause_keeps_the_result_of_the_run_that_is_under_way() -> None:
    """A paused workflow decides nothing; the run's result is decided on resume, without another run."""
    work = Script(HOLD)
    async with world_with(work) as world:
        world.send("w", "go")
        world.send("w", "tick")
        await world.rest()
        world.command("pause", "w")
        await world.rest()
        work.let_go("done")
        await world.idle()
        assert world.state() == "busy"
        assert world.entry().waiting["parked"] == 1
        world.command("resume", "w")
        await world.idle()
        assert world.state() == "idle"
        assert len(work.calls) == 1
        assert world.outcomes("w")[-3:-1] == ["done applied", "tick applied"]


async def test_pause_lets_decide_callbacks_end_and_decides_on_resume() -> None:
    """What the callbacks found out is kept while the workflow is paused."""
    check = Script(HOLD)
    async with world_with(check=check) as world:
        world.send("w", "ask")
        await world.rest()
        world.command("pause", "w")
        await world.rest()
        check.let_go()
        await world.idle()
        assert world.state() == "idle"
        world.command("resume", "w")
        await world.idle()
        assert (world.state(), len(check.calls)) == ("asked", 1)


async def test_a_paused_run_happens_again_after_a_crash() -> None:
    """The result that a pause kept is memory: the next owner runs the callback again, once resumed."""
    work = Script(HOLD, "done")
    async with world_with(work) as world:
        world.send("w", "go")
        await world.rest()
        world.command("pause", "w")
        await world.rest()
        work.let_go("done")
        await world.idle()
        await world.crash_and_recover()
        await world.idle()
        assert len(work.calls) == 1
        world.command("resume", "w")
        await world.idle()
        assert (world.state(), len(set(work.keys)), len(work.calls)) == ("idle", 1, 2)


async def test_resume_of_a_parked_workflow_leaves_it_parked() -> None:
    """Pause and resume do not repair what failed."""
    work = Script(PermanentError("no"), None)
    async with world_with(work) as world:
        world.send("w", "go")
        await world.idle()
        for verb in ("pause", "resume"):
            world.command(verb, "w")
            await world.idle()
        assert (world.snapshot("w").status, world.snapshot("w").parked) == ("parked", "failed")
        world.command("pause", "w")
        world.command("skip", "w")
        world.command("resume", "w")
        await world.idle()
        assert (world.snapshot("w").status, world.snapshot("w").parked) == ("active", None)


async def test_skip_cancels_the_callback_and_its_result_is_dropped() -> None:
    """The run is given up on record; a late result moves nothing; all runs of the state go."""
    work = Script(HOLD)
    async with world_with(work) as world:
        world.send("w", "go")
        await world.rest()
        world.command("skip", "w", by="ada")
        await world.idle()
        assert work.cancelled == 1
        assert world.runs() == ["work 0 given_up", "more 0 given_up"]
        given_up = world.history("w", "run")[0]
        assert "ada" in given_up["reason"]


async def test_cancel_ends_a_workflow() -> None:
    """The result is `cancelled`; timers and runs are gone, what waited is rejected(finished)."""
    async with world_with(Script(HOLD)) as world:
        world.send("w", "go")
        await world.rest()
        world.command("cancel", "w")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.result, snapshot.timers, snapshot.owed) == ("cancelled", (), ())
        assert snapshot.closed_at_ms
        await world.leap(30)
        assert world.state() == "busy"


async def test_set_state_owes_what_entering_the_state_owes() -> None:
    """As if a transition had led there: entry runs after the cut, timers from now, a new seq."""
    work = Script(HOLD)
    async with world_with(work) as world:
        world.send("w", "tick")
        await world.idle()
        world.command("set-state", "w", state="busy", reason="by hand")
        await world.rest()
        snapshot = world.snapshot("w")
        assert work.keys == [f"w/{snapshot.seq}/work"]
        assert [timer.seq for timer in snapshot.timers] == [snapshot.seq]
        assert work.calls[0].event.name == "@set-state"


@pytest.mark.parametrize(
    "args",
    [
        {"state": "nowhere", "reason": "r"},
        {"state": ["busy"], "reason": "r"},
        {"reason": "r"},
        {"state": "busy"},
    ],
)
async def test_set_state_refuses_what_it_can_not_do(args: dict[str, Any]) -> None:
    """An unknown state, or no reason: rejected, and nothing changed."""
    async with world_with() as world:
        world.send("w", "tick")
        await world.idle()
        world.command("set-state", "w", **args)
        await world.idle()
        assert told(world) == ["set-state rejected"]
        assert world.state() == "idle"


async def test_a_command_counts_once() -> None:
    """The id of a command finds duplicates, also after a restart."""
    async with world_with() as world:
        world.send("w", "tick")
        await world.idle()
        world.command("set-state", "w", id="c", state="asked", reason="r")
        world.command("set-state", "w", id="c", state="busy", reason="r")
        await world.idle()
        await world.crash_and_recover()
        world.command("set-state", "w", id="c", state="busy", reason="r")
        await world.idle()
        assert world.state() == "asked"
        assert world.entry().outcomes["duplicate"] == 2


async def test_a_command_for_nobody() -> None:
    """An unknown workflow: rejected(unknown_workflow), told in history."""
    async with world_with() as world:
        world.command("pause", "nobody")
        await world.idle()
        [one] = world.history("nobody")
        assert (one["outcome"], one["reason"]) == ("rejected", Reason.UNKNOWN_WORKFLOW)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"nonsense",
        b"[]",
        b'"text"',
        b"{}",
        b'{"format": 99, "id": "1", "verb": "pause", "workflow_id": "w"}',
        b'{"format": 1, "id": "1", "verb": "explode", "workflow_id": "w"}',
        b'{"format": 1, "id": "1", "verb": ["pause"], "workflow_id": "w"}',
        b'{"format": 1, "id": 5, "verb": "pause", "workflow_id": "w"}',
        b'{"format": 1, "id": null, "verb": "pause", "workflow_id": "w"}',
        b'{"format": 1, "id": "1", "verb": "pause", "workflow_id": ["w"]}',
        b'{"format": 1, "id": "1", "verb": "pause", "workflow_id": "w", "args": 5}',
        b'{"format": 1, "id": "1", "verb": "pause", "workflow_id": "w", "by": {}}',
        b'{"format": 1, "id": "1", "verb": "pause", "workflow_id": "w", "more": 1}',
        b'{"format": 1, "verb": "pause", "workflow_id": "w"}',
    ],
)
async def test_nonsense_in_the_commands_topic_is_dead_lettered(value: bytes | None) -> None:
    """A command that can not be read becomes a letter; the shard goes on."""
    async with world_with() as world:
        world.put(value, topic=OWN.commands, partition=0)
        world.send("w", "tick")
        await world.idle()
        assert [letter.reason for letter in world.letters()] == [Reason.BAD_COMMAND]
        assert world.entry().outcomes["applied"] == 1
