"""
The types of what an entry holds: valid JSON that no release has written is refused where it is read.

Promises: whatever passes can be worked with. A wrong type inside of a snapshot would else be met in the
middle of a turn, and stop a shard where one workflow is to stand still. All raise `TypeError`; whoever
decodes an entry (`snapshot`, `waiting`, `entries`) makes the `FormatError` of it that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Kinds = tuple[type, ...]

MOST = 2**62
"""No count and no time is greater, and what adds to one stays within the 64 bits of JSON in a log."""

LEAST = -MOST
"""No count and no time is less."""


def check(parts: Sequence[Any], kinds: Kinds) -> Sequence[Any]:
    """These parts, each of its kind; those at the end may be left out. `true` is no number."""
    if type(parts) is str or tuple(map(type, parts)) != kinds[: len(parts)]:
        _refuse(parts, kinds)
    for part in parts:
        if type(part) is int and not LEAST < part < MOST:
            raise TypeError(f"{part!r} is no whole number that may be here")
    return parts


def _refuse(parts: Sequence[Any], kinds: Kinds) -> None:
    """Say which of the parts is of another kind, or that there are too many."""
    if type(parts) is str or len(parts) > len(kinds):
        raise TypeError(f"{parts!r} is not {len(kinds)} parts")
    for part, kind in zip(parts, kinds, strict=False):
        if type(part) is not kind:
            raise TypeError(f"{part!r} is no {kind.__name__}")


def whole_numbers(values: Iterable[Any]) -> None:
    """Nothing else than whole numbers."""
    for value in values:
        if type(value) is not int or not LEAST < value < MOST:
            raise TypeError(f"{value!r} is no whole number that may be here")


def text(value: Any) -> str:
    """A text."""
    if type(value) is not str:
        raise TypeError(f"{value!r} is no text")
    return value


def texts(values: Iterable[Any]) -> None:
    """Nothing else than texts."""
    for value in values:
        if type(value) is not str:
            text(value)
