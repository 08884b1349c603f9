"""
A project as a scenery: the machines and plugins of its settings, and lives that its own cases suggest.

Each workflow of a world hears the events of one case of its machine (the `tests` of the YAML, else what
`machine.deriving` finds), through the inbox; sometimes one twice, sometimes two in another order. What the
modules of plugins hold at their top is put back before each world. `simulating` plays these worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

import orjson

from event_center.app.settings import Settings
from event_center.app.wiring import make_plan, partitions_wanted
from event_center.engine.plan import Plan
from event_center.machine import Machine
from event_center.machine.cases import Case
from event_center.machine.deriving import derived
from event_center.plugins.registry import Bound
from event_center.testing.audit_events import WrittenEvent
from event_center.testing.simulation_calls import PLAIN, simulated
from event_center.testing.simulation_scenery import Scenery, chance_of
from event_center.testing.simulation_schedule import (
    AFTERWARDS_MS,
    Happening,
    Schedule,
    What,
    faults,
    published,
)

WORKFLOWS = 6
"""Workflows of one world: enough to meet in a shard, and few enough to be told of."""
GAPS_MS = (0, 0, 5, 100, 1_500)
"""Between two events of a workflow; its timers pass by steps of the clock."""
TWICE = 0.1
"""The share of events that are published twice, as publishers do: under one id."""
SWAPPED = 0.1
"""The share of events that come after the next one, as they may from another topic."""


def scenery_of(settings: Settings) -> Scenery:
    """
    The scenery of a project.

    Raises:
        DefinitionError, PluginError, ConfigurationError: its machines, plugins or settings are wrong.
    """
    plan = make_plan(settings)
    bounds = [*plan.bound.values(), *plan.older.values()]
    lives = _Lives(plan, {name: _cases(one.machine) for name, one in plan.bound.items()})
    before = _Before(bounds)
    return Scenery(
        plans=[_simulated(plan)],
        machines=[bound.machine for bound in bounds],
        sizes=partitions_wanted(settings),
        schedule=lives.schedule,
        undisturbed=lives.undisturbed,
        readers={topic: _reader(plan, topic) for topic in settings.topics},
        gently=True,
        begin=before.put_back,
    )


def _simulated(plan: Plan) -> Plan:
    return replace(
        plan,
        bound={name: simulated(bound) for name, bound in plan.bound.items()},
        older={key: simulated(bound) for key, bound in plan.older.items()},
        listeners=(),
        owner="",
        every_outcome=True,
        limits=replace(plan.limits, grace_s=1.0),
    )


def _reader(plan: Plan, topic: str) -> Any:
    envelope = plan.envelopes[topic]

    def read(record: Any) -> WrittenEvent | None:
        workflow_id, _, event = envelope.read(record, 0)
        return WrittenEvent(workflow_id, event.name, event.payload, event.id)

    return read


def _cases(machine: Machine) -> Sequence[Case]:
    """What a workflow of the machine may live through, from its birth on."""
    own = [case for case in machine.definition.tests if case.state is None]
    return own or [case for case in derived(machine).cases if case.state is None]


class _Before:
    """The plain data at the top of the plugins' modules, as it was when they were loaded."""

    def __init__(self, bounds: Sequence[Bound]) -> None:
        spaces = {
            id(space): space
            for bound in bounds
            for callback in bound.callbacks.values()
            if (space := getattr(callback.function, "__globals__", None)) is not None
        }
        self._spaces = [(space, _plain(space)) for space in spaces.values()]

    def put_back(self) -> None:
        """Everything is again as it was; containers stay the ones that others may hold."""
        for space, before in self._spaces:
            for name, value in before.items():
                now = space.get(name)
                if isinstance(now, dict | set):
                    now.clear()
                    now.update(deepcopy(value))
                elif isinstance(now, list):
                    now[:] = deepcopy(value)
                else:
                    space[name] = value


def _plain(space: dict[str, Any]) -> dict[str, Any]:
    return {
        name: deepcopy(value)
        for name, value in space.items()
        if isinstance(value, PLAIN) and not name.startswith("__")
    }


class _Lives:
    """The schedules of a project's worlds."""

    def __init__(self, plan: Plan, cases: dict[str, Sequence[Case]]) -> None:
        self._inbox = plan.topics.inbox
        self._machines = [name for name in cases if cases[name]]
        self._cases = cases

    def schedule(self, seed: int) -> Schedule:
        """What happens under a seed."""
        happenings = self._lives(seed, disturbed=True)
        span_ms = max((one.at_ms for one in happenings), default=0) + AFTERWARDS_MS
        happenings += faults(chance_of(seed, "faults"), span_ms)
        return tuple(sorted(happenings, key=lambda one: one.at_ms))

    def undisturbed(self, seed: int) -> Schedule:
        """The same lives in their order, nothing twice, and no faults."""
        return tuple(sorted(self._lives(seed, disturbed=False), key=lambda one: one.at_ms))

    def _lives(self, seed: int, *, disturbed: bool) -> list[Happening]:
        happenings: list[Happening] = []
        for number in range(WORKFLOWS if self._machines else 0):
            name = f"w{number}"
            happenings += self._life(chance_of(seed, name), name, disturbed=disturbed)
        return happenings

    def _life(self, chance: Random, workflow_id: str, *, disturbed: bool) -> list[Happening]:
        machine = chance.choice(self._machines)
        at_ms = chance.choice(GAPS_MS)
        told: list[Happening] = []
        steps = chance.choice(self._cases[machine]).steps
        gaps_ms = [chance.choice(GAPS_MS) for _ in steps]
        for number, step in enumerate(steps):
            if step.kind == "after":
                seconds = step.delay_ms / 1000
                told += [
                    Happening(at_ms, What.CLOCK, {"process": one, "seconds": seconds})
                    for one in range(4)
                ]
            elif step.kind not in {"done", "error"}:
                body = {"workflow_id": workflow_id, "event": step.what, "payload": step.payload}
                body |= {"id": f"{workflow_id}-{number}", "machine": machine}
                value = orjson.dumps(body).decode()
                late_ms, again_ms = chance.choice(GAPS_MS) + 1, at_ms + chance.choice(GAPS_MS)
                swapped = disturbed and chance.random() < SWAPPED
                first_ms = at_ms + late_ms if swapped else at_ms
                told.append(published(first_ms, self._inbox, value, key=workflow_id))
                if disturbed and chance.random() < TWICE:
                    told.append(published(again_ms, self._inbox, value, key=workflow_id))
            at_ms += gaps_ms[number]
        return told
