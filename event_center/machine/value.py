"""
Values as machines write them: JSON with expressions in it, and copies of JSON.

`filled` makes the value of an assign for one event, `copied` keeps a workflow's data from sharing
parts with a payload or with the defaults of its machine. Called by `making` (which compiles what
`filled` does), `upgrade` and `arriving` (birth).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from event_center.errors import ExpressionError
from event_center.machine.expression import Expression
from event_center.model import Json

Value = Any
"""A JSON value in which an `Expression` may stand for any part."""

_DEEPEST = 200
"""Levels of a value, as of a record: with those of a machine around it, JSON can still write it (254)."""


def copied(value: Json, depth: int = 0) -> Json:
    """
    A deep copy of a JSON value.

    Raises:
        ExpressionError: it is nested deeper than 200 levels.
    """
    if depth > _DEEPEST:
        raise ExpressionError(f"a value is nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        return {key: copied(part, depth + 1) for key, part in value.items()}
    if isinstance(value, (list, tuple)):  # a union of types would be made anew with each call
        return [copied(part, depth + 1) for part in value]
    return value


def filled(value: Value, values: Mapping[str, Any]) -> Json:
    """
    The value with its expressions evaluated; it shares no part with the values of the roots.

    Raises:
        ExpressionError: an expression fails, or its value is nested deeper than 200 levels.
    """
    if isinstance(value, Expression):
        result = value.evaluate(values)
        if isinstance(result, dict | list | tuple):
            try:
                return copied(result)
            except ExpressionError as error:
                raise ExpressionError(f"{value.where}: '={value.text}': {error}") from None
        return result
    if isinstance(value, dict):
        return {key: filled(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, values) for part in value]
    return value


def expressions(value: Value) -> Iterator[Expression]:
    """The expressions in a value."""
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from expressions(part)
    elif isinstance(value, list):
        for part in value:
            yield from expressions(part)
