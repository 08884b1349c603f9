"""
What a simulated world says about a project: callbacks that are not idempotent, lives that strand, races.

A callback is not idempotent if, for one key and the same state, event and data, it answers otherwise
the second time, if it changes its module's data again, or if a fake notes the same effect twice
(`happened`). A workflow is stranded if it is left where only another event could move it, and ends
without faults. A timer races with an event that came after it and that the state before would have taken.
`simulating` collects these over many seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from event_center.machine import Machine
from event_center.testing import audit_formats as formats
from event_center.testing.audit_formats import Told
from event_center.testing.simulation import Played, play
from event_center.testing.simulation_calls import Called
from event_center.testing.simulation_scenery import Scenery
from event_center.testing.simulation_schedule import What


class Sort(StrEnum):
    """What can be found."""

    BROKEN = "broken_promise"
    """A promise of this package: please report it."""
    TWICE = "not_idempotent"
    STRANDED = "stranded"
    RACE = "race"
    """What is meant may well be so: it is told, and fails nothing."""


class Sighting(NamedTuple):
    """One thing that a world shows."""

    sort: Sort
    what: str
    """The callback, or machine and state: what it is told of only once."""
    story: str
    """What was seen of it."""


def findings(played: Played, scenery: Scenery) -> list[Sighting]:
    """Everything that a world shows, each thing once."""
    found = [Sighting(Sort.BROKEN, one.promise, str(one)) for one in played.violations]
    if not found:
        found += [*_twice(played), *_stranded(played, scenery), *_races(played, scenery)]
    return list({(one.sort, one.what): one for one in reversed(found)}.values())[::-1]


# -- idempotent --------------------------------------------------------------------------------


def _twice(played: Played) -> Iterator[Sighting]:
    first: dict[str, Called] = {}
    for call in played.ended:
        former = first.setdefault(call.key, call)
        if former is call:
            continue
        seen = f"{call.callback} was called again with the key {call.key}, and"
        if former.asked == call.asked and former.answered != call.answered:
            answers = f"answered {call.answered} instead of {former.answered}"
            yield Sighting(Sort.TWICE, call.callback, f"{seen} {answers}")
        elif former.changed and former.changed == call.changed:
            yield Sighting(Sort.TWICE, call.callback, f"{seen} changed {call.changed} again")
    done: set[tuple[str, str]] = set()
    for effect in played.effects:
        if (effect.key, effect.what) in done:
            seen = f"{effect.what!r} happened twice under the key {effect.key}"
            yield Sighting(Sort.TWICE, effect.callback, seen)
        done.add((effect.key, effect.what))


# -- stranded ----------------------------------------------------------------------------------


def _stranded(played: Played, scenery: Scenery) -> Iterator[Sighting]:
    stuck = dict(_stuck(played, scenery))
    if not stuck:
        return
    heard = {one.told.get("value") for one in played.schedule if one.what is What.PUBLISH}
    heard.add(None)
    lives = tuple(one for one in scenery.undisturbed(played.seed) if one.told.get("value") in heard)
    undisturbed = dict(_stuck(play(played.seed, scenery, lives, calm=True), scenery))
    for workflow_id, (where, why) in stuck.items():
        if workflow_id not in undisturbed:
            yield Sighting(Sort.STRANDED, where, f"workflow {workflow_id!r} {why}")


def _stuck(played: Played, scenery: Scenery) -> Iterator[tuple[str, tuple[str, str]]]:
    """The workflows that nothing but another event or an operator would move."""
    machines = {(one.name, one.version): one for one in scenery.machines}
    for entries in played.evidence.entries.values():
        for key, value in entries.items():
            if not formats.is_snapshot(key):
                continue
            workflow_id = formats.workflow_of(key)
            shot = formats.read_snapshot(value, workflow_id)
            machine = machines.get((shot.machine, shot.version))
            if machine is None or machine.definition.perpetual or shot.result is not None:
                continue
            where = f"{shot.machine}, {shot.state}"
            if shot.status in {"parked", "paused"}:
                why = f": {shot.failed}" if shot.failed else ""
                yield workflow_id, (where, f"is {shot.status} in {shot.state}{why}")
            elif not (shot.timers or shot.owed or shot.jobs) and shot.status == "active":
                yield workflow_id, (where, f"stays in {shot.state}, and nothing will move it")


# -- races -------------------------------------------------------------------------------------


def _races(played: Played, scenery: Scenery) -> Iterator[Sighting]:
    """Events that came too late because a timer had moved their workflow."""
    machines = {(one.name, one.version): one for one in scenery.machines}
    fired: dict[str, Told] = {}
    for told in _history(played):
        if told.kind == "timer":
            fired[told.workflow_id] = told
        elif told.kind in {"applied", "removed"}:
            fired.pop(told.workflow_id, None)
        elif told.kind == "rejected" and told.workflow_id in fired:
            yield from _race(fired[told.workflow_id], told, machines)


def _race(
    timer: Told, late: Told, machines: Mapping[tuple[Any, Any], Machine]
) -> Iterator[Sighting]:
    machine = machines.get((timer.get("machine"), timer.get("version")))
    state, event = str(timer.get("from")), str(late.get("event"))
    if machine is None or state == timer.get("to") or not machine.has(state, event):
        return
    name = str(timer.get("event")).removeprefix("@after/")
    after_ms = late.at_ms - timer.at_ms
    seen = (
        f"{event!r} came {after_ms} ms after the timer of {name} had left {state}, and was rejected"
    )
    yield Sighting(Sort.RACE, f"{machine.name}, {state}: after {name} with {event}", seen)


def _history(played: Played) -> Iterator[Told]:
    evidence = played.evidence
    for cut in evidence.cuts:
        for position in cut.records:
            record = evidence.record(position)
            if position.topic == evidence.history and record is not None:
                yield formats.read_history(record, str(position))
