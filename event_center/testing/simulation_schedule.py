"""
What happens in a simulated world, and when: events, commands, and faults; one seed makes one schedule.

A happening is plain data, so that a schedule can be shortened, printed and kept as a file. Times are
virtual and count from the beginning of the world. `simulation_world` makes each of them happen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple

from event_center.log.memory import Ending
from event_center.wire.command import Command

PLACES = ("fetch", "lease", "restore", "restored", "open_gate", "watermarks", "join", "topics")
"""Where a log may not answer; a cut that is not answered is another fault."""
MAX_FAULTS = 12
"""Faults of one seed: several at a time, and few enough that workflows come to something between them."""
CHANGED = 0.5
"""How likely each change by a deploy is: half of the worlds go on without one."""
SPOILS = 0.08
"""The share of worlds in which a workflow spoils its cuts: the search for it is long, and hides others."""
AFTERWARDS_MS = 3_000
"""
How long things go wrong after the last event: retries and timers have been hit by then.
"""


class What(StrEnum):
    """What can happen."""

    PUBLISH = "publish"
    COMMAND = "command"
    KILL = "kill"
    STOP = "stop"
    START = "start"
    STALL = "stall"
    EXPEL = "expel"
    COMMIT = "commit"
    REPEAT = "repeat"
    TROUBLE = "trouble"
    SLOW = "slow"
    SPOIL = "spoil"
    CLOCK = "clock"
    UPGRADE = "upgrade"
    ROLL = "roll"
    CONFIGURE = "configure"


class Happening(NamedTuple):
    """One thing that happens."""

    at_ms: int
    what: What
    told: dict[str, Any]
    """What else is to be known of it; only JSON."""

    def __str__(self) -> str:
        told = self.told
        return f"{self.at_ms / 1000:7.3f} s  {_SAID[self.what].format_map(told)}"

    def plain(self) -> list[Any]:
        """As JSON."""
        return [self.at_ms, str(self.what), self.told]


_SAID = {
    What.PUBLISH: "published to {topic}: {value}",
    What.COMMAND: "an operator says {verb} to {workflow_id} {args}",
    What.KILL: "process {process} is killed, {steps} steps of its event loop later",
    What.STOP: "process {process} is asked to stop",
    What.START: "a process starts",
    What.STALL: "process {process} stands still for {seconds} s, and loses its shards after {session_s} s",
    What.EXPEL: "process {process} is thrown out of the group, and comes back after {seconds} s",
    What.COMMIT: "one of the next cuts ends {ending}",
    What.REPEAT: "the next fetch repeats the one before",
    What.TROUBLE: "the log does not answer at {place}",
    What.SLOW: "fetches take {delay_s} s, for {seconds} s",
    What.SPOIL: "no cut goes through any more in which {workflow_id} moves in state {state}",
    What.CLOCK: "the clock of process {process} is set {seconds:,.10g} s on",
    What.UPGRADE: "all processes are replaced, and have the next version",
    What.ROLL: "process {process} is replaced by one with version {version}, beside the others",
    What.CONFIGURE: "process {process} is replaced by one with {limits}, beside the others",
}

Schedule = tuple[Happening, ...]


def read_schedule(text: str) -> Schedule:
    """A schedule out of what `written` made of it."""
    return tuple(Happening(at_ms, What(what), told) for at_ms, what, told in json.loads(text))


def written(schedule: Sequence[Happening]) -> str:
    """A schedule as JSON, a happening a line."""
    lines = ",\n".join(json.dumps(one.plain()) for one in schedule)
    return f"[\n{lines}\n]\n"


def published(
    at_ms: int, topic: str, value: str, *, key: str | None = None, partition: int | None = None
) -> Happening:
    """A record that a publisher writes; on its home's partition unless one is named."""
    told = {"topic": topic, "value": value, "key": key, "partition": partition}
    return Happening(at_ms, What.PUBLISH, told)


def commanded(at_ms: int, asked: Command) -> Happening:
    """What an operator asks of a workflow."""
    told = {"id": asked.id, "verb": str(asked.verb), "workflow_id": asked.workflow_id}
    return Happening(at_ms, What.COMMAND, told | {"args": asked.args})


def faults(chance: Random, span_ms: int) -> list[Happening]:
    """Some faults, at any time of the span."""
    return [_fault(chance, span_ms) for _ in range(chance.randint(0, MAX_FAULTS))]


def changes(
    chance: Random, span_ms: int, limits: Mapping[str, Sequence[int | float | None]]
) -> list[Happening]:
    """What deploys do: another version, at once or beside the others, and back; other limits."""
    found = []
    if chance.random() < CHANGED:
        found.append(Happening(chance.randrange(span_ms), What.UPGRADE, {}))
    told: dict[str, Any]
    while chance.random() < CHANGED:
        told = {"process": chance.randrange(4), "version": chance.choice([1, 2, 2])}
        found.append(Happening(chance.randrange(span_ms), What.ROLL, told))
    while chance.random() < CHANGED:
        some = {name: chance.choice(limits[name]) for name in chance.sample(sorted(limits), 2)}
        told = {"process": chance.randrange(4), "limits": some}
        found.append(Happening(chance.randrange(span_ms), What.CONFIGURE, told))
    return found


def spoiling(
    chance: Random, span_ms: int, workflows: Sequence[str], states: Sequence[str]
) -> list[Happening]:
    """Now and then a workflow that the log does not take, as long as it moves in some state."""
    if chance.random() >= SPOILS:
        return []
    told = {"workflow_id": chance.choice(workflows), "state": chance.choice(states)}
    return [Happening(chance.randrange(span_ms), What.SPOIL, told)]


def _fault(chance: Random, span_ms: int) -> Happening:
    at_ms = chance.randrange(span_ms)
    process = {"process": chance.randrange(4)}
    what = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    told: dict[str, Any] = {}
    match what:
        case What.KILL:
            told = process | {"steps": chance.choice([0, 1, 3, 10, 30, 100, 300])}
            told["steps"] += chance.randrange(1 + told["steps"])
        case What.STOP:
            told = process
        case What.STALL:
            seconds = chance.choice([0.5, 2, 5, 15])
            told = process | {"seconds": seconds, "session_s": chance.choice([0.2, 1, 3])}
        case What.EXPEL:
            told = process | {"seconds": chance.choice([0, 0.1, 3])}
        case What.COMMIT:
            told = {"ending": str(chance.choice(list(Ending))), "after": chance.randrange(3)}
        case What.TROUBLE:
            told = {"place": chance.choice(PLACES)}
        case What.SLOW:
            told = {"delay_s": chance.choice([0.01, 0.5]), "seconds": chance.choice([1, 4])}
        case What.CLOCK:
            told = process | {"seconds": chance.choice([-30, -2, 1, 4, 60, 3600])}
        case _:
            pass
    return Happening(at_ms, what, told)


_WEIGHTS = {
    What.KILL: 30,
    What.STOP: 6,
    What.START: 12,
    What.STALL: 12,
    What.EXPEL: 8,
    What.COMMIT: 20,
    What.REPEAT: 5,
    What.TROUBLE: 8,
    What.SLOW: 4,
    What.CLOCK: 8,
}
"""How often each fault comes, beside the others: what a promise is most often broken by comes most."""
