"""
What an expression of a machine can see: its roots, and their values for one event.

Times are milliseconds since the Unix epoch. Called where values are made, or fail to be:
`making` and `timing`; `reader` and `branches` look at the names of the roots.
"""

from __future__ import annotations

from typing import Any

from event_center.model import Event, Snapshot

ROOTS = frozenset({"payload", "data", "event", "workflow_id", "now", "state"})
TIMER_ROOTS = frozenset({"data", "now", "state"})
"""What the time of a timer is worked out from: there may be no event, at a birth for one."""
EVENT_KEYS = frozenset({"name", "id", "time", "headers"})


def values_of(snapshot: Snapshot, event: Event, now_ms: int) -> dict[str, Any]:
    """The values of all roots."""
    return {
        "payload": event.payload,
        "data": snapshot.data,
        "event": event_values(event),
        "workflow_id": snapshot.workflow_id,
        "now": now_ms,
        "state": snapshot.state,
    }


def event_values(event: Event) -> dict[str, Any]:
    """
    The value of the root `event`.

    Header names are kept as they are; of a name that comes twice the last value counts, and bytes
    that are no UTF-8 are replaced.
    """
    return {
        "name": event.name,
        "id": event.id,
        "time": event.time_ms,
        "headers": {name: value.decode("utf-8", "replace") for name, value in event.headers},
    }
