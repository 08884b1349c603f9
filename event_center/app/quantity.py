"""
Quantities that people write into settings: durations such as `30s`, and sizes such as `64MiB`.

A duration becomes seconds, a size becomes bytes, and `unlimited` becomes None. A bare number is
refused, since nobody can see its unit. `settings` uses these as types of its fields; what can not be
read goes to `problems`, which tells it with its place.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

from event_center.machine.duration import duration_ms

_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_SIZE = re.compile(r"([0-9]{1,12})([A-Za-z]+)")

UNLIMITED = "unlimited"
"""The word for a limit that is not set; TOML has no null."""


def seconds(text: object) -> float:
    """
    The seconds of a duration, which is written as in machines.

    Raises:
        ValueError: it is no duration.
    """
    if not isinstance(text, str):
        raise ValueError(f'{text!r} has no unit; write a duration, as "500ms", "30s" or "5m"')  # noqa: TRY004
    return duration_ms(text) / 1_000


def size(text: object) -> int:
    """
    The bytes of a size: a whole number and one of the units `B KiB MiB GiB TiB`.

    Raises:
        ValueError: it is no size.
    """
    match = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[2] not in _BYTES:
        raise ValueError(f'{text!r} is not a size; write e.g. "512KiB", "64MiB", "4GiB"')
    return int(match[1]) * _BYTES[match[2]]


def _seconds_or_none(text: object) -> float | None:
    return None if text == UNLIMITED else seconds(text)


def _size_or_none(text: object) -> int | None:
    return None if text == UNLIMITED else size(text)


Seconds = Annotated[float, BeforeValidator(seconds)]
"""A duration, as seconds."""
SecondsOrUnlimited = Annotated[float | None, BeforeValidator(_seconds_or_none)]
"""A duration, as seconds, or None for `unlimited`."""
Bytes = Annotated[int, BeforeValidator(size)]
"""A size, as bytes."""
BytesOrUnlimited = Annotated[int | None, BeforeValidator(_size_or_none)]
"""A size, as bytes, or None for `unlimited`."""
