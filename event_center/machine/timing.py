"""
Timers of states: their ids, when they are due, and when they repeat.

A timer counts from the moment its state was entered, or is due at a time that an expression gives.
Pure, like all of this room: now is an argument. Called by `microstep`, `macrostep` and `step`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from event_center.errors import ExpressionError
from event_center.machine.arithmetic import noun
from event_center.machine.decision import AFTER
from event_center.machine.definition import Kind, State
from event_center.machine.duration import LONGEST_MS
from event_center.machine.expression import Expression
from event_center.machine.scope import values_of
from event_center.model import Event, Snapshot, Timer

WHOLE = "*"
"""Stands for the machine where the id of a timer names its state."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Arm:
    """A timer that is armed when its state is entered."""

    id: str
    after: int | Expression
    """Milliseconds, or an expression that gives the time when it is due."""


def timer_id(state: State, key: str) -> str:
    """The event of a timer; of a state at the top without states inside the key says enough."""
    if state.parent is None and state.kind is Kind.ATOMIC:
        return sys.intern(AFTER + key)
    return sys.intern(f"{AFTER}{key}/{state.name}")


def whole_id(key: str) -> str:
    """The event of a timer of the whole workflow."""
    return sys.intern(f"{AFTER}{key}/{WHOLE}")


def armed(arms: Iterable[Arm], snapshot: Snapshot, seq: int, now_ms: int) -> tuple[Timer, ...]:
    """
    The timers of states that the transition `seq` enters; one without a time is not armed.

    Args:
        arms: what is to be armed.
        snapshot: the workflow with its new data.
        seq: the number of the transition.
        now_ms: the time of it.

    Raises:
        ExpressionError: an expression has no value, or none that is a time.
    """
    timers = []
    for arm in arms:
        after = arm.after
        due_ms = now_ms + after if isinstance(after, int) else due(after, snapshot, now_ms)
        if due_ms is not None:
            timers.append(Timer(arm.id, seq, due_ms))
    return tuple(timers)


def due(expression: Expression, snapshot: Snapshot, now_ms: int) -> int | None:
    """
    The time that an expression gives: milliseconds, or ISO 8601 with its zone; None is no time.

    Raises:
        ExpressionError: its value is not a time, or is more than a hundred years from now.
    """
    value = expression.evaluate(values_of(snapshot, Event(""), now_ms))
    where = f"{expression.where}: '={expression.text}'"
    if value is None:
        return None
    if isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
        except ValueError as error:
            raise ExpressionError(f"{where}: {error}; write 2030-12-31T12:00:00Z") from None
        if read.tzinfo is None:
            raise ExpressionError(f"{where}: {value!r} has no zone; write 2030-12-31T12:00:00Z")
        value = read.timestamp() * 1000
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"{where} is {noun(value)}, not a time: milliseconds, or text like "
        raise ExpressionError(message + "2030-12-31T12:00:00Z")
    if abs(value - now_ms) > LONGEST_MS:
        raise ExpressionError(f"{where} is {value:.0f} ms, more than a hundred years from now")
    return int(value)


def again(timer: Timer, period_ms: int, now_ms: int) -> Timer:
    """
    A timer that repeats, armed for the first multiple of its period after now.

    So periods that were missed fire once.
    """
    periods = max(0, now_ms - timer.due_ms) // period_ms + 1
    return timer._replace(due_ms=timer.due_ms + periods * period_ms)
