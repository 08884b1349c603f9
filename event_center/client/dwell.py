"""
How long workflows stay in the states of their machines, as far as the history tells it.

Promises: a stay is measured only if both its ends were heard, and nothing between them was missed; a
transition that ends where it began is part of the stay. `watch` hands `Dwells` each record once, `stays`
hands them to `Whereabouts`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from event_center.wire.history import COMMAND, MIGRATED, REMOVED, epoch_ms

STAYS = 1_000
"""Of each state, the last ones count: enough for a 95th percentile, and a change shows soon."""
KNOWN = 100_000
"""Workflows whose stay is followed, some 30 MB: who was heard of longest ago is let go."""
SLOW = 0.95
"""Of all stays, so many were shorter than what counts as slow: one in twenty is worth a look."""


class Dwell(NamedTuple):
    """The stays in one state that were measured."""

    left: int
    """How many: at most the last `STAYS`."""
    median_ms: int
    slow_ms: int
    """19 of 20 were not longer."""
    longest_ms: int


class _Stay(NamedTuple):
    machine: str
    state: str
    seq: int
    since_ms: int | None
    """None: it began before we listened."""


class Stayed(NamedTuple):
    """A stay that has ended, and was measured."""

    machine: str
    state: str
    length_ms: int


def moved(record: dict[str, Any]) -> bool:
    """Whether the record is of a transition, or of a state that was set."""
    if record.get("to") is None:
        return False
    if record["kind"] != COMMAND:
        return True
    return (record["command"], record["outcome"]) == ("set-state", "applied")


class Whereabouts:
    """Where each workflow is, and since when."""

    def __init__(self) -> None:
        self._now: dict[str, _Stay] = {}
        """Oldest first by when they were heard of."""

    def hear(self, record: dict[str, Any]) -> Stayed | None:
        """One record of the history, and the stay that it has ended."""
        workflow_id, kind = record["workflow_id"], record["kind"]
        if kind in {REMOVED, MIGRATED}:
            self._now.pop(workflow_id, None)
            return None
        if not moved(record):
            return None
        state = record["to"]
        before = self._now.pop(workflow_id, None)
        if before is not None and record["seq"] != before.seq + 1:
            before = None
        at_ms = epoch_ms(record["at"])
        since_ms: int | None = at_ms
        ended = None
        if record.get("from") == state:
            since_ms = None if before is None else before.since_ms
        elif before is not None and before.since_ms is not None:
            ended = Stayed(before.machine, before.state, max(0, at_ms - before.since_ms))
        if record.get("result") is None:
            self._now[workflow_id] = _Stay(record["machine"], state, record["seq"], since_ms)
            if len(self._now) > KNOWN:
                del self._now[next(iter(self._now))]
        return ended


class Dwells:
    """The stays of all states."""

    def __init__(self) -> None:
        self._whereabouts = Whereabouts()
        self._stays: dict[tuple[str, str], deque[int]] = {}

    def hear(self, record: dict[str, Any]) -> None:
        """One record of the history."""
        ended = self._whereabouts.hear(record)
        if ended is not None:
            stays = self._stays.setdefault((ended.machine, ended.state), deque(maxlen=STAYS))
            stays.append(ended.length_ms)

    def by_state(self) -> dict[tuple[str, str], Dwell]:
        """What was measured, by machine and state."""
        return {place: _dwell(sorted(stays)) for place, stays in self._stays.items()}


def _dwell(stays: list[int]) -> Dwell:
    count = len(stays)
    slow = stays[min(count - 1, int(count * SLOW))]
    return Dwell(count, stays[count // 2], slow, stays[-1])
