"""
Nodes → definition: the machine, its states, events and retry policies; all problems in one pass.

What could not be read is left out, so that the rest can still be checked. Called by `loading` after
`document`; the next step is `checks`.
"""

from __future__ import annotations

import re
from enum import StrEnum

from event_center.machine.branches import (
    DEFAULT_POLICY,
    NO_POLICY,
    read_after,
    read_calls,
    read_on,
    read_policy,
    read_text,
    read_way,
)
from event_center.machine.decision import Retry
from event_center.machine.definition import (
    NOWHERE,
    Declared,
    Definition,
    Missing,
    OnFailure,
    Phase,
    State,
)
from event_center.machine.document import MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.grammar import (
    EVENT,
    FINAL,
    MACHINE,
    MISSING_LATER,
    STATE,
    TYPES_LATER,
)
from event_center.machine.problems import Code, Place
from event_center.machine.reader import Fields, Reader, noun_of
from event_center.machine.spelling import quoted
from event_center.model import Json, Result, Unhandled

_MACHINE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Type(StrEnum):
    """The kinds of states."""

    ATOMIC = "atomic"
    FINAL = "final"


def read_definition(reader: Reader, root: Node) -> Definition:
    """The definition as far as it could be read."""
    fields = reader.fields(root, MACHINE)
    reader.retries = _retries(reader, fields.get("retries"))
    initial = fields.get("initial")
    return Definition(
        source=reader.problems.source,
        name=_machine_name(reader, fields),
        version=_version(reader, fields),
        initial="" if initial is None else reader.name(initial, "a state") or "",
        initial_place=NOWHERE if initial is None else initial.place,
        states=_states(reader, fields.get("states")),
        data=_data(reader, fields.get("data")),
        events=_events(reader, fields["events"]) if "events" in fields else None,
        on=read_on(reader, fields["on"]) if "on" in fields else {},
        on_error=read_way(reader, fields.get("on_error")),
        on_failure=_on_failure(reader, fields) or OnFailure.PARK,
        unhandled=_unhandled(reader, fields) or Unhandled.REJECT,
        perpetual=reader.flag(fields.get("perpetual"), "perpetual"),
        title=read_text(reader, fields, "title"),
        description=read_text(reader, fields, "description"),
    )


def _machine_name(reader: Reader, fields: Fields) -> str:
    node = fields.get("machine")
    name = None if node is None else reader.text(node, "the name of a machine")
    if node is None or name is None:
        return ""
    if not _MACHINE_NAME.fullmatch(name):
        reader.wrong(
            node, f"a machine's name has 1 to 100 letters, digits, _ - and dots, not {quoted(name)}"
        )
    return name


def _version(reader: Reader, fields: Fields) -> int:
    node = fields.get("version")
    return 0 if node is None else reader.whole(node, "version", 1) or 0


def _on_failure(reader: Reader, fields: Fields) -> OnFailure | None:
    node = fields.get("on_failure")
    return None if node is None else reader.choice(node, "on_failure", OnFailure)


def _unhandled(reader: Reader, fields: Fields) -> Unhandled | None:
    node = fields.get("unhandled")
    return None if node is None else reader.choice(node, "unhandled", Unhandled)


def _data(reader: Reader, node: Node | None) -> dict[str, Json]:
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return {}
    if not isinstance(node, MappingNode):
        reader.wrong(node, f"data maps keys to their defaults; this is {noun_of(node)}")
        return {}
    defaults: dict[str, Json] = reader.value(node, computed=False)
    return defaults


def _retries(reader: Reader, node: Node | None) -> dict[str, Retry]:
    if node is None:
        return {}
    policies: dict[str, Retry] = {}
    for name, key, value in reader.named(node, "a retry policy", "retry policies"):
        if name == NO_POLICY:
            reader.wrong(key, "'none' always means one attempt; give this policy another name")
        policies[name] = read_policy(reader, value)
    # Callbacks that name no policy have `default`, also while no policy of this name is declared.
    policies.setdefault(DEFAULT_POLICY, Retry())
    return policies


def _events(reader: Reader, node: Node) -> dict[str, Declared]:
    declared: dict[str, Declared] = {}
    for name, key, value in reader.named(node, "an event", "events"):
        empty = isinstance(value, ScalarNode) and value.value is None
        fields = {} if empty else reader.fields(value, EVENT)
        declared[name] = Declared(
            place=key.place,
            missing=_missing(reader, fields.get("missing")),
            description=read_text(reader, fields, "description"),
        )
    return declared


def _missing(reader: Reader, node: Node | None) -> Missing | None:
    if node is None:
        return None
    word = node.value if isinstance(node, ScalarNode) else None
    holds = isinstance(node, MappingNode) and any(
        key.value in MISSING_LATER for key, _ in node.pairs
    )
    if holds or word in MISSING_LATER:
        message = "`missing: hold` is not supported by this release"
        reader.problems.add(node.place, Code.NOT_SUPPORTED, message)
        return None
    return reader.choice(node, "missing", Missing)


def _states(reader: Reader, node: Node | None) -> dict[str, State]:
    if node is None:
        return {}
    if isinstance(node, MappingNode) and not node.pairs:
        reader.wrong(node, "a machine has at least one state")
    named = reader.named(node, "a state", "states")
    return {name: _state(reader, name, key.place, value) for name, key, value in named}


def _state(reader: Reader, name: str, place: Place, node: Node) -> State:
    empty = isinstance(node, ScalarNode) and node.value is None
    fields = {} if empty else reader.fields(node, STATE)
    final = _is_final(reader, fields.get("type"))
    return State(
        place=place,
        name=name,
        final=final,
        result=_result(reader, fields.get("result"), final=final),
        entry=read_calls(reader, fields.get("entry"), Phase.ENTRY),
        exit=read_calls(reader, fields.get("exit"), Phase.EXIT),
        on=read_on(reader, fields["on"]) if "on" in fields else {},
        after=read_after(reader, fields["after"]) if "after" in fields else {},
        on_error=read_way(reader, fields.get("on_error")),
        on_done=read_way(reader, fields.get("on_done")),
        unhandled=_unhandled(reader, fields),
        perpetual=reader.flag(fields.get("perpetual"), "perpetual"),
        exits={key: value.place for key, value in fields.items() if key not in FINAL},
        title=read_text(reader, fields, "title"),
        description=read_text(reader, fields, "description"),
        tags=_tags(reader, fields.get("tags")),
        meta=reader.value(fields["meta"], computed=False) if "meta" in fields else None,
    )


def _is_final(reader: Reader, node: Node | None) -> bool:
    if node is None:
        return False
    if isinstance(node, ScalarNode) and node.value in TYPES_LATER:
        message = f"`type: {node.value}` is not supported by this release"
        reader.problems.add(node.place, Code.NOT_SUPPORTED, message)
        return False
    return reader.choice(node, "type", Type) is Type.FINAL


def _result(reader: Reader, node: Node | None, *, final: bool) -> Result | None:
    if node is None:
        return Result.SUCCESS if final else None
    if not final:
        reader.wrong(node, "only a final state has a result; add `type: final`")
        return None
    return reader.choice(node, "result", Result) or Result.SUCCESS


def _tags(reader: Reader, node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    nodes = node.items if isinstance(node, SequenceNode) else (node,)
    tags = (reader.text(item, "a tag") for item in nodes)
    return tuple(tag for tag in tags if tag is not None)
