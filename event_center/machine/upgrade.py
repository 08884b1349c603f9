"""
Workflows of older versions: what `migrate` makes of them, and where they go on under this version.

Each part of `migrate` is for the workflows of one older version, and leads to the next one. A state that
it maps is renamed, not left: no exit, no entry, and what it owes stays owed. `read_upgrades` is called by
`reading`; `with_upgraders` by the plugins' registry; `upgraded` by `step`, when the engine decides
something for a workflow of another version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from event_center.errors import ExpressionError
from event_center.machine.branches import read_identifier
from event_center.machine.chart import BETWEEN, NOTHING, Chart
from event_center.machine.decision import AFTER, Upgrader
from event_center.machine.definition import Definition, OnUpgrade, Upgrade
from event_center.machine.document import MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.grammar import UPGRADE
from event_center.machine.problems import Code, Problems
from event_center.machine.reader import Reader, noun_of
from event_center.machine.spelling import hint, quoted
from event_center.machine.table import Table
from event_center.machine.timing import timer_id
from event_center.machine.value import copied, expressions, filled
from event_center.model import Json, Snapshot, Timer

ROOTS = frozenset({"data", "now", "state", "workflow_id"})
"""What the new data are worked out from: there is no event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upgraded:
    """A workflow as it is under the new version."""

    state: str
    data: dict[str, Json]
    timers: tuple[Timer, ...]
    memory: dict[str, str] | None
    told: bool
    """A part of `migrate` was for it: history says so."""


# -- reading ---------------------------------------------------------------------------------------


def read_upgrades(reader: Reader, node: Node | None) -> tuple[Upgrade, ...]:
    """The parts of `migrate`, oldest version first."""
    if node is None:
        return ()
    items = node.items if isinstance(node, SequenceNode) else (node,)
    found = [one for one in (_upgrade(reader, item) for item in items) if one is not None]
    return tuple(sorted(found, key=lambda one: one.version))


def _upgrade(reader: Reader, node: Node) -> Upgrade | None:
    fields = reader.fields(node, UPGRADE)
    version = reader.whole(fields["from"], "from", 1) if "from" in fields else None
    states: dict[str, str] = {}
    mapped = reader.named(fields["states"], "a state", "states") if "states" in fields else []
    for name, _, value in mapped:
        target = reader.name(value, "a state")
        if target is not None:
            states[name] = target
    data, function = _new_data(reader, fields["data"]) if "data" in fields else ({}, "")
    drop = fields.get("drop")
    dropped = () if drop is None else drop.items if isinstance(drop, SequenceNode) else (drop,)
    keys = [reader.text(item, "a key of data") for item in dropped]
    if drop is not None and function:
        message = f"what {quoted(function)} returns is all of the new data: it drops by leaving out"
        reader.problems.add(drop.place, Code.MISPLACED, message)
    if version is None:
        return None
    return Upgrade(
        place=node.place,
        version=version,
        states=states,
        data=data,
        drop=tuple(key for key in keys if key is not None),
        function=function,
    )


def _new_data(reader: Reader, node: Node) -> tuple[dict[str, Any], str]:
    """Values by their keys, or the name of a function."""
    if isinstance(node, MappingNode):
        return reader.value(node, computed=True), ""
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return {}, read_identifier(reader, node, "function") or ""
    message = f"data maps keys to values, or names a function; this is {noun_of(node)}"
    reader.wrong(node, message)
    return {}, ""


# -- checking --------------------------------------------------------------------------------------


def check_upgrades(definition: Definition, problems: Problems) -> None:
    """Each part is for an older version, once, and leads to states that there are."""
    seen: set[int] = set()
    if definition.upgrades and definition.on_upgrade is OnUpgrade.PIN:
        message = (
            "`migrate` has no meaning with `on_upgrade: pin`: older workflows stay as they are"
        )
        problems.add(definition.upgrades[0].place, Code.MISPLACED, message)
    for number, upgrade in enumerate(definition.upgrades, 1):
        if upgrade.version >= definition.version:
            message = (
                f"`migrate` is for older versions: from {upgrade.version} is not below "
                f"{definition.version}"
            )
            problems.add(upgrade.place, Code.VALUE, message)
        if upgrade.version in seen:
            message = f"workflows of version {upgrade.version} are migrated twice; make it one part"
            problems.add(upgrade.place, Code.VALUE, message)
        seen.add(upgrade.version)
        later = {name for one in definition.upgrades[number:] for name in one.states}
        for target in upgrade.states.values():
            if target not in definition.states and target not in later:
                guess = hint(target, definition.states, "states")
                message = f"target {quoted(target)} of `migrate` is not a declared state{guess}"
                problems.add(upgrade.place, Code.TARGET, message)
        for expression in (one for value in upgrade.data.values() for one in expressions(value)):
            others = sorted(expression.roots - ROOTS)
            if others:
                message = f"`migrate` knows data, now, state and workflow_id, not {others[0]}"
                problems.add(upgrade.place, Code.EXPRESSION, message)


def with_upgraders(definition: Definition, given: Mapping[str, Upgrader]) -> Definition:
    """The definition with the functions that its `migrate` names."""
    parts = (replace(one, given=given.get(one.function)) for one in definition.upgrades)
    return replace(definition, upgrades=tuple(parts))


# -- upgrading -------------------------------------------------------------------------------------


def upgraded(table: Table, snapshot: Snapshot, now_ms: int) -> Upgraded | None:
    """
    The workflow under this version of its machine; None if its state has no place here.

    Raises:
        ExpressionError: a value of `migrate` can not be worked out, or its function was not given.
        UpgradeFailed: a function of a plugin raised; its cause is what it raised.
    """
    definition = table.definition
    state, data = snapshot.state, snapshot.data
    parts = [one for one in definition.upgrades if one.version >= snapshot.version]
    names: dict[str, str] = {}
    for upgrade in parts:
        values = {"data": data, "now": now_ms, "state": state, "workflow_id": snapshot.workflow_id}
        if upgrade.function:
            data = _converted(definition, upgrade, values)
        else:
            made = {key: filled(value, values) for key, value in upgrade.data.items()}
            data = {key: value for key, value in data.items() if key not in upgrade.drop} | made
        state = _renamed(state, upgrade.states)
        names = {old: upgrade.states.get(new, new) for old, new in names.items()}
        names = {**upgrade.states, **names}
    rested = place(table, snapshot)
    if rested is None:
        return None
    new = {key: value for key, value in definition.data.items() if key not in data}
    memory = snapshot.memory and {
        names.get(history, history): _renamed(left, names)
        for history, left in snapshot.memory.items()
    }
    return Upgraded(
        state=rested,
        data={**data, **copied(new)} if new else data,
        timers=_timers(table, snapshot, rested, names, now_ms=now_ms),
        memory=memory,
        told=bool(parts),
    )


def _converted(
    definition: Definition, upgrade: Upgrade, values: Mapping[str, Any]
) -> dict[str, Json]:
    """What the plugin's function makes of the data, of which it gets a copy."""
    if upgrade.given is None:
        line, column = upgrade.place
        raise ExpressionError(
            f"{definition.source}:{line}:{column}: no plugin gives the upgrade {upgrade.function!r}"
        )
    return upgrade.given({**values, "data": copied(values["data"])})


def place(table: Table, snapshot: Snapshot) -> str | None:
    """Where a workflow of another version goes on here; None: nowhere."""
    parts = [one for one in table.definition.upgrades if one.version >= snapshot.version]
    state = snapshot.state
    for upgrade in parts:
        state = _renamed(state, upgrade.states)
    return _resting(table.chart, state, mapped=bool(parts))


def _renamed(configuration: str, names: Mapping[str, str]) -> str:
    """The same leaves under their new names."""
    return BETWEEN.join(names.get(leaf, leaf) for leaf in configuration.split(BETWEEN))


def _resting(chart: Chart, state: str, *, mapped: bool) -> str | None:
    """The configuration that this is; what `migrate` names may also begin in one."""
    if chart.rests(state):
        return state
    leaves = state.split(BETWEEN)
    if not mapped or any(leaf not in chart.states for leaf in leaves):
        return None
    names = {name for leaf in leaves for name in (leaf, *chart.above[leaf])}
    if len(leaves) == 1:
        chart.enter(state, None, NOTHING, names)
    configuration = chart.configuration(names)
    return configuration if chart.rests(configuration) else None


def _timers(
    table: Table, snapshot: Snapshot, state: str, names: Mapping[str, str], *, now_ms: int
) -> tuple[Timer, ...]:
    """
    Timers of states that stay are kept; of those that are new here, delays count from the state's entry.

    One that would be due already is not set: it may be one that has fired.
    """
    active = [table.chart.states[name] for name in table.chart.active(state)]
    ids = {
        old_id: timer_id(one, key)
        for one in active
        for key in one.after
        for old in [old for old, new in names.items() if new == one.name]
        for old_id in (AFTER + key, f"{AFTER}{key}/{old}")
    }
    arms = (*table.whole, *table.microsteps.arms(one.name for one in active))
    known = {arm.id for arm in arms}
    renamed = [one._replace(id=ids.get(one.id, one.id)) for one in snapshot.timers]
    staying = {timer.id: timer for timer in renamed if timer.id in known}
    entered = snapshot.entered_at_ms
    new = [
        Timer(arm.id, snapshot.seq, entered + arm.after)
        for arm in arms
        if isinstance(arm.after, int) and arm.id not in staying and entered + arm.after > now_ms
    ]
    return (*staying.values(), *new)
