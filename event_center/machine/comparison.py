"""
Two versions of a machine, compared in words: what changed, and which states have no place any more.

What is compared is the content that the hash is made of, so whatever makes another hash is told.
Called by `event-center diff`; nothing follows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from event_center.machine.canonical import content
from event_center.machine.chart import Chart
from event_center.machine.definition import RESTING, Definition
from event_center.machine.spelling import quoted
from event_center.machine.step import Machine
from event_center.model import Snapshot

_LONGEST = 60
"""Characters of a value that is repeated: a message has to stay on a line or two."""
_EACH = {
    "states": "state",
    "on": "event",
    "after": "timer",
    "timeout": "timeout",
    "events": "event",
}
"""Keys of mappings by name, and what each of their values is called."""
_BRANCHES = frozenset({"on", "after", "timeout", "on_error", "on_done", "always"})


def differences(old: Machine, new: Machine) -> list[str]:
    """What changed, a sentence each; none if both have the same content and version."""
    before, after = content(old.definition), content(new.definition)
    return list(_changed((), before, after))


def without_place(old: Machine, new: Machine) -> list[str]:
    """The states of the old machine whose workflows would be parked under the new one."""
    chart = Chart(old.definition)
    found = []
    for name in _resting(old.definition):
        names: set[str] = set()
        chart.enter(name, None, {}, names)
        configuration = chart.configuration(names)
        snapshot = Snapshot("", old.name, old.version, configuration)
        if chart.rests(configuration) and not new.has_place(snapshot):
            found.append(name)
    return found


def renamed(old: Machine, new: Machine) -> dict[str, str]:
    """States that are gone, and new ones that say just the same: probably their new names."""
    before, after = content(old.definition)["states"], content(new.definition)["states"]
    gone = {name: _said(one) for name, one in before.items() if name not in after}
    added = {name: _said(one) for name, one in after.items() if name not in before}
    found = {}
    for name, text in gone.items():
        same = [other for other, said in added.items() if said == text]
        if len(same) == 1 and list(gone.values()).count(text) == 1:
            found[name] = same[0]
    return found


def _resting(definition: Definition) -> Iterator[str]:
    for name, state in definition.states.items():
        over = state.final and state.parent is None
        if state.kind in RESTING and not over:
            yield name


def _said(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _shown(value: Any) -> str:
    """A value as a sentence repeats it: an expression or a literal as it was written."""
    match value:
        case ["expression", str(said)]:
            value = f"={said}"
        case ["literal" | "name", said]:
            value = said
        case _:
            pass
    text = value if isinstance(value, str) else _said(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _changed(path: tuple[str, ...], old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _changed_key(path, key, old, new)
    elif _are_branches(path) and isinstance(old, list) and isinstance(new, list):
        for number in range(max(len(old), len(new))):
            one = old[number] if number < len(old) else None
            other = new[number] if number < len(new) else None
            yield from _changed((*path, f"branch {number + 1}"), one, other)
    else:
        yield _sentence(path, old, new)


def _changed_key(
    path: tuple[str, ...], key: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[str]:
    name = f"{_EACH[path[-1]]} {quoted(key)}" if path and path[-1] in _EACH else key
    inner = (*path[:-1], name) if path and path[-1] in _EACH else (*path, name)
    yield from _changed(inner, old.get(key), new.get(key))


def _are_branches(path: tuple[str, ...]) -> bool:
    last = path[-1] if path else ""
    return last in _BRANCHES or last.startswith(("event ", "timer ", "timeout "))


def _sentence(path: tuple[str, ...], old: Any, new: Any) -> str:
    where = ", ".join(path)
    if not old and old is not False and old != 0:
        whole = path[-1].partition(" ")[0] in {*_EACH.values(), "branch"}
        return f"{where} is new" if whole else f"{where} is new: {_shown(new)}"
    if not new and new is not False and new != 0:
        whole = path[-1].partition(" ")[0] in {*_EACH.values(), "branch"}
        return f"{where} is gone" if whole else f"{where} is gone; it was {_shown(old)}"
    return f"{where}: {_shown(new)} instead of {_shown(old)}"
