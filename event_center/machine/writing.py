"""
Definition → YAML text: the way back from what `document` and `reading` read.

The text has what behaves, in its shortest form, and what is for readers (titles, tags, `meta`).
Comments and layout are lost, and a named retry policy stands where it is used. Reading the text
gives an equal machine. Called by `Machine.to_yaml`; nothing follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.emitter import Emitter
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from event_center.machine.branches import NO_POLICY, ONCE
from event_center.machine.cases import plain_cases
from event_center.machine.decision import Action, Retry
from event_center.machine.definition import (
    Branch,
    Call,
    Calls,
    Declared,
    Definition,
    Emit,
    Job,
    Kind,
    Missing,
    On,
    OnFailure,
    OnUpgrade,
    Raise,
    State,
    Tags,
    Upgrade,
)
from event_center.machine.document import resolved
from event_center.machine.duration import in_words
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
from event_center.machine.jobs import GRACE_MS, TIMEOUT_MS
from event_center.machine.value import Value
from event_center.model import Result, Unhandled

_WIDTH = 100
"""Columns of a line of YAML: as long as lines of our own code."""
Plain = dict[str, Any]


def yaml_of(definition: Definition) -> str:
    """The definition as YAML."""
    return yaml_text(plain_of(definition))


def yaml_text(said: Plain) -> str:
    """A machine that is plain mappings, lists and texts, as YAML."""
    # Its default style is the one of people: what has no collections inside stands on a line.
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.Emitter = _Emitter
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # typed as None there
    yaml.width = _WIDTH
    text = StringIO()
    yaml.dump(said, text)
    return text.getvalue()


class _Emitter(Emitter):
    """Keeps a key on one line: over two lines it would be no key any more."""

    def write_plain(self, text: str, split: bool = True) -> None:
        """Ruamel breaks any text where the line is full, a key too."""
        width = self.best_width
        if not split:
            self.best_width = max(width, self.column + len(text) + 1)
        super().write_plain(text, split)
        self.best_width = width


class _Representer(SafeRepresenter):
    """Quotes what our reader would not take for a text, and writes everything out."""

    def ignore_aliases(self, _data: object) -> bool:
        return True

    def represent_str(self, data: str) -> ScalarNode:
        # Within `{}`, a plain text that begins with a colon or a question mark would be a key of its own.
        odd = data[:1] in {":", "?"} or not data.isprintable()
        quoted = odd or resolved(data) is not data
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if quoted else None)


_Representer.add_representer(str, _Representer.represent_str)


def _said(pairs: Plain) -> Plain:
    """What is not as it would be without saying it; only an empty text, list or mapping is left out."""
    return {
        key: value
        for key, value in pairs.items()
        if value is not None and value is not False and value not in ("", [], {})
    }


def plain_of(definition: Definition) -> Plain:
    """The definition as the mappings, lists and texts that its YAML is made of."""
    top = [state for state in definition.states.values() if state.parent is None]
    head = {
        "machine": definition.name,
        "version": definition.version,
        "title": _text(definition.title),
        "description": _text(definition.description),
        "tags": _tags(definition.tags),
        "initial": definition.initial,
        "data": _value(definition.data),
        "perpetual": definition.perpetual,
        "on_failure": _unless(definition.on_failure, OnFailure.PARK),
        "unhandled": _unless(definition.unhandled, Unhandled.REJECT),
        "on_upgrade": _unless(definition.on_upgrade, OnUpgrade.MOVE),
    }
    said = _said(head)
    if definition.meta is not None:
        said["meta"] = _value(definition.meta)
    if definition.events is not None:
        # An empty list of events says something: that none may be used.
        said["events"] = {name: _event(one) for name, one in definition.events.items()}
    said |= _said({"migrate": _short([_upgrade(one) for one in definition.upgrades])})
    ways = {"on": _table(definition.on), "timeout": _table(definition.timeout)}
    said |= _said(ways) | _ways(on_error=definition.on_error)
    said["states"] = {state.name: _state(definition, state) for state in top}
    return said | _said({"tests": _value(plain_cases(definition.tests))})


def _state(definition: Definition, state: State) -> Plain:
    default = Result.SUCCESS if state.parent is None else None
    depth = "deep" if state.deep else "shallow"
    said = _said(
        {
            "type": None if state.kind in {Kind.ATOMIC, Kind.COMPOUND} else str(state.kind),
            "result": _unless(state.result, default) if state.final else None,
            "title": _text(state.title),
            "description": _text(state.description),
            "tags": _tags(state.tags),
            "perpetual": state.perpetual,
            "unhandled": _unless(state.unhandled, None),
            "history": depth if state.kind is Kind.HISTORY else None,
            "target": state.default,
            "entry": _calls(state.entry),
            "exit": _calls(state.exit),
            "invoke": _short([_job(job) for job in state.invoke]),
            "defer": list(state.defer),
            "on": _table(state.on),
            "after": _table(state.after),
        }
    )
    if state.meta is not None:
        said["meta"] = _value(state.meta)
    said |= _ways(on_error=state.on_error, on_done=state.on_done, always=state.always)
    inside = {name: _state(definition, definition.states[name]) for name in state.children}
    return said | _said({"initial": state.initial, "states": inside})


def _unless(word: str | None, default: str | None) -> str | None:
    return None if word is None or word == default else str(word)


def _text(text: str | Mapping[str, str]) -> object:
    return text if isinstance(text, str) else dict(text)


def _event(declared: Declared) -> Plain:
    missing: object = _unless(declared.missing, None)
    if declared.hold is not None:
        expiry = _unless(declared.hold.expiry, Missing.DEAD_LETTER)
        missing = _said({"hold": in_words(declared.hold.limit_ms), "expiry": expiry})
    schema = None if declared.schema is None else _value(declared.schema.content)
    said = {"title": _text(declared.title), "description": _text(declared.description)}
    return _said(said | {"missing": missing}) | ({} if schema is None else {"schema": schema})


def _tags(tags: Tags) -> object:
    if isinstance(tags, Mapping):
        return {language: list(words) for language, words in tags.items()}
    return list(tags)


def _upgrade(upgrade: Upgrade) -> Plain:
    said = {"states": dict(upgrade.states), "data": upgrade.function or _value(upgrade.data)}
    return {"from": upgrade.version} | _said(said | {"drop": list(upgrade.drop)})


def _table(table: Mapping[str, On]) -> Plain:
    return {name: _on(on) for name, on in table.items()}


def _ways(**ways: On | None) -> Plain:
    return {key: _on(on) for key, on in ways.items() if on is not None}


def _on(on: On) -> object:
    return _short([_branch(branch) for branch in on.branches])


def _short(parts: list[Any]) -> Any:
    """One of something stands alone, several make a list."""
    return parts[0] if len(parts) == 1 else parts


def _branch(branch: Branch) -> object:
    errors, guard = _parted(branch.guard)
    said = _said(
        {
            "target": branch.target,
            "errors": list(errors),
            "guard": None if guard is None else _condition(guard),
            "before": _calls(branch.before),
            "actions": _calls(branch.actions),
            "assign": {key: _value(value) for key, value in branch.assign.items()},
            "raise": [_raise(one) for one in branch.raises],
            "emit": _short([_emit(one) for one in branch.emits]),
            "reenter": branch.reenter,
            "repeat": branch.repeat,
            "description": _text(branch.description),
        }
    )
    return branch.target if said.keys() == {"target"} else said


def _parted(guard: Condition | None) -> tuple[tuple[str, ...], Condition | None]:
    """The errors that a branch is for, and the rest of its condition."""
    match guard:
        case Raised(names=names):
            return names, None
        case Every(parts=(Raised(names=names), rest)):
            return names, rest
        case _:
            return (), guard


def _raise(raised: Raise) -> object:
    if raised.payload is None:
        return raised.event
    return {"event": raised.event, "payload": _value(raised.payload)}


def _emit(emit: Emit) -> Plain:
    said = {"event": emit.event, "topic": emit.topic, "machine": emit.machine}
    said |= {"workflow_id": _value(emit.workflow_id), "payload": _value(emit.payload)}
    return {key: value for key, value in said.items() if value is not None}


def _condition(condition: Condition) -> object:
    match condition:
        case Named(name=name):
            return name
        case Computed(expression=expression):
            return f"={expression.text}"
        case Inside(state=state):
            return {"in": state}
        case Raised():
            raise AssertionError("the errors of a branch stand beside its guard, never inside")
        case Not(part=part):
            return {"not": _condition(part)}
        case Every(parts=parts):
            return {"and": [_condition(part) for part in parts]}
        case Either(parts=parts):
            return {"or": [_condition(part) for part in parts]}


def _calls(calls: Calls) -> object:
    return _short([_call(call) for call in calls])


def _call(call: Call) -> object:
    said = _action(call.action, Action(call.action.name).timeout_ms)
    if call.action.eager:
        said["eager"] = True
    return call.action.name if said.keys() == {"do"} else said


def _action(action: Action, timeout_ms: int) -> Plain:
    """A callback and its retries; its timeout, if it is not the usual one."""
    said: Plain = {"do": action.name}
    if action.retry != Retry():
        said["retry"] = NO_POLICY if action.retry == ONCE else _retry(action.retry)
    if action.timeout_ms != timeout_ms:
        said["timeout"] = in_words(action.timeout_ms)
    return said


def _job(job: Job) -> object:
    said = _action(job.action, TIMEOUT_MS)
    if job.heartbeat_ms is not None:
        said["heartbeat"] = in_words(job.heartbeat_ms)
    if job.grace_ms != GRACE_MS:
        said["grace"] = in_words(job.grace_ms)
    said |= _ways(on_done=job.on_done, on_error=job.on_error)
    return job.action.name if said.keys() == {"do"} else said


_WRITTEN: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "interval_ms": ("interval", in_words),
    "max_delay_ms": ("max_delay", in_words),
    "errors": ("errors", list),
}


def _retry(retry: Retry) -> Plain:
    """What is not as in the built-in policy, which is what a policy begins with."""
    said: Plain = {}
    for (field, value), usual in zip(retry._asdict().items(), Retry(), strict=True):
        if value != usual:
            key, write = _WRITTEN.get(field, (field, _value))
            said[key] = write(value)
    return said


def _value(value: Value) -> Any:
    """A value in which expressions begin with `=`, and texts that begin so with one more."""
    if isinstance(value, Expression):
        return f"={value.text}"
    if isinstance(value, str):
        return f"={value}" if value.startswith("=") else value
    if isinstance(value, Mapping):
        return {key: _value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_value(part) for part in value]
    return value
