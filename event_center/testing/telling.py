"""
The history of a workflow as lines for a person: what a failed test prints of its center.

Called by `looking`, for the plugin of pytest and for whoever prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from event_center.model import Snapshot

LAST_LINES = 20
"""Lines of one workflow: what happened last says why a test has failed."""


def told(snapshot: Snapshot, history: Sequence[dict[str, Any]]) -> str:
    """A workflow and what happened to it, a line each."""
    result = f", {snapshot.result}" if snapshot.result else ""
    lines = [
        f"{snapshot.workflow_id}: {snapshot.machine} is in {snapshot.state} ({snapshot.status}{result})",
        *_happened(history),
    ]
    if snapshot.data:
        lines.append(f"  data: {snapshot.data}")
    lines += [
        f"  timer {one.id}: due {one.due_ms - snapshot.entered_at_ms} ms after it was entered"
        for one in snapshot.timers
    ]
    return "\n".join(lines)


def told_of_none(workflow_id: str, history: Sequence[dict[str, Any]]) -> str:
    """The same of an id that no workflow has: its events made none."""
    return "\n".join([f"{workflow_id}: there is no such workflow", *_happened(history)])


def in_vain(history: Sequence[dict[str, Any]]) -> str:
    """What became of the last event for a workflow that is not there; "" if it was no event."""
    last = history[-1] if history else {}
    if not (last.get("event") and last.get("outcome")):
        return ""
    why = ", ".join(str(last[name]) for name in ("reason", "detail") if last.get(name))
    return f"; {last['event']!r} was {last['outcome']}{f' ({why})' if why else ''}"


def _happened(history: Sequence[dict[str, Any]]) -> list[str]:
    left_out = len(history) - LAST_LINES
    lines = [f"  ... {left_out} before"] if left_out > 0 else []
    return lines + [f"  {_time(one['at'])}  {_line(one)}" for one in history[-LAST_LINES:]]


def _time(at: str) -> str:
    """Day and time of day: the year says nothing."""
    return f"{at[5:10]} {at[11:23]}"


def _line(one: dict[str, Any]) -> str:
    """One record of the history."""
    what = one.get("callback") or one.get("command") or one.get("timer") or one.get("event") or ""
    parts = [str(one["kind"]), str(what)]
    if one.get("attempt"):
        parts.append(f"(attempt {one['attempt']})")
    if one.get("from") or one.get("to"):
        parts.append(f"{one.get('from') or '-'} -> {one.get('to') or '-'}")
    if one.get("outcome") and one["outcome"] != one["kind"]:
        parts.append(str(one["outcome"]))
    parts += [str(one[key]) for key in ("reason", "error", "message", "detail") if one.get(key)]
    return " ".join(part for part in parts if part)
