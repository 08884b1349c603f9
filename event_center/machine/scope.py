"""
What an expression of a machine can see: its roots, and their values for one event.

Times are milliseconds since the Unix epoch. Called where guards and values are compiled:
`guard`, `moves`, `branches` and `timing`.
"""

from __future__ import annotations

from typing import Any

from event_center.machine.expression import Expression
from event_center.model import Event, Snapshot

ROOTS = frozenset({"payload", "data", "event", "workflow_id", "now", "state"})
TIMER_ROOTS = frozenset({"data", "now", "state"})
"""What the time of a timer is worked out from: there may be no event, at a birth for one."""
EVENT_KEYS = frozenset({"name", "id", "time", "headers"})


def values_of(
    snapshot: Snapshot, event: Event, now_ms: int, *, with_event: bool = True
) -> dict[str, Any]:
    """
    The values of all roots; `with_event=False` leaves `event` out where no expression reads it.

    Header names are kept as they are; of a name that comes twice the last value counts, and bytes
    that are no UTF-8 are replaced.
    """
    values = {
        "payload": event.payload,
        "data": snapshot.data,
        "workflow_id": snapshot.workflow_id,
        "now": now_ms,
        "state": snapshot.state,
    }
    if with_event:
        values["event"] = {
            "name": event.name,
            "id": event.id,
            "time": event.time_ms,
            "headers": {name: value.decode("utf-8", "replace") for name, value in event.headers},
        }
    return values


def reads_event(expression: Expression) -> bool:
    """Whether the expression needs the root `event`."""
    return "event" in expression.roots
