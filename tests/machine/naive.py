"""
A second, slow interpreter of flat machines, written from the rules of docs/machine-language.md.

It walks the plain mapping that the YAML is made of, state by state and branch by branch, without a
table. The tests compare the real machine with it; it shares no code with the machine room.
"""

from __future__ import annotations

import copy
from typing import Any

DAY_MS = 86_400_000
UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


def in_ms(text: str) -> int:
    """A duration in milliseconds."""
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit)) * UNITS[unit]


def listed(value: Any) -> list[Any]:
    """One thing or a list of them, as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def looked_up(text: str, data: dict[str, Any], payload: Any) -> Any:
    """The value of the only expressions that these machines use: paths of two names."""
    root, key = text.removeprefix("=").split(".")
    return (data if root == "data" else payload)[key]


def branches_of(document: dict[str, Any], state: str, event: str) -> list[dict[str, Any]]:
    """The state's own branches, then the machine's."""
    body = document["states"][state] or {}
    if body.get("type") == "final":
        return []
    own = body.get("after", {}).get(event.removeprefix("@after/"))
    found = listed(own if event.startswith("@after/") else body.get("on", {}).get(event))
    for job in listed(body.get("invoke")):
        for key in ("done", "error"):
            found += listed(job.get(f"on_{key}")) if event == f"@{key}/@{job['do']}" else []
    found = found + listed(document.get("on", {}).get(event))
    return [{"target": one} if isinstance(one, str) else one for one in found]


def step(
    document: dict[str, Any], before: dict[str, Any], event: tuple[str, Any], now_ms: int
) -> dict[str, Any]:
    """What `event` does to the workflow `before` (state, data, seq, timers), as plain values."""
    name, payload = event
    branches = branches_of(document, before["state"], name)
    denied = []
    for branch in branches:
        guard = branch.get("guard")
        if guard is not None and not looked_up(guard, before["data"], payload):
            denied.append(guard)
            continue
        return _taken(document, before, (name, payload, branch), now_ms)
    names = {event for body in document["states"].values() for event in (body or {}).get("on", {})}
    known = name.startswith("@") or name in names | set(document.get("on", {}))
    reason = "guard" if denied else "not_accepted" if known else "unknown_event"
    own = (document["states"][before["state"]] or {}).get("unhandled")
    return {
        "refused": reason,
        "unhandled": own or document.get("unhandled", "reject"),
        "detail": ", ".join(denied),
    }


def _taken(
    document: dict[str, Any], before: dict[str, Any], taken: tuple[str, Any, Any], now_ms: int
) -> dict[str, Any]:
    name, payload, branch = taken
    old = document["states"][before["state"]] or {}
    target = branch.get("target")
    leaves = target is not None and (target != before["state"] or branch.get("reenter", False))
    data = copy.deepcopy(before["data"])
    for key, value in branch.get("assign", {}).items():
        computed = isinstance(value, str) and value.startswith("=")
        data[key] = looked_up(value, before["data"], payload) if computed else value
    decide = listed(branch.get("before")) + (listed(old.get("exit")) if leaves else [])
    after = {
        "target": target if leaves else before["state"],
        "entered": leaves,
        "decide": decide + listed(branch.get("actions")),
        "data": data,
        "timers": before["timers"],
        "owed": [],
        "jobs": [],
        "result": None,
    }
    if leaves:
        new = document["states"][target] or {}
        seq = before["seq"] + 1
        timers = new.get("after", {})
        after["timers"] = [("@after/" + key, seq, now_ms + in_ms(key)) for key in timers]
        after["owed"] = listed(new.get("entry"))
        after["jobs"] = [job["do"] for job in listed(new.get("invoke"))]
        if new.get("type") == "final":
            after["result"] = new.get("result", "success")
    elif name.startswith("@after/"):
        after["timers"] = _rearmed(old, before["timers"], name, now_ms)
    return after


def _rearmed(
    body: dict[str, Any], timers: list[tuple[str, int, int]], fired: str, now_ms: int
) -> list[tuple[str, int, int]]:
    key = fired.removeprefix("@after/")
    branches = [one for one in listed(body["after"][key]) if isinstance(one, dict)]
    left = [timer for timer in timers if timer[0] != fired]
    for name, seq, due_ms in timers:
        if name == fired and any(branch.get("repeat") for branch in branches):
            again = due_ms + in_ms(key)
            while again <= now_ms:
                again += in_ms(key)
            left.append((name, seq, again))
    return left
