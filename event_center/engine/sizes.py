"""
How large a workflow may become: its data, and the events that its owed runs are caused by.

A snapshot is written whole in each cut that changes its workflow, so that one that grows without end
would first slow its shard down and then stop it. The turn asks here before it accepts, the intake before
a birth: what would make the workflow too large is refused (`too_large`), and the workflow stays as it was.
`upgrading` asks before a workflow moves to another version: who would be too large there is parked.
What the center itself adds to a snapshot has limits of its own, and does not count here.

Measuring costs as much as dumping. So each workflow has an upper bound (`Snapshot.size`), which is exact
when it is decoded; a step adds what is new, and only a bound that has passed the limit is measured.
The ledger weighs it, which bounds the next cut.
"""

from __future__ import annotations

import orjson

from event_center.engine.ledger import Ledger
from event_center.errors import TooLarge
from event_center.machine.decision import Refused, Transition
from event_center.machine.step import Machine
from event_center.model import Event, Headers, Json, Reason, Record, Snapshot, Unhandled

_dumps = orjson.dumps

SMALL_BYTES = 10_000
"""Bytes of a record whose event is not weighed as a cause: a workflow has as many as active states."""
WRITTEN_ANEW = 6
"""How many times longer JSON may be than its record: `1e15` becomes a float of 18 digits."""
BESIDE_BYTES = 1_000
"""Bytes of an event beside its payload, headers and name: numbers, brackets, the names of places."""


class SizeLimit:
    """Weighs what a step would make of a workflow of one shard."""

    def __init__(self, ledger: Ledger, most: int) -> None:
        self._ledger = ledger
        self.most = most
        self._begun: dict[str, int] = {}
        """By machine: the bytes of the data with which its workflows begin."""

    def unborn(
        self,
        snapshot: Snapshot,
        event: Event,
        birth: Transition,
        *,
        record: Record,
        machine: Machine,
    ) -> Refused | None:
        """What is said of a birth that would make too large a workflow; None: it may happen."""
        if machine.begins_at_rest and not (birth.owed or birth.jobs):
            size = self._begun.get(machine.name)
            if size is None:  # it begins with the same data every time: they are weighed once
                size = self._begun[machine.name] = _json(birth.data or {})
            if size <= min(SMALL_BYTES, self.most):
                self._ledger.grew(snapshot, size, size)
                return None
        return self.refused(snapshot, event, birth, record)

    def refused(
        self, snapshot: Snapshot, event: Event, decision: Transition, record: Record | None
    ) -> Refused | None:
        """What is said of a step that would make its workflow too large; None: it may happen."""
        added = 0
        if record is None or len(record.value or b"") > SMALL_BYTES or record.headers:
            added = _most_of(event, record) if decision.owed or decision.jobs else 0
        elif decision.data is None:
            return None
        if decision.data is not None:
            added += _grown(decision.data, snapshot.data)
        size = snapshot.size + added
        if size > self.most:
            size = _measured(snapshot, event, decision)
            if size > self.most:
                return Refused(Reason.TOO_LARGE, Unhandled.REJECT, self._said("it", size))
        self._ledger.grew(snapshot, size, added)
        return None

    def check(self, snapshot: Snapshot, data: dict[str, Json]) -> None:
        """
        The workflow is to have these data instead of its own.

        Raises:
            TooLarge: it would have more than it may.
        """
        added = _grown(data, snapshot.data)
        size = snapshot.size + added
        if size > self.most:
            size = _json(data) + _causes(snapshot)
            if size > self.most:
                raise TooLarge(self._said("what `migrate` makes", size))
        self._ledger.grew(snapshot, size, added)

    def _said(self, new: str, size: int) -> str:
        return (
            f"with {new} the data of its workflow, and the events that it still works on, have {size} "
            f"bytes, and may have {self.most}: keep what is large elsewhere and its name here, or "
            "raise `snapshot_bytes` in [engine]"
        )


def _most_of(event: Event, record: Record | None) -> int:
    """No fewer bytes than the event takes as the cause of a run."""
    if record is not None and not record.headers:
        return BESIDE_BYTES + WRITTEN_ANEW * len(record.value or b"")
    return _size_of(event)


def _size_of(event: Event) -> int:
    """The bytes of an event as the cause of a run, and not many more."""
    size = BESIDE_BYTES + WRITTEN_ANEW * len(event.name)
    if event.payload is not None:
        size += _json(event.payload)
    return size + _headers(event.headers) if event.headers else size


def _headers(headers: Headers) -> int:
    return sum(WRITTEN_ANEW * (len(name) + len(value)) for name, value in headers)


def _grown(data: dict[str, Json], before: dict[str, Json]) -> int:
    """No fewer bytes than the data have that are not those of before."""
    size = 0
    for name, value in data.items():
        if before.get(name) is not value:
            size += len(_dumps(value)) + WRITTEN_ANEW * (len(name) + 1)
    return size


def _measured(snapshot: Snapshot, event: Event, decision: Transition) -> int:
    """The bytes of data and causes as the step leaves them."""
    size = _json(snapshot.data if decision.data is None else decision.data)
    if decision.owed or decision.jobs:
        size += _size_of(event)
    if decision.entered and decision.left is None:
        return size  # nothing of the state before is owed any more
    return size + _causes(snapshot)


def _causes(snapshot: Snapshot) -> int:
    """The bytes of the events that the workflow still works on."""
    causes = [] if snapshot.cause is None else [snapshot.cause]
    return sum(map(_size_of, (*causes, *(snapshot.earlier or {}).values())))


def _json(value: Json) -> int:
    return len(_dumps(value))
