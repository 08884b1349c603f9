"""
What a machine's `tests` say: cases, and the steps of each with what is expected of them.

Nouns and their reading; `trial` runs them. A case begins in a state, hears events and lets time pass;
callbacks do not run, a step only says that one is done or has failed. Read by `reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from event_center.machine.document import Node, ScalarNode, SequenceNode
from event_center.machine.grammar import CASE, CASE_STEP, GIVEN
from event_center.machine.problems import Place
from event_center.machine.reader import Fields, Reader
from event_center.model import Json, Reason, Result

NOWHERE = Place(1, 1)
STIMULI = ("event", "after", "done", "error")
"""What a step can be: an event, time that passes, a callback that is done or has failed for good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a step must come to; None asks nothing."""

    state: str | None = None
    data: Mapping[str, Json] | None = None
    """Keys and values; other keys may be there."""
    actions: tuple[str, ...] | None = None
    """The callbacks awaited before the transition, in order."""
    effects: tuple[str, ...] | None = None
    """The entry callbacks that it owes, in order."""
    refused: Reason | None = None
    result: Result | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a case."""

    place: Place
    kind: str
    """One of `STIMULI`."""
    what: str
    """The event's name, the callback's name, or the duration as it is written."""
    delay_ms: int = 0
    payload: Json = None
    guards: Mapping[str, bool] = field(default_factory=dict)
    """What named guards say in this step."""
    expected: Expected = Expected()


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One test of a machine."""

    place: Place
    name: str
    state: str | None = None
    """Where it begins; None: as a workflow is born."""
    state_place: Place = NOWHERE
    data: Mapping[str, Json] = field(default_factory=dict)
    """What differs from the data of a new workflow."""
    steps: tuple[Step, ...] = ()


def read_cases(reader: Reader, node: Node | None) -> tuple[Case, ...]:
    """The cases of a machine; what could not be read is left out."""
    if node is None:
        return ()
    if not isinstance(node, SequenceNode):
        reader.wrong(node, "tests are a list of cases; write each behind a '-'")
        return ()
    return tuple(_case(reader, item, number) for number, item in enumerate(node.items, 1))


def _case(reader: Reader, node: Node, number: int) -> Case:
    fields = reader.fields(node, CASE)
    given = reader.fields(fields["given"], GIVEN) if "given" in fields else {}
    state = given.get("state")
    steps = fields.get("steps")
    items = steps.items if isinstance(steps, SequenceNode) else ()
    if steps is not None and not items:
        reader.wrong(steps, "the steps of a test are a list with at least one step")
    name = reader.text(fields["name"], "the name of a test") if "name" in fields else None
    return Case(
        place=node.place,
        name=name or f"test {number}",
        state=None if state is None else reader.text(state, "the state that a test begins in"),
        state_place=node.place if state is None else state.place,
        data=_mapping(reader, given, "data") or {},
        steps=tuple(step for item in items for step in _step(reader, item)),
    )


def _step(reader: Reader, node: Node) -> list[Step]:
    """One step; none where it could not be read."""
    fields = reader.fields(node, CASE_STEP)
    said = [key for key in STIMULI if key in fields]
    if len(said) != 1:
        reader.wrong(node, f"a step has exactly one of the keys {', '.join(STIMULI)}")
        return []
    [kind] = said
    delay_ms = reader.duration(fields[kind], least=1) if kind == "after" else 0
    what = reader.text(fields[kind], f"`{kind}`")
    if what is None or delay_ms is None:
        return []
    return [
        Step(
            place=node.place,
            kind=kind,
            what=what,
            delay_ms=delay_ms,
            payload=reader.value(fields["payload"], computed=False)
            if "payload" in fields
            else None,
            guards=_guards(reader, fields.get("guards")),
            expected=_expected(reader, fields),
        )
    ]


def _expected(reader: Reader, fields: Fields) -> Expected:
    state, refused, result = (fields.get(key) for key in ("state", "refused", "result"))
    return Expected(
        state=None if state is None else reader.text(state, "the expected state"),
        data=_mapping(reader, fields, "data"),
        actions=_names(reader, fields.get("actions")),
        effects=_names(reader, fields.get("effects")),
        refused=None if refused is None else reader.choice(refused, "refused", Reason),
        result=None if result is None else reader.choice(result, "result", Result),
    )


def _mapping(reader: Reader, fields: Fields, key: str) -> dict[str, Json] | None:
    if key not in fields:
        return None
    value: Any = reader.value(fields[key], computed=False)
    if not isinstance(value, dict):
        reader.wrong(fields[key], f"`{key}` of a test maps keys to values")
        return None
    return value


def _names(reader: Reader, node: Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    nodes = node.items if isinstance(node, SequenceNode) else (node,)
    names = (reader.text(item, "the name of a callback") for item in nodes)
    return tuple(name for name in names if name is not None)


def _guards(reader: Reader, node: Node | None) -> dict[str, bool]:
    if node is None:
        return {}
    pairs = reader.named(node, "a guard", "guards of a test")
    said: dict[str, bool] = {}
    for name, _, value in pairs:
        if isinstance(value, ScalarNode) and isinstance(value.value, bool):
            said[name] = value.value
        else:
            reader.wrong(value, f"what guard {name!r} says in a test is true or false")
    return said


def plain_cases(cases: tuple[Case, ...]) -> list[dict[str, Any]]:
    """The cases as the mappings that their YAML is made of."""
    return [_plain_case(case) for case in cases]


def _plain_case(case: Case) -> dict[str, Any]:
    given = {"state": case.state, "data": dict(case.data)}
    given = {key: value for key, value in given.items() if value}
    said: dict[str, Any] = {"name": case.name}
    if given:
        said["given"] = given
    return said | {"steps": [_plain_step(step) for step in case.steps]}


def _plain_step(step: Step) -> dict[str, Any]:
    expected = step.expected
    said: dict[str, Any] = {step.kind: step.what}
    if step.payload is not None:
        said["payload"] = step.payload
    if step.guards:
        said["guards"] = dict(step.guards)
    words = {
        "state": expected.state,
        "data": None if expected.data is None else dict(expected.data),
        "actions": None if expected.actions is None else list(expected.actions),
        "effects": None if expected.effects is None else list(expected.effects),
        "refused": None if expected.refused is None else str(expected.refused),
        "result": None if expected.result is None else str(expected.result),
    }
    return said | {key: value for key, value in words.items() if value is not None}
