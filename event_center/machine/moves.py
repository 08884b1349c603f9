"""
Moves: single branches of a machine, compiled; and what taking some of them together comes to.

A `Move` knows its guard, callbacks and assigns, wherever it is taken. A `Taken` is one microstep:
the moves that one event takes in one configuration, and what they leave and enter. Both are made
once, by `table`, and read by `step` and `macrostep`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from event_center.errors import ExpressionError
from event_center.machine.arithmetic import noun
from event_center.machine.decision import Action, Emission, Guard, Transition
from event_center.machine.definition import Emit
from event_center.machine.expression import compile_expression
from event_center.machine.making import Maker, maker
from event_center.machine.schema import Schema
from event_center.machine.scope import ROOTS
from event_center.machine.timing import Arm
from event_center.model import MAX_ID_BYTES, Event, Result, Snapshot, is_workflow_id

Actions = tuple[Action, ...]
Emitter = Callable[[Snapshot, Event, int], list[Emission]]
"""Makes the events that a branch sends out, of the workflow as it is, the event and now."""
OWN = compile_expression("workflow_id", ROOTS, "emit")
"""Whose event it is that names no workflow_id."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Move:
    """One branch, compiled."""

    source: str | None
    """The state that it is written in; None: the machine."""
    guard: Guard | None
    denied: str
    """How a refusal names the guard."""
    target: str | None
    reenter: bool
    before: Actions
    actions: Actions
    assign: Maker | None
    """Makes the new data."""
    raises: tuple[tuple[str, Maker], ...]
    """Events for the own workflow, and what makes their payloads."""
    emits: Emitter | None
    """Makes events for others; what is worked out for them sees the old data."""

    def raised(self, snapshot: Snapshot, event: Event, now_ms: int) -> list[Event]:
        """The events that it hands to its own workflow; their payloads see the old data."""
        if not self.raises:
            return []
        return [
            Event(name, payload(snapshot, event, now_ms), None, now_ms, (), event.origin)
            for name, payload in self.raises
        ]


def emitter(emits: Sequence[Emit]) -> Emitter:
    """What makes the events that a branch sends out."""
    whom = [OWN if emit.workflow_id is None else emit.workflow_id for emit in emits]
    parts = zip(emits, whom, strict=True)
    make: Emitter = maker([[e.event, to, e.payload, e.topic, e.machine] for e, to in parts])
    receivers = [
        (number, emit) for number, emit in enumerate(emits) if emit.workflow_id is not None
    ]
    if not receivers:
        return make

    def checked(snapshot: Snapshot, event: Event, now_ms: int) -> list[Emission]:
        made = make(snapshot, event, now_ms)
        for number, emit in receivers:
            workflow_id = made[number][1]
            if not (isinstance(workflow_id, str) and is_workflow_id(workflow_id)):
                raise ExpressionError(
                    f"{emit.where}: the workflow_id of {emit.event!r} is {noun(workflow_id)}; it is a "
                    f"text of 1 to {MAX_ID_BYTES} bytes without control characters"
                )
        return made

    return checked


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Taken:
    """One microstep: moves that one event takes together in one configuration."""

    moves: tuple[Move, ...]
    configuration: str
    """The one after it."""
    exited: tuple[str, ...]
    """Inner states first."""
    entered: tuple[str, ...]
    """Outer states first."""
    decide: Actions
    arms: tuple[Arm, ...]
    """The timers of what is entered."""
    dropped: frozenset[str] | None
    """Ids of the timers of what is left; None: of all there can be."""
    owed: tuple[str, ...]
    jobs: tuple[str, ...] | None
    """The jobs of what is entered; None: no state of the machine has any."""
    left: frozenset[str] | None
    """The entry callbacks and jobs of what is left; None: of all there can be."""
    result: Result | None
    remembered: Mapping[str, str]
    done: tuple[str, ...]
    """States that are done by it and say what happens then."""
    ends_step: bool
    """Nothing follows in the same step."""
    lone: Move | None
    """The only move, if nothing follows it in the same step."""
    plain: bool
    """All that was active is left, and all timers of what is entered are plain delays."""
    ready: Transition | None
    """The decision, where it is the same for every event."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checked:
    """What an event does in one configuration, once its payload fits the schema."""

    schema: Schema
    then: Transition | Choice | None
    options: ClassVar[None] = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Choice:
    """The moves among which one event chooses in one configuration."""

    chains: tuple[tuple[Move, ...], ...]
    """For each leaf, in the order in which they are tried: the first whose guard says yes."""
    options: tuple[tuple[Guard | None, Taken, Transition | None], ...] | None
    """Of one chain, what each move comes to, and the decision where it is always the same."""
    taken: dict[object, Taken]
    """By the moves chosen and what history states among their targets bring back."""

    def chosen(self, snapshot: Snapshot, event: Event, now_ms: int) -> tuple[Move, ...]:
        """The moves that are taken; none if all guards say no."""
        said: dict[Move, bool] = {}
        picked: dict[Move, None] = {}
        for chain in self.chains:
            for move in chain:
                if move not in said:
                    guard = move.guard
                    said[move] = guard is None or bool(guard(snapshot, event, now_ms))
                if said[move]:
                    picked[move] = None
                    break
        return tuple(picked)

    def denied(self) -> str:
        """The guards that said no, as a refusal names them."""
        moves = dict.fromkeys(move for chain in self.chains for move in chain)
        return ", ".join(move.denied for move in moves)
