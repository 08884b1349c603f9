"""
The history of one workflow: every outcome, fired timer, finished run and command, oldest first.

Read from `<app>.history`, partition by partition of the workflow's home, as far as retention has
left it. The CLI's `history` prints it, and `commands` finds the answers of the daemon in the same
topic.
"""

from __future__ import annotations

from typing import Any

from event_center.client.app import App
from event_center.log.port import Log
from event_center.wire import history as wire

_FIRST = ("seq", "at", "event", "from", "to", "outcome", "reason", "kind")
"""Fields that every line has, None where they do not apply."""


async def history(log: Log, app: App, workflow_id: str) -> list[dict[str, Any]]:
    """
    What happened to a workflow, ready to be written as JSON; empty if nothing is known of it.

    Raises:
        FormatError: a record of the history can not be read.
    """
    found: list[dict[str, Any]] = []
    key = workflow_id.encode()
    async for batch in log.read(app.history, app.home(workflow_id)):
        found += [line(wire.read(r.value)) for r in batch if r.key == key and r.value is not None]
    return found


def line(record: dict[str, Any]) -> dict[str, Any]:
    """One record of `wire.history`, with the common fields first, and its origin in one word."""
    del record["workflow_id"]
    line = {name: record.pop(name, None) for name in _FIRST} | record
    if "offset" in record:
        line["origin"] = f"{record['topic']}/{record['partition']}/{record['offset']}"
    return line
