"""
The order in which one workflow's events of one partition were decided (promise P4).

They are decided as they lie, except those that the machine sets aside: an event may be passed over
only while the pure machine would defer it. Outcomes that are no decisions (duplicates, events of
another machine, letters for want of room) may come at any time. `audit_shard` keeps one of these for
each workflow and partition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from event_center.model import Position
from event_center.testing.audit_evidence import Complaint, Promise
from event_center.testing.audit_formats import Told

_AT_ONCE = frozenset({"other_machine", "waiting_full", "behind_letter", "unreadable_snapshot"})


def is_decision(told: Told) -> bool:
    """Whether this outcome was given when the event's turn came."""
    return (
        "machine" in told.data and told.kind != "duplicate" and told.get("reason") not in _AT_ONCE
    )


class Order:
    """The events of one workflow in one partition, and how far they are decided."""

    __slots__ = ("_aside", "_early", "_next", "_offsets")

    def __init__(self, offsets: Sequence[int]) -> None:
        self._offsets = offsets
        self._next = 0
        self._aside: set[int] = set()
        """Passed over, as the machine allows."""
        self._early: set[int] = set()
        """Given an outcome before their turn."""

    def pass_over(self, may: Callable[[int], bool], until: int | None = None) -> None:
        """Set aside the next events that may be, up to the one at offset `until`."""
        while self._next < len(self._offsets):
            offset = self._offsets[self._next]
            if offset not in self._early and (offset == until or not may(offset)):
                return
            if offset not in self._early:
                self._aside.add(offset)
            self._next += 1

    def take(
        self, position: Position, told: Told, may: Callable[[int], bool]
    ) -> Iterator[Complaint]:
        """One of the events has its outcome."""
        offset = position.offset
        if offset in self._aside:
            self._aside.discard(offset)
            return
        if not is_decision(told):
            self._early.add(offset)
            return
        self.pass_over(may, offset)
        expected = self._offsets[self._next] if self._next < len(self._offsets) else None
        if offset == expected:
            self._next += 1
        else:
            yield (
                Promise.ORDER,
                f"{position} was decided ({told.kind}) out of its turn, which was offset {expected}",
            )
