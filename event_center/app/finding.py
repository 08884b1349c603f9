"""
One thing that `doctor` has found: how bad it is, and what to do about it.

Made by the modules of the doctor, shown by its command.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for long, or not as well as it could."""
    ERROR = "error"
    """A daemon would not start, would stop, or would lose something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding."""

    area: str
    """What was looked at, in a word."""
    level: Level
    what: str
    advice: str = ""
    """What to do; empty where nothing has to be done."""


def ok(area: str, what: str) -> Finding:
    """Nothing has to be done."""
    return Finding(area=area, level=Level.OK, what=what)


def warning(area: str, what: str, advice: str) -> Finding:
    """Something should be done."""
    return Finding(area=area, level=Level.WARNING, what=what, advice=advice)


def error(area: str, what: str, advice: str) -> Finding:
    """Something has to be done."""
    return Finding(area=area, level=Level.ERROR, what=what, advice=advice)
