"""
Whether one event was applied under two positions: what publishers send twice carries the same id (P2).

A workflow knows the last ids that it has recorded, waiting events included, and the audit sees outcomes
only; so it complains about two events of one id between which there were few others. `audit_shard` keeps
one of these for each workflow.
"""

from __future__ import annotations

from collections.abc import Iterator

from event_center.model import Event
from event_center.testing.audit_evidence import Complaint, Promise
from event_center.testing.audit_formats import Told

SURE = 32
"""Ids between two events of one id: so few are among the last that are kept, whatever waits besides."""


class Ids:
    """The ids of one workflow's events, in the order of their outcomes."""

    __slots__ = ("_last", "_number")

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._number = 0

    def take(self, told: Told, event: Event | None) -> Iterator[Complaint]:
        """One of its events has its outcome."""
        if event is None or event.id is None or told.kind == "duplicate" or told.position is None:
            return
        former = self._last.get(event.id)
        if told.kind == "applied" and former is not None and self._number - former < SURE:
            yield Promise.ONCE, f"{told.origin} was applied, though its id {event.id!r} was known"
        self._last[event.id] = self._number
        self._number += 1
