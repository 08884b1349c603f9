"""
Durations as machines write them: a whole number and a unit, `500ms`, `30s`, `5m`, `24h`, `3d`.

Called when a definition is read or written; in between a duration is a number of milliseconds.
"""

from __future__ import annotations

import re

from event_center.machine.spelling import quoted

_FORM = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST_MS = 36_500 * 86_400_000
"""A hundred years: what is longer is a mistake, and due times stay far from all limits."""


def duration_ms(text: str) -> int:
    """
    The milliseconds of a duration.

    Raises:
        ValueError: the text is not a duration, or is longer than a hundred years.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        message = f"{quoted(text)} is not a duration; write e.g. 500ms, 30s, 5m, 24h, 3d"
        raise ValueError(message)
    result = int(match[1]) * _UNITS_MS[match[2]]
    if result > LONGEST_MS:
        message = f"{quoted(text)} is longer than a hundred years (36500d)"
        raise ValueError(message)
    return result


def in_words(milliseconds: int) -> str:
    """A duration as machines write it, in the largest unit that it is whole in."""
    units = [one for one, ms in _UNITS_MS.items() if milliseconds % ms == 0]
    return f"{milliseconds // _UNITS_MS[units[-1]]}{units[-1]}" if milliseconds else "0ms"
