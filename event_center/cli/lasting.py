"""
How long something took, or goes on, as a person reads it: `36m 31s`.

Called by `panel` and `explaining`. What machines and settings write is `machine.duration`'s: whole units.
"""

from __future__ import annotations

_SECOND_MS, _MINUTE_MS, _HOUR_MS, _DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS = (
    (_DAY_MS, "d", _HOUR_MS, "h"),
    (_HOUR_MS, "h", _MINUTE_MS, "m"),
    (_MINUTE_MS, "m", _SECOND_MS, "s"),
)


def lasting(ms: int) -> str:
    """A time that has passed, in one or two units."""
    for unit_ms, unit, part_ms, part in _STEPS:
        if ms >= unit_ms:
            return f"{ms // unit_ms}{unit} {ms % unit_ms // part_ms}{part}"
    if not ms:
        return "<1ms"
    return f"{ms / _SECOND_MS:.1f}s" if ms >= _SECOND_MS else f"{ms}ms"
