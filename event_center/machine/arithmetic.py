"""
The operators of expressions whose results could grow, or that would say too little when they fail.

Numbers stay within 64 bits and finite, because that is what JSON in the log can hold; texts and
lists stay short enough to be a workflow's data. Failures are Python's plain errors with a sentence
for users. Called by compiled expressions only (`expression`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from math import isfinite
from typing import Any

from event_center.errors import ExpressionError
from event_center.machine.spelling import hint, quoted

FAILURES = (LookupError, TypeError, ValueError, ArithmeticError, RecursionError, ExpressionError)
"""Everything that evaluating an expression on values like JSON can raise."""

LEAST = -(2**63)
"""
The least integer that JSON can be written with here (orjson): others could not be in a snapshot.
"""
GREATEST = 2**64 - 1
"""The greatest one, for the same reason."""
MAX_LENGTH = 100_000
"""Of a text or list that is computed: `data.x * 1000000` must not fill the memory."""

_NUMBER = (int, float)
"""Not `int | float`, which would make a union of types anew with each call."""
_NOUNS = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def noun(value: object) -> str:
    """What kind of JSON value this is, in words."""
    return _NOUNS.get(type(value), type(value).__name__)


def in_range(value: float) -> None:
    """
    Refuse a number that JSON in the log cannot hold.

    Raises:
        ExpressionError: an integer of more than 64 bits, or a float that is not finite.
    """
    if isinstance(value, int):
        if not LEAST <= value <= GREATEST:
            raise ExpressionError("a number has more than 64 bits")
    elif not isfinite(value):
        raise ExpressionError("a number is too large, or is not a number")


def _numbers(operator: str, left: object, right: object) -> None:
    for value in (left, right):
        if not isinstance(value, _NUMBER):
            raise ExpressionError(f"{operator} works on numbers, not on {noun(value)}")


def _ranged(value: float) -> float:
    in_range(value)
    return value


def _add(left: Any, right: Any) -> Any:
    if type(left) is int and type(right) is int:  # what counts, counts with every event
        total = left + right
        return total if LEAST <= total <= GREATEST else _ranged(total)
    if type(left) is type(right) and isinstance(left, (str, list)):
        if len(left) + len(right) > MAX_LENGTH:
            raise ExpressionError(f"the result of + is longer than {MAX_LENGTH:,}")
        return left + right
    if isinstance(left, _NUMBER) and isinstance(right, _NUMBER):
        return _ranged(left + right)
    raise ExpressionError(
        f"+ joins two numbers, two texts or two lists, not {noun(left)} and {noun(right)}"
    )


def _subtract(left: Any, right: Any) -> Any:
    _numbers("-", left, right)
    return _ranged(left - right)


def _multiply(left: Any, right: Any) -> Any:
    _numbers("*", left, right)
    return _ranged(left * right)


def _divide(left: Any, right: Any) -> Any:
    _numbers("/", left, right)
    return _ranged(left / right)


def _floor(left: Any, right: Any) -> Any:
    _numbers("//", left, right)
    return _ranged(left // right)


def _remainder(left: Any, right: Any) -> Any:
    _numbers("%", left, right)
    return _ranged(left % right)


def _negative(value: Any) -> Any:
    _numbers("-", value, 0)
    return _ranged(-value)


def _item(owner: Any, key: Any, path: str) -> Any:
    """`owner[key]`, saying what is wrong; `path` is how the owner was written."""
    if isinstance(owner, dict):
        if key in owner:
            return owner[key]
        names = [name for name in owner if isinstance(name, str)]
        known = hint(str(key), names, "keys") or "; it has no keys"
        raise ExpressionError(f"{path} has no key {quoted(key)}{known}")
    if isinstance(owner, list | tuple | str) and isinstance(key, int):
        if -len(owner) <= key < len(owner):
            return owner[key]
        raise ExpressionError(f"{path} has {len(owner)} items, so there is none at {key}")
    if (
        isinstance(owner, dict | list | tuple | str)
        or owner is None
        or noun(owner) in _NOUNS.values()
    ):
        raise ExpressionError(f"{path} is {noun(owner)}, so it has no {quoted(key)}")
    return owner[key]


OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "_add",
    ast.Sub: "_subtract",
    ast.Mult: "_multiply",
    ast.Div: "_divide",
    ast.FloorDiv: "_floor",
    ast.Mod: "_remainder",
}
CHECKED: dict[str, Callable[..., Any]] = {
    "_add": _add,
    "_subtract": _subtract,
    "_multiply": _multiply,
    "_divide": _divide,
    "_floor": _floor,
    "_remainder": _remainder,
    "_negative": _negative,
    "_item": _item,
}
"""The only names that compiled expressions know, beside the values they are given."""
