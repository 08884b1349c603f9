"""
How large a workflow may become: its data, and the events that its owed runs are caused by.

A snapshot is written whole in each cut that changes its workflow, so that one that grows without end
would first slow its shard down and then stop it. The turn asks here before it accepts, and an intake
before a birth; what would make the workflow too large is refused (`too_large`), and the workflow stays
as it was. What the center itself adds to a snapshot has limits of its own, and does not count here.

Measuring costs as much as dumping. So each workflow has an upper bound (`Snapshot.size`), which the
ledger makes exact for nothing when it dumps; a step adds what is new, and only a bound that has
passed the limit is measured. What is added is counted in the ledger too: it bounds the next cut.
"""

from __future__ import annotations

import orjson

from event_center.engine.ledger import Ledger
from event_center.machine.decision import Refused, Transition
from event_center.model import Event, Headers, Json, Reason, Record, Snapshot, Unhandled

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
                return Refused(Reason.TOO_LARGE, Unhandled.REJECT, self._said(size))
        snapshot.size = size
        self._ledger.cut_bytes += added
        return None

    def _said(self, size: int) -> str:
        return (
            f"with it the data of its workflow, and the events that it still works on, have {size} "
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
    """The bytes of the data that are not those of before."""
    changed = {name: value for name, value in data.items() if before.get(name) is not value}
    return _json(changed) if changed else 0


def _measured(snapshot: Snapshot, event: Event, decision: Transition) -> int:
    """The bytes of data and causes as the step leaves them."""
    size = _json(snapshot.data if decision.data is None else decision.data)
    if decision.owed or decision.jobs:
        size += _size_of(event)
    if decision.entered and decision.left is None:
        return size  # nothing of the state before is owed any more
    causes = [] if snapshot.cause is None else [snapshot.cause]
    return size + sum(map(_size_of, (*causes, *(snapshot.earlier or {}).values())))


def _json(value: Json) -> int:
    return len(orjson.dumps(value))
