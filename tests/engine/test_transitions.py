"""Transitions without callbacks: what moves, what is refused, what is set aside and for how long."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from event_center.machine.step import Machine
from tests.engine.script import HOLD, Script
from tests.engine.world import World

DOOR = """
machine: door
version: 1
initial: closed
perpetual: true
data: {opened: 0, by: null, log: []}
on:
  note: {assign: {log: "=data.log + [payload]"}}
states:
  closed:
    on:
      open:
        target: opened
        guard: =payload.key == 'k'
        assign: {opened: =data.opened + 1, by: =payload.who}
      knock: {}
      again: {target: closed, reenter: true}
    after: {1h: {repeat: true}}
  opened:
    on: {close: closed, knock: {}}
"""
GUARDED = """
machine: guarded
version: 1
initial: start
perpetual: true
data: {n: 0}
{extra}
states:
  start:
    on:
      go: {target: moved, guard: =payload.n > 1}
      ok: moved
      fail: failed
      wild: {target: moved, guard: wild}
    {state}
  moved: {on: {back: start}}
  failed: {on: {back: start}}
"""


def guarded(extra: str = "", state: str = "") -> str:
    """The machine, with a line for the machine and one for its initial state."""
    return GUARDED.replace("{extra}", extra).replace("{state}", state)


async def test_data_are_assigned_with_the_transition() -> None:
    """Assigns see the old data and the payload; what they make is in the snapshot of the transition."""
    async with World(DOOR) as world:
        world.send("w", "open", {"key": "k", "who": "ada"})
        world.send("w", "note", [1, {"a": None}])
        await world.idle()
        snapshot = world.snapshot("w")
        assert snapshot.data == {"opened": 1, "by": "ada", "log": [[1, {"a": None}]]}
        assert (snapshot.state, snapshot.seq) == ("opened", 2)


async def test_an_internal_event_keeps_the_state_entry_and_reenter_begins_it_anew() -> None:
    """An internal transition counts and keeps timers and entry time; `reenter` renews both."""
    async with World(DOOR) as world:
        world.send("w", "knock")
        await world.idle()
        before = world.snapshot("w")
        await world.rest(10)
        world.send("w", "knock")
        await world.idle()
        after = world.snapshot("w")
        assert after.seq == before.seq + 1
        assert (after.entered_at_ms, after.timers) == (before.entered_at_ms, before.timers)
        world.send("w", "again")
        await world.idle()
        entered = world.snapshot("w")
        assert entered.entered_at_ms > after.entered_at_ms
        [timer] = entered.timers
        assert timer.seq == entered.seq
        assert timer.due_ms == entered.entered_at_ms + 3_600_000


async def test_a_refusal_says_why() -> None:
    """A refused event has its reason and detail in history and among the last eight of the snapshot."""
    async with World(DOOR) as world:
        world.send("w", "knock")
        world.send("w", "open", {"key": "x"})
        world.send("w", "close")
        world.send("w", "paint")
        await world.idle()
        assert world.outcomes("w") == [
            "knock applied",
            "open rejected(guard)",
            "close rejected(not_accepted)",
            "paint rejected(unknown_event)",
        ]
        refusals = world.snapshot("w").refusals
        assert [refusal.reason for refusal in refusals] == [
            "guard",
            "not_accepted",
            "unknown_event",
        ]
        assert refusals[0].detail == "=payload.key == 'k'"
        assert world.history("w")[-3]["detail"] == refusals[0].detail
        for _ in range(20):
            world.send("w", "paint")
        await world.idle()
        assert len(world.snapshot("w").refusals) == 8


@pytest.mark.parametrize(
    ("extra", "state", "outcome", "letters"),
    [
        ("", "", "back rejected(not_accepted)", 0),
        ("unhandled: ignore", "", "back ignored(not_accepted)", 0),
        ("unhandled: dead_letter", "", "back dead_lettered(not_accepted)", 2),
        ("unhandled: dead_letter", "unhandled: ignore", "back ignored(not_accepted)", 0),
    ],
)
async def test_unhandled_events(extra: str, state: str, outcome: str, letters: int) -> None:
    """`unhandled` of the state, else of the machine, decides about events that it does not accept."""
    functions = {"wild": lambda: True}
    async with World((guarded(extra, state), functions)) as world:
        world.send("w", "go", {"n": 1})
        world.send("w", "back")
        world.send("w", "go", {"n": 2})
        await world.idle()
        assert world.outcomes("w")[1:] == [outcome, "go applied"]
        assert [letter.number for letter in world.letters()] == [None] * letters


DEFERRING = """
machine: deferring
version: 1
initial: one
perpetual: true
unhandled: defer
states:
  one: {on: {next: two, stay: {}}}
  two: {on: {next: three, a: {}, b: {}, picky: {guard: =payload.yes}}}
  three: {on: {c: two, stop: over, b: {}}}
  over: {type: final}
"""


async def test_deferred_events_are_decided_after_the_state_changed_oldest_first() -> None:
    """What a state sets aside waits durably and is decided, in order, in the next one that accepts it."""
    async with World(DEFERRING) as world:
        world.send("w", "stay")
        for event in ("c", "b", "a", "b", "stay"):
            world.send("w", event)
        await world.idle()
        assert world.outcomes("w") == ["stay applied", "stay applied"]
        assert world.entry().waiting["deferred"] == world.waiting() == 4
        await world.crash_and_recover()
        world.send("w", "next")
        await world.idle()
        assert world.outcomes("w")[2:] == ["next applied", "b applied", "a applied", "b applied"]
        assert world.entry().waiting["deferred"] == world.waiting() == 1
        world.send("w", "b")
        world.send("w", "next")
        await world.idle()
        assert world.state() == "two"
        assert world.outcomes("w")[6:] == ["b applied", "next applied", "c applied"]


async def test_a_deferred_event_goes_ahead_of_the_queue() -> None:
    """Set-aside events that the new state accepts are decided before what came after the change."""
    async with World(DEFERRING) as world:
        for event in ("stay", "b", "next", "a"):
            world.send("w", event)
        await world.idle()
        assert world.outcomes("w") == ["stay applied", "next applied", "b applied", "a applied"]


async def test_what_a_guard_defers_again_is_looked_at_once_per_state() -> None:
    """An event whose guard says no is set aside again, keeps its place, and blocks nobody."""
    async with World(DEFERRING) as world:
        world.send("w", "stay")
        world.send("w", "picky", {"yes": False, "n": 1})
        world.send("w", "picky", {"yes": True})
        world.send("w", "picky", {"yes": False, "n": 2})
        world.send("w", "next")
        world.send("w", "a")
        await world.idle()
        assert world.outcomes("w")[1:] == ["next applied", "picky applied", "a applied"]
        assert world.waiting() == 2
        assert world.entry().cut < 10
        world.send("w", "next")
        world.send("w", "stop")
        await world.idle()
        assert world.outcomes("w")[-2:] == ["picky rejected(finished)"] * 2
        assert world.waiting() == 0


async def test_deferred_events_survive_a_machine_that_lost_their_state() -> None:
    """A new version without the workflow's state parks it; what waits stays, and a command helps."""
    async with World(DEFERRING) as world:
        world.send("w", "stay")
        world.send("w", "a")
        await world.idle()
        text = DEFERRING.replace("version: 1", "version: 2").replace("one", "uno")
        world.redefine(text)
        await world.crash_and_recover()
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.status, snapshot.parked) == ("parked", "no_place")
        world.command("set-state", "w", state="two", reason="the state was renamed")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.state, snapshot.version, snapshot.status) == ("two", 2, "active")
        assert world.outcomes("w")[-1] == "a applied"


async def test_a_workflow_moves_on_under_a_new_version() -> None:
    """A workflow whose state the new version has goes on under it, from its next event."""
    async with World(DEFERRING) as world:
        world.send("w", "stay")
        await world.idle()
        world.redefine(DEFERRING.replace("version: 1", "version: 2"))
        await world.crash_and_recover()
        assert world.snapshot("w").version == 1
        world.send("w", "next")
        await world.idle()
        assert (world.snapshot("w").version, world.state()) == (2, "two")


class Odd(BaseException):
    """Not an Exception, and it can not even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no message")


def wild(payload: object) -> bool:
    """A guard that raises whatever it is told to."""
    errors = {"key": KeyError("k"), "odd": Odd(), "exit": SystemExit(1), "bytes": OSError("\udcff")}
    raise errors[str(payload)]


@pytest.mark.parametrize("kind", ["key", "odd", "exit", "bytes"])
@pytest.mark.parametrize(
    ("extra", "after"),
    [
        ("", ("start", "parked", 1, 0)),
        ("on_error: failed", ("failed", "active", 0, 0)),
        ("on_failure: dead_letter", ("start", "active", 0, 1)),
    ],
)
async def test_a_guard_that_raises(kind: str, extra: str, after: tuple[str, str, int, int]) -> None:
    """An error is never a no: `on_error`, else `on_failure`; the state is as before, seq too."""
    async with World((guarded(extra), {"wild": wild})) as world:
        world.send("w", "wild", kind)
        await world.idle()
        snapshot = world.snapshot("w")
        found = (snapshot.state, snapshot.status, world.waiting(), len(world.letters()))
        assert found == after
        assert snapshot.seq == (extra == "on_error: failed")
        failed = snapshot.parked == "failed"
        assert failed is (snapshot.failure is not None) is (extra == "")


async def test_an_expression_that_fails_is_an_error_too() -> None:
    """A guard on a payload that has not what it asks for parks with the expression's message."""
    async with World((guarded(), {"wild": wild})) as world:
        world.send("w", "go", {"m": 1})
        await world.idle()
        failure = world.snapshot("w").failure
        assert failure is not None
        assert (failure.type, failure.callback) == ("ExpressionError", "expression")
        assert "payload has no key 'n'" in failure.message


LOOPING = """
machine: looping
version: 1
initial: idle
perpetual: true
states:
  idle: {on: {go: there, rest: {}}}
  there: {entry: spin, on_done: here, on: {go: idle}}
  here: {entry: spin, on_done: there, on: {go: idle}}
"""


async def test_a_workflow_that_moves_by_itself_is_parked_in_the_end() -> None:
    """More than 1,000 transitions without a record from outside: parked(loop), until a command."""
    spin = Script()
    async with World((LOOPING, {"spin": spin})) as world:
        world.send("w", "go")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.status, snapshot.parked, snapshot.loop) == ("parked", "loop", 1001)
        assert len(spin.calls) == 1001
        world.send("w", "rest")
        await world.idle()
        assert world.entry().waiting["parked"] == 1
        spin.steps.extend([None, HOLD])
        world.command("retry", "w")
        await world.rest()
        assert world.snapshot("w").loop == 1
        spin.let_go("go")
        await world.idle()
        assert world.outcomes("w")[-2:] == ["go applied", "rest applied"]


async def test_a_mistake_of_ours_parks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that neither a guard nor an expression made ends the daemon: it is not the user's."""

    def mistaken(*_: object) -> None:
        raise RuntimeError("a mistake in the machine room")

    monkeypatch.setattr(Machine, "step", mistaken)
    expected = pytest.RaisesExc(RuntimeError, match="machine room")
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        async with World((guarded(), {"wild": wild})) as world:
            world.send("w", "go", {"n": 1})
            await world.rest(1.0)


async def test_an_assign_that_fails_is_told_with_its_place() -> None:
    """What is logged and kept of an expression is the expression and its line, not a guard."""
    text = """
        machine: m
        version: 1
        initial: a
        perpetual: true
        data: {n: 0}
        states:
          a: {on: {add: {assign: {n: =data.n + payload.x}}}}
    """
    with capture_logs() as logged:
        async with World((text, {})) as world:
            world.send("w", "add", {"x": "one"})
            await world.idle()
            failure = world.snapshot("w").failure
    assert failure is not None
    assert failure.callback == "expression"
    [failed] = [line for line in logged if line["event"] == "run.failed"]
    assert failed["where"].endswith(":8:30")
