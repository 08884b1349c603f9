"""
Moves: single branches of a machine, compiled; and what taking some of them together comes to.

A `Move` knows its guard, callbacks and assigns, wherever it is taken. A `Taken` is one microstep:
the moves that one event takes in one configuration, and what they leave and enter. Both are made
once, by `table`, and read by `step` and `macrostep`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from event_center.errors import ExpressionError
from event_center.machine.arithmetic import noun
from event_center.machine.decision import Action, Emission, Guard, Transition
from event_center.machine.definition import Emit
from event_center.machine.schema import Schema
from event_center.machine.scope import values_of
from event_center.machine.timing import Arm
from event_center.machine.value import Value, filled
from event_center.model import MAX_ID_BYTES, Event, Json, Result, Snapshot, is_workflow_id

Actions = tuple[Action, ...]


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
    assign: tuple[tuple[str, Value], ...]
    raises: tuple[tuple[str, Value], ...]
    """Events for the own workflow, and their payloads."""
    emits: tuple[Emit, ...]
    """Events for others."""
    with_event: bool
    """A value reads the root `event`."""

    def data(self, snapshot: Snapshot, event: Event, now_ms: int) -> dict[str, Json] | None:
        """The new data: all assigns see the old one."""
        if not self.assign:
            return None
        values = values_of(snapshot, event, now_ms, with_event=self.with_event)
        return {**snapshot.data, **{key: filled(value, values) for key, value in self.assign}}

    def raised(self, snapshot: Snapshot, event: Event, now_ms: int) -> list[Event]:
        """The events that it hands to its own workflow; their payloads see the old data."""
        if not self.raises:
            return []
        values = values_of(snapshot, event, now_ms)
        return [
            Event(name, filled(payload, values), None, now_ms, (), event.origin)
            for name, payload in self.raises
        ]

    def emitted(self, snapshot: Snapshot, event: Event, now_ms: int) -> list[Emission]:
        """The events that it sends out; what is worked out for them sees the old data."""
        if not self.emits:
            return []
        values = values_of(snapshot, event, now_ms)
        return [_emitted(emit, values) for emit in self.emits]


def _emitted(emit: Emit, values: dict[str, Any]) -> Emission:
    workflow_id = values["workflow_id"]
    if emit.workflow_id is not None:
        workflow_id = filled(emit.workflow_id, values)
        if not (isinstance(workflow_id, str) and is_workflow_id(workflow_id)):
            raise ExpressionError(
                f"{emit.where}: the workflow_id of {emit.event!r} is {noun(workflow_id)}; it is a "
                f"text of 1 to {MAX_ID_BYTES} bytes without control characters"
            )
    return Emission(emit.event, workflow_id, filled(emit.payload, values), emit.topic, emit.machine)


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
