"""
Which branches of a machine are taken: by its own tests, or by a file of events.

A `Recorder` is the same machine, with an ear in the guard of each branch: the ear is asked last, so it
hears that its branch is the one. (Of two regions that would leave the same states, both are told,
though only one moves.) Pure; called by the CLI's `cases`, and by `deriving`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from event_center.machine.decision import Guard
from event_center.machine.definition import Branch, Definition, On, State
from event_center.machine.guard import Every, Named
from event_center.machine.problems import Place
from event_center.machine.step import Machine, build
from event_center.machine.trial import Trial, answering
from event_center.model import Event, Json, Snapshot


class KnownBranch(NamedTuple):
    """One branch, as a report names it."""

    place: Place
    way: str
    """`'SUBMIT' in 'DRAFT'`."""
    target: str | None


def branches_of(definition: Definition) -> list[KnownBranch]:
    """All branches, in the order of the file."""
    found = [
        KnownBranch(branch.place, way, branch.target)
        for way, on in definition.everything()
        for branch in on.branches
    ]
    return sorted(found)


class Recorder:
    """A machine that counts which of its branches are taken."""

    def __init__(self, machine: Machine) -> None:
        self.taken: Counter[Place] = Counter()
        self._ears: dict[str, Guard] = {}
        eared = _with_ears(machine.definition, self._ear)
        self.machine = build(eared, {**machine.given, **self._ears})

    def _ear(self, place: Place) -> Named:
        name = f"ear {place.line}:{place.column}"

        def hear(_snapshot: Snapshot, _event: Event, _now_ms: int) -> bool:
            self.taken[place] += 1
            return True

        self._ears[name] = hear
        return Named(place=place, name=name, where=name)


def _with_ears(definition: Definition, ear: Callable[[Place], Named]) -> Definition:
    def branch(one: Branch) -> Branch:
        eared = ear(one.place)
        return replace(one, guard=eared if one.guard is None else Every(parts=(one.guard, eared)))

    def way(on: On | None) -> On | None:
        return None if on is None else replace(on, branches=tuple(map(branch, on.branches)))

    def table(ways: Mapping[str, Any]) -> dict[str, Any]:
        return {name: way(on) for name, on in ways.items()}

    def state(one: State) -> State:
        return replace(
            one,
            on=table(one.on),
            after=table(one.after),
            on_error=way(one.on_error),
            on_done=way(one.on_done),
            always=way(one.always),
            invoke=tuple(
                replace(job, on_done=way(job.on_done), on_error=way(job.on_error))
                for job in one.invoke
            ),
        )

    return replace(
        definition,
        states={name: state(one) for name, one in definition.states.items()},
        on=table(definition.on),
        timeout=table(definition.timeout),
        on_error=way(definition.on_error),
        tests=(),
    )


def covered_by_tests(machine: Machine) -> Counter[Place]:
    """How often the machine's own tests take each branch, by its place."""
    recorder = Recorder(machine)
    for case in machine.definition.tests:
        trial = Trial(recorder.machine)
        if case.state is not None or case.data:
            trial.begin(case.state or machine.initial, case.data)
        for step in case.steps:
            trial.machine = answering(recorder.machine, step.guards)
            trial.perform(step)
    return recorder.taken


def covered_by_events(
    machine: Machine, events: Iterable[tuple[str, str, Json]]
) -> tuple[Counter[Place], int]:
    """
    How often events take each branch, and how many were refused.

    Callbacks count as done as soon as they are owed, and return no events of their own.

    Args:
        machine: with the guards of its plugins.
        events: workflow_id, name and payload of each, in their order.
    """
    recorder = Recorder(machine)
    trials: dict[str, Trial] = {}
    refused = 0
    for workflow_id, name, payload in events:
        trial = trials.get(workflow_id)
        if trial is None:
            trial = trials[workflow_id] = Trial(recorder.machine, workflow_id)
        refused += trial.send(name, payload) is not None
        while trial.snapshot.owed:
            trial.done(trial.snapshot.owed[0].name)
    return recorder.taken, refused
