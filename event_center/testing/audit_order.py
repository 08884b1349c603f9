"""
The order in which one workflow's events of one partition were decided (promise P4).

They are decided as they lie, except those that the machine sets aside: an event may be passed over
only while the pure machine would defer it, one that was set aside only until a state accepts it. Outcomes
that are no decisions (duplicates, events of another machine, letters for want of room) may come at any
time. `audit_shard` keeps one of these for each workflow and partition.
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

    __slots__ = ("_deferred", "_early", "_next", "_offsets", "_overtaken")

    def __init__(self, offsets: Sequence[int]) -> None:
        self._offsets = offsets
        self._next = 0
        self._deferred: set[int] = set()
        """Passed over, as the machine allows."""
        self._early: set[int] = set()
        """Given an outcome before their turn."""
        self._overtaken: dict[int, int] = {}
        """Passed over although nothing allows it, and by which offset; still without an outcome."""

    def pass_over(self, may: Callable[[int], bool], until: int | None = None) -> None:
        """Set aside the next events that may be, up to the one at offset `until`."""
        while self._next < len(self._offsets):
            offset = self._offsets[self._next]
            if offset not in self._early and (offset == until or not may(offset)):
                return
            if offset not in self._early:
                self._deferred.add(offset)
            self._next += 1

    def deferred(self, offset: int) -> bool:
        """Whether the machine has set this event aside, so that others may be decided before it."""
        return offset in self._deferred

    def take(
        self,
        position: Position,
        told: Told,
        may: Callable[[int], bool],
        accepted: Callable[[int], bool],
    ) -> Iterator[Complaint]:
        """One of the events has its outcome: which may be passed over now, which would be accepted."""
        offset = position.offset
        if offset in self._overtaken:
            later = self._overtaken.pop(offset)
            if is_decision(told):
                after = f"after offset {later}, and nothing set it aside"
                yield Promise.ORDER, f"{position} was decided ({told.kind}) {after}"
        elif offset in self._deferred:
            self._deferred.discard(offset)
            if is_decision(told):
                self._overtake(offset, accepted)
        elif is_decision(told):
            self._advance(offset, may)
        else:
            self._early.add(offset)

    def _overtake(self, offset: int, accepted: Callable[[int], bool]) -> None:
        """Of those that were set aside, the earlier ones that are accepted now are overtaken."""
        for earlier in [one for one in self._deferred if one < offset and accepted(one)]:
            self._deferred.discard(earlier)
            self._overtaken[earlier] = offset

    def _advance(self, offset: int, may: Callable[[int], bool]) -> None:
        """It is the turn of this one; what lies before it and may not be passed over is overtaken."""
        self.pass_over(may, offset)
        while self._next < len(self._offsets) and self._offsets[self._next] < offset:
            self._overtaken[self._offsets[self._next]] = offset
            self._next += 1
            self.pass_over(may, offset)
        self._next += 1
