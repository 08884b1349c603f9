"""
What an exception means, phase by phase: the table of docs/machine-language.md, a test for each row.

One machine has an event for every phase. With a payload that suits it, the event moves the workflow;
without one, just this phase raises.
"""

from __future__ import annotations

from typing import Any

import pytest

from event_center.model import Event
from event_center.plugins.context import Context
from tests.engine.world import OWN, World

MACHINE = """
machine: m
version: 1
initial: a
perpetual: true
data: {n: 0, at: null}
retries: {default: {max_attempts: 2, interval: 1s}}
{extra}
on: {lost: lost, again: a}
states:
  a:
    exit: leave
    after: {1h: {target: b, guard: =data.at > 0, assign: {n: 1}}}
    on:
      guard: {target: b, guard: =payload.x > 0, assign: {n: 1}}
      plugin: {target: b, guard: allowed, assign: {n: 1}}
      choice: {target: chosen, assign: {n: 1}}
      assign: {target: b, assign: {n: =payload.x}}
      raise: {target: b, assign: {n: 1}, raise: {event: heard, payload: =payload.x}}
      emit: {target: b, assign: {n: 1}, emit: {event: told, workflow_id: =payload.who}}
      timer: {target: timed, assign: {n: 1, at: =payload}}
      before: {target: b, assign: {n: 1}, before: check}
      exit: {target: b, assign: {n: 1}}
      actions: {target: b, assign: {n: 1}, actions: act}
      entry: {target: working, assign: {n: 1}}
      eager: {target: eager, assign: {n: 1}}
      invoke: {target: building, assign: {n: 1}}
      set: {assign: {at: =payload}}
  chosen: {type: choice, always: [{target: c, guard: =payload.x > 1}, b]}
  b:
  c:
  timed: {after: {=data.at.due: b}}
  working: {entry: work}
  eager: {entry: {do: hurry, eager: true}}
  building: {invoke: {do: build, on_done: b}}
  lost:
"""
GOOD = {"x": 1, "who": "other", "due": 1_800_000_000_000}
DECIDE = [
    "guard",
    "plugin",
    "choice",
    "assign",
    "raise",
    "emit",
    "timer",
    "before",
    "exit",
    "actions",
]
EFFECTS = {
    "entry": ("working", "work"),
    "eager": ("eager", "hurry"),
    "invoke": ("building", "build"),
}


def machine(extra: str = "") -> str:
    """The machine, with a line of its own."""
    return MACHINE.replace("{extra}", extra)


def callback(phase: str) -> Any:
    """A callback that raises for the event of its phase, if that has no payload; and emits before."""

    async def called(ctx: Context) -> None:
        if ctx.event.name == phase and ctx.payload is None:
            ctx.emit("told", workflow_id="other")
            raise ValueError(phase)

    return called


def allowed(event: Event) -> bool:
    """A guard that raises without a payload."""
    if event.payload is None:
        raise ValueError("plugin")
    return True


PHASES = {"check": "before", "leave": "exit", "act": "actions", "work": "entry", "hurry": "eager"}
FUNCTIONS = {name: callback(phase) for name, phase in PHASES.items()}
FUNCTIONS |= {"build": callback("invoke"), "allowed": allowed}


def world(extra: str = "") -> World:
    """A world of the machine, and one for what it emits."""
    return World((machine(extra), FUNCTIONS))


def told(world_: World) -> tuple[Any, ...]:
    """What is durable of the workflow, and what of it left: state, seq, n, history, emitted events."""
    found = world_.snapshot("w")
    kinds = [record["kind"] for record in world_.history("w") if record["kind"] != "run"]
    return found.state, found.seq, found.data["n"], kinds[1:], len(world_.records(OWN.inbox))


@pytest.mark.parametrize("phase", DECIDE)
async def test_before_the_accept_nothing_has_happened(phase: str) -> None:
    """State, data, seq and history are as before, nothing leaves; the event waits in a parked workflow."""
    async with world() as one:
        one.send("w", phase)
        await one.idle()
        assert told(one) == ("a", 0, 0, [], 0)
        found = one.snapshot("w")
        assert (found.status, found.parked, one.waiting()) == ("parked", "failed", 1)
        assert found.failure is not None
        assert [timer.id for timer in found.timers] == ["@after/1h"]
        assert not (found.owed)
        assert not (found.jobs)


@pytest.mark.parametrize("phase", DECIDE)
async def test_before_the_accept_the_event_goes_where_the_machine_says(phase: str) -> None:
    """`on_error` moves the workflow from where it was; `on_failure` makes a letter of the event."""
    async with world("on_error: lost") as one:
        one.send("w", phase)
        await one.idle()
        assert told(one) == ("lost", 1, 0, ["rejected", "applied"], 0)
        assert one.outcomes("w") == [f"{phase} rejected(failed)", "@error applied"]
    async with world("on_failure: dead_letter") as one:
        one.send("w", phase)
        await one.idle()
        assert told(one) == ("a", 0, 0, ["dead_lettered"], 0)
        assert [letter.reason for letter in one.letters()] == ["failed"]


@pytest.mark.parametrize("phase", EFFECTS)
@pytest.mark.parametrize("extra", ["", "on_failure: dead_letter"])
async def test_after_the_accept_the_new_state_stands(phase: str, extra: str) -> None:
    """The transition is in the history, both attempts too, and the workflow is parked with the run owed."""
    state, name = EFFECTS[phase]
    async with world(extra) as one:
        one.send("w", phase)
        await one.idle()
        assert told(one) == (state, 1, 1, ["applied"], 0)
        assert one.runs() == [f"{name} 1 failed", f"{name} 2 failed"]
        found = one.snapshot("w")
        assert (found.status, found.parked) == ("parked", "failed")
        assert [owed.name for owed in (*found.owed, *found.jobs)] == [name]
        assert one.letters() == []


@pytest.mark.parametrize("phase", EFFECTS)
async def test_after_the_accept_on_error_is_the_next_transition(phase: str) -> None:
    """What the first one assigned stays; the run is given up with its state."""
    async with world("on_error: lost") as one:
        one.send("w", phase)
        await one.idle()
        assert told(one) == ("lost", 2, 1, ["applied", "applied"], 0)
        found = one.snapshot("w")
        assert not (found.owed)
        assert not (found.jobs)


async def test_a_timer_that_is_due_fails_as_an_event_does() -> None:
    """Its guard raises: nothing has happened, and the workflow is parked."""
    async with world() as one:
        one.send("w", "set", "soon")
        await one.idle()
        await one.leap(2)
        await one.idle()
        assert told(one) == ("a", 1, 0, ["applied"], 0)
        found = one.snapshot("w")
        assert (found.status, found.parked) == ("parked", "failed")
        assert found.failure is not None
        assert "data.at" in found.failure.message


@pytest.mark.parametrize("phase", [*DECIDE, *EFFECTS])
async def test_each_phase_without_an_exception(phase: str) -> None:
    """The twin: with a payload that suits it the same event moves the workflow, and nothing is parked."""
    async with world() as one:
        one.send("w", phase, GOOD)
        await one.idle()
        target = EFFECTS[phase][0] if phase in EFFECTS else "timed" if phase == "timer" else "b"
        target = "b" if phase == "invoke" else target
        assert one.state() == target
        assert one.snapshot("w").data["n"] == 1
        assert one.snapshot("w").status == "active"
        assert one.outcomes("w")[0] == f"{phase} applied"


async def test_a_birth_that_fails_leaves_a_letter_and_no_workflow() -> None:
    """There is nothing to park, and no history but the letter's."""
    text = machine().replace("initial: a", "initial: chosen")
    async with World((text, FUNCTIONS)) as one:
        one.send("w", "lost")
        await one.idle()
        assert not one.exists("w")
        assert [letter.reason for letter in one.letters()] == ["failed"]
        assert [record["kind"] for record in one.history()] == ["dead_lettered"]
        one.send("w", "lost", GOOD)
        await one.idle()
        assert one.state() == "lost"
