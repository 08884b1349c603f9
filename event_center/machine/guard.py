"""
Guards: named ones, expressions, states that must be active, and what `not`, `and`, `or` make of them.

A definition holds a `Condition`; the table calls what `compiled` makes of it. A guard that raises
lets the exception out of the step: it is an error, never "false". Called by `branches` (reading),
`checks` and `table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from event_center.errors import ExpressionError
from event_center.machine.decision import Guard
from event_center.machine.expression import Expression
from event_center.machine.making import evaluator
from event_center.machine.problems import Place
from event_center.model import Event, Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """A guard that a plugin gives."""

    place: Place
    name: str
    where: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Computed:
    """A guard that is an expression."""

    place: Place
    expression: Expression


@dataclass(frozen=True, kw_only=True, slots=True)
class Inside:
    """True while a state is active: the one that the workflow is in, or one around it."""

    place: Place
    state: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Raised:
    """True when the error of a failed callback is of one of these classes."""

    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Not:
    """True when its part is not."""

    part: Condition


@dataclass(frozen=True, kw_only=True, slots=True)
class Every:
    """True when all parts are, tried in order."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Either:
    """True when one part is, tried in order."""

    parts: tuple[Condition, ...]


Leaf = Named | Computed | Inside | Raised
Condition = Leaf | Not | Every | Either


Active = Callable[[str], tuple[str, ...]]
"""The states that are active in a configuration."""


def leaves(condition: Condition | None) -> Iterator[Leaf]:
    """The named guards, expressions and states of a condition, in order."""
    match condition:
        case None:
            return
        case Named() | Computed() | Inside() | Raised():
            yield condition
        case Not(part=part):
            yield from leaves(part)
        case Every(parts=parts) | Either(parts=parts):
            for one in parts:
                yield from leaves(one)


def text_of(condition: Condition) -> str:  # noqa: PLR0911 - a case for each kind
    """How a refusal names the condition: `name`, `=expression`, `not x`, `(x and y)`."""
    match condition:
        case Named(name=name):
            return name
        case Computed(expression=expression):
            return f"={expression.text}"
        case Inside(state=state):
            return f"in {state}"
        case Raised(names=names):
            return f"errors {', '.join(names)}"
        case Not(part=part):
            return f"not {text_of(part)}"
        case Every(parts=parts):
            return f"({' and '.join(text_of(part) for part in parts)})"
        case Either(parts=parts):
            return f"({' or '.join(text_of(part) for part in parts)})"
        case _:
            assert_never(condition)


def compiled(  # noqa: PLR0911 - a case for each kind
    condition: Condition, given: Mapping[str, Guard], active: Active
) -> Guard:
    """The condition as one function; named guards are looked up among the given ones."""
    match condition:
        case Named(name=name):
            return given[name] if name in given else _unbound(condition)
        case Computed(expression=expression):
            return evaluator(expression)
        case Inside(state=state):
            return _inside(state, active)
        case Raised(names=names):
            return _raised(frozenset(names))
        case Not(part=part):
            return _not(compiled(part, given, active))
        case Every(parts=parts):
            return _every(tuple(compiled(part, given, active) for part in parts))
        case Either(parts=parts):
            return _either(tuple(compiled(part, given, active) for part in parts))
        case _:
            assert_never(condition)


def _raised(names: frozenset[str]) -> Guard:
    def raised(_snapshot: Snapshot, event: Event, _now_ms: int) -> bool:
        return event.payload["type"] in names

    return raised


def _inside(state: str, active: Active) -> Guard:
    def inside(snapshot: Snapshot, _event: Event, _now_ms: int) -> bool:
        return state in active(snapshot.state)

    return inside


def _unbound(condition: Named) -> Guard:
    def unbound(_snapshot: Snapshot, _event: Event, _now_ms: int) -> bool:
        message = f"{condition.where}: no plugin gives the guard '{condition.name}'"
        raise ExpressionError(message)

    return unbound


def _not(part: Guard) -> Guard:
    def negated(snapshot: Snapshot, event: Event, now_ms: int) -> bool:
        return not part(snapshot, event, now_ms)

    return negated


def _every(parts: tuple[Guard, ...]) -> Guard:
    def every(snapshot: Snapshot, event: Event, now_ms: int) -> bool:
        return all(part(snapshot, event, now_ms) for part in parts)

    return every


def _either(parts: tuple[Guard, ...]) -> Guard:
    def either(snapshot: Snapshot, event: Event, now_ms: int) -> bool:
        return any(part(snapshot, event, now_ms) for part in parts)

    return either
