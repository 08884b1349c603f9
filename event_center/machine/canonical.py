"""
The content of a definition in one canonical form, and its hash.

Two files have the same hash exactly when their machines behave the same by what is written:
layout, comments, titles, descriptions, tags and `meta` do not count, the order of branches and
callbacks does. The hash is durable (a shard remembers the hash of each version that it ran), so
this form may only change together with its number. Called by `step` when a machine is built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from event_center.machine.decision import Action
from event_center.machine.definition import (
    Branch,
    Calls,
    Declared,
    Definition,
    Emit,
    Job,
    Kind,
    On,
    OnUpgrade,
    State,
    Upgrade,
)
from event_center.machine.expression import Expression
from event_center.machine.guard import (
    Computed,
    Condition,
    Either,
    Every,
    Inside,
    Named,
    Not,
    Raised,
)
from event_center.machine.value import Value

_FORM = 1


def content_hash(definition: Definition) -> str:
    """Sha256 of the canonical content, in hexadecimal."""
    text = json.dumps(content(definition), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def content(definition: Definition) -> dict[str, Any]:
    """What the definition says, as JSON."""
    declared = definition.events
    more: dict[str, Any] = {"timeout": _table(definition.timeout)} if definition.timeout else {}
    if definition.on_upgrade is OnUpgrade.PIN:
        more["on_upgrade"] = definition.on_upgrade
    if definition.upgrades:
        more["migrate"] = {str(one.version): _upgrade(one) for one in definition.upgrades}
    return more | {
        "form": _FORM,
        "machine": definition.name,
        "version": definition.version,
        "initial": definition.initial,
        "data": definition.data,
        "perpetual": definition.perpetual,
        "events": None
        if declared is None
        else {name: _declared(one) for name, one in declared.items()},
        "on": _table(definition.on),
        "on_error": _on(definition.on_error),
        "on_failure": definition.on_failure,
        "unhandled": definition.unhandled,
        "states": {name: _state(state) for name, state in definition.states.items()},
    }


def _upgrade(upgrade: Upgrade) -> dict[str, Any]:
    data = upgrade.function or {key: _value(value) for key, value in upgrade.data.items()}
    return {"states": upgrade.states, "data": data, "drop": sorted(upgrade.drop)}


def _declared(declared: Declared) -> Any:
    schema = declared.schema
    missing = declared.missing if declared.hold is None else list(declared.hold)
    return missing if schema is None else [missing, schema.content]


def _state(state: State) -> dict[str, Any]:
    content: dict[str, Any] = {
        "final": state.final,
        "result": state.result,
        "entry": _calls(state.entry),
        "exit": _calls(state.exit),
        "on": _table(state.on),
        "after": _table(state.after),
        "on_error": _on(state.on_error),
        "on_done": _on(state.on_done),
        "unhandled": state.unhandled,
        "perpetual": state.perpetual,
    }
    # What a flat machine does not have is left out, so that its hash stays what it always was.
    if state.kind not in {Kind.ATOMIC, Kind.FINAL}:
        content["kind"] = state.kind
    more = {
        "parent": state.parent,
        "children": list(state.children) if state.kind is Kind.PARALLEL else None,
        "initial": state.initial,
        "deep": state.deep,
        "default": state.default,
        "always": _on(state.always),
        "defer": sorted(state.defer),
        "invoke": [_job(job) for job in state.invoke],
    }
    return content | {key: value for key, value in more.items() if value}


def _table(table: Mapping[str, On]) -> dict[str, Any]:
    return {name: _on(on) for name, on in table.items()}


def _on(on: On | None) -> list[dict[str, Any]] | None:
    return None if on is None else [_branch(branch) for branch in on.branches]


def _branch(branch: Branch) -> dict[str, Any]:
    raises = [[one.event, _value(one.payload)] for one in branch.raises]
    more: dict[str, Any] = {"raise": raises} if raises else {}
    if branch.emits:
        more["emit"] = [_emit(emit) for emit in branch.emits]
    return more | {
        "target": branch.target,
        "guard": None if branch.guard is None else _condition(branch.guard),
        "before": _calls(branch.before),
        "actions": _calls(branch.actions),
        "assign": {key: _value(value) for key, value in branch.assign.items()},
        "reenter": branch.reenter,
        "repeat": branch.repeat,
    }


def _emit(emit: Emit) -> list[Any]:
    to = [emit.topic, emit.machine, _value(emit.workflow_id)]
    return [emit.event, *to, _value(emit.payload)]


def _calls(calls: Calls) -> list[list[Any]]:
    return [_action(call.action) for call in calls]


def _action(action: Action) -> list[Any]:
    *always, errors = action.retry
    retry = [*always, sorted(errors)] if errors else always
    return list(action._replace(retry=retry))  # type: ignore[arg-type]  # only to be written


def _job(job: Job) -> dict[str, Any]:
    return {
        "action": _action(job.action),
        "grace": job.grace_ms,
        "heartbeat": job.heartbeat_ms,
        "on_done": _on(job.on_done),
        "on_error": _on(job.on_error),
    }


def _condition(condition: Condition) -> list[Any]:  # noqa: PLR0911 - a case for each kind
    match condition:
        case Named(name=name):
            return ["name", name]
        case Computed(expression=expression):
            return ["expression", expression.text]
        case Inside(state=state):
            return ["in", state]
        case Raised(names=names):
            return ["errors", *names]
        case Not(part=part):
            return ["not", _condition(part)]
        case Every(parts=parts):
            return ["and", *(_condition(part) for part in parts)]
        case Either(parts=parts):
            return ["or", *(_condition(part) for part in parts)]


def _value(value: Value) -> list[Any]:
    """Values carry their kind, so that a text never looks like an expression."""
    if isinstance(value, Expression):
        return ["expression", value.text]
    if isinstance(value, dict):
        return ["mapping", {key: _value(part) for key, part in value.items()}]
    if isinstance(value, list):
        return ["list", [_value(part) for part in value]]
    return ["literal", value]
