"""
Who writes a machine in Python: the file and line of a call, and the class whose body is being executed.

A blueprint can only look at what its class holds when that is made; what is written on a state without an
attribute is noted here, so that nothing is lost in silence. Called by `blueprint`; read by `builder`.
"""

from __future__ import annotations

import inspect
from itertools import islice
from types import FrameType

from event_center.machine.definition import NOWHERE
from event_center.machine.problems import Place

ANYWHERE, WRITTEN = "__anywhere__", "__written__"
"""Where a class keeps what its body says of every state at once, and the states that are made in it."""

_OURS = frozenset({__name__, f"{__package__}.blueprint"})


def _outside() -> FrameType | None:
    """What is being executed outside of this module."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") in _OURS:
        frame = frame.f_back
    return frame


def note(key: str, thing: object) -> None:
    """Let the class that is being made keep this, whether an attribute of it holds it or not."""
    body = _outside()
    while body is not None and "__qualname__" not in body.f_locals:
        body = body.f_back
    if body is not None:
        body.f_locals.setdefault(key, []).append(thing)


def here() -> tuple[str, Place]:
    """The file, line and column that are being executed outside of this module."""
    if (frame := _outside()) is None:
        return "<python>", NOWHERE
    positions = islice(frame.f_code.co_positions(), frame.f_lasti // 2, None)
    line, _, column, _ = next(positions, (None, None, None, None))
    return frame.f_code.co_filename, Place(line or frame.f_lineno, (column or 0) + 1)
