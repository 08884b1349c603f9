"""
What an operator can do about a workflow: commands, and when each of them is the right one.

Made of what `why` has found out, and of nothing else. The CLI prints it as the end of its answer, and
`show` what helps a parked workflow.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from event_center.model import Status

Told = dict[str, Any]
EVENTS = 3
"""Events for which `send` is proposed: more would hide the other commands."""


def advice(told: Told) -> list[dict[str, str]]:
    """Commands that would help, the best one first, and when."""
    over = told["status"] == Status.FINAL
    found = [*(() if over else _of_shard(told["shard"])), *_of_open(told), *_of_status(told)]
    if told["dead_letters"]["count"]:
        found.append((f"dead-letters list --workflow-id {_named(told)}", "what became letters"))
    found.append((f"history {_named(told)}", "what led here"))
    return _commands(found)


def advice_if_parked(shown: Told) -> list[dict[str, str]]:
    """What helps a parked workflow, of what `show` knows; nothing for any other."""
    if shown["status"] != Status.PARKED:
        return []
    name = _named(shown)
    more = [
        (f"why {name} --verbose", "where it failed, and what it waits for"),
        (f"history {name}", "what led here"),
    ]
    return _commands([*_of_parked(shown), *more])


def _commands(found: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"command": f"event-center {command}", "when": when} for command, when in found]


def _named(told: Told) -> str:
    return shlex.quote(told["workflow_id"])


def _of_shard(shard: Told) -> Iterator[tuple[str, str]]:
    if shard["served"] is False:
        yield "run", "no daemon runs: nothing moves without one"
    if shard["limits"]:
        yield "stats", "a limit is reached: it says which, and docs/limits.md what to do"


def _of_status(told: Told) -> Iterator[tuple[str, str]]:
    name, status = _named(told), told["status"]
    if status == Status.PARKED:
        yield from _of_parked(told)
    elif status == Status.PAUSED:
        yield f"resume {name}", "let it go on"
    elif status == Status.RETRYING:
        yield f"retry {name}", "at once, and with all attempts"
        yield f"skip {name}", "if no attempt can succeed"
    elif status == Status.EXPECTED:
        yield f"forget {name} --reason WHY", "drop the held events, if nobody will begin it"
    elif status == Status.FINAL:
        yield f"set-state {name} STATE --reason WHY", "if it should not be over"
    elif told["owed"] or told["jobs"]:
        yield f"skip {name}", "give up what it waits for"
    else:
        for event in _sendable(told):
            yield f"send {name} {event}", "if this has happened and was not told"


def _of_parked(told: Told) -> Iterator[tuple[str, str]]:
    name = _named(told)
    again = {
        "failed": "once the cause is mended",
        "crashed": "once its callback is mended",
        "loop": "once the machine is mended: it went in a circle",
        "no_place": "once a version of its machine is loaded that has its state",
        "cut_failed": "once the event that waits first does something else, or the log takes it",
    }
    when = again.get(told["parked"], "once the cause is mended")
    if upgrade := failed_upgrade(told):
        when = f"once the function {upgrade} is mended"
    yield f"retry {name}", when
    if told["parked"] in {"failed", "crashed"}:
        yield f"skip {name}", "if no attempt can succeed, as with wrong data"
    else:
        if told["parked"] == "cut_failed" and (told["waiting"]["count"] or told["owed"]):
            yield f"skip {name}", "go on without what comes first: its run, or else the event"
        yield f"set-state {name} STATE --reason WHY", "put it where it should be"
    yield f"cancel {name}", "end it where it is"


def failed_upgrade(told: Told) -> str | None:
    """The function of a plugin that could not bring it to the loaded version, if it is parked for that."""
    if told["parked"] != "no_place" or told["failure"] is None:
        return None
    kind, _, name = told["failure"]["callback"].partition(" ")
    return name if kind == "upgrade" else None


def _of_open(told: Told) -> Iterator[tuple[str, str]]:
    """A stopped workflow replays nothing; any other begins with the letter whose turn it is."""
    stopped = told["status"] in {Status.PARKED, Status.PAUSED}
    if told["letters"]["open"] and not stopped:
        for one in told["dead_letters"]["newest"]:
            if one["number"] == told["letters"]["next"]:
                yield f"dead-letters replay {one['letter']}", "once the cause is mended"


def _sendable(told: Told) -> list[str]:
    """Events from outside that move it, as the machine has them."""
    inner = ("on_", "after ", "timeout ", "always", "*")
    events = [way["event"] for way in told["moves"] or () if not way["deferred"]]
    outside = [shlex.quote(one) for one in events if not one.startswith(inner)]
    return list(dict.fromkeys(outside))[:EVENTS]
