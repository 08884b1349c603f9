"""
Nodes → states: the tree of a machine's states as one flat mapping, in the order of the file.

A state knows its parent and its children; names are unique in the whole machine, because a
workflow's state is written as the names of its leaves. Called by `reading`; `branches` reads what
leads out of a state.
"""

from __future__ import annotations

from enum import StrEnum

from event_center.machine.branches import (
    read_after,
    read_calls,
    read_meta,
    read_on,
    read_tags,
    read_text,
    read_way,
)
from event_center.machine.definition import NOWHERE, Kind, Phase, State
from event_center.machine.document import MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.grammar import ERROR_BRANCH, KEYS_OF, STATE
from event_center.machine.jobs import read_jobs
from event_center.machine.problems import Code, Place
from event_center.machine.reader import Fields, Reader
from event_center.machine.spelling import quoted
from event_center.model import Result, Unhandled

States = dict[str, State]


class Depth(StrEnum):
    """What a history state brings back."""

    SHALLOW = "shallow"
    DEEP = "deep"


def read_states(reader: Reader, node: Node | None) -> States:
    """All states of a machine; what could not be read is left out."""
    states: States = {}
    if node is not None:
        if isinstance(node, MappingNode) and not node.pairs:
            reader.wrong(node, "a machine has at least one state")
        _children(reader, node, None, states)
    return states


def _children(reader: Reader, node: Node, parent: str | None, states: States) -> tuple[str, ...]:
    """Read the states of one level, and those inside of them; returns their names."""
    names = []
    for name, key, value in reader.named(node, "a state", "states"):
        if name in states:
            line, column = states[name].place
            message = (
                f"state {quoted(name)} is declared twice, also in line {line}, column {column}; "
                "names of states are unique in a machine: give one of them another name"
            )
            reader.problems.add(key.place, Code.DUPLICATE_KEY, message)
            continue
        names.append(name)
        _state(reader, key, value, parent=parent, states=states)
    return tuple(names)


def _state(
    reader: Reader, key: ScalarNode, node: Node, *, parent: str | None, states: States
) -> None:
    name = str(key.value)
    empty = isinstance(node, ScalarNode) and node.value is None
    fields = {} if empty else reader.fields(node, STATE)
    kind = _kind(reader, name, fields)
    # Its place in the order of the file is before the states inside of it.
    states[name] = State(place=key.place, name=name, kind=kind, parent=parent)
    inside = fields.get("states")
    children: tuple[str, ...] = ()
    if inside is not None:
        if isinstance(inside, MappingNode) and not inside.pairs:
            reader.wrong(inside, f"`states` of {quoted(name)} is empty; remove it")
        children = _children(reader, inside, name, states)
    initial, initial_place = _named(reader, fields.get("initial"), "a state")
    default, default_place = _named(reader, fields.get("target"), "a target")
    states[name] = State(
        place=key.place,
        name=name,
        kind=kind,
        parent=parent,
        children=children,
        initial=initial or "",
        initial_place=initial_place,
        deep=_deep(reader, fields.get("history")),
        default=default,
        default_place=default_place,
        result=_result(reader, fields.get("result"), kind, parent),
        entry=read_calls(reader, fields.get("entry"), Phase.ENTRY),
        exit=read_calls(reader, fields.get("exit"), Phase.EXIT),
        invoke=read_jobs(reader, fields.get("invoke")),
        on=read_on(reader, fields["on"]) if "on" in fields else {},
        after=read_after(reader, fields["after"]) if "after" in fields else {},
        on_error=read_way(reader, fields.get("on_error"), ERROR_BRANCH),
        on_done=read_way(reader, fields.get("on_done")),
        always=read_way(reader, fields.get("always")),
        defer=_defer(reader, fields.get("defer")),
        unhandled=read_unhandled(reader, fields),
        perpetual=reader.flag(fields.get("perpetual"), "perpetual"),
        exits=_misplaced(fields, kind),
        title=read_text(reader, fields, "title"),
        description=read_text(reader, fields, "description"),
        tags=read_tags(reader, fields.get("tags")),
        meta=read_meta(reader, fields),
    )


def _kind(reader: Reader, name: str, fields: Fields) -> Kind:
    """The kind of a state: as it is written, or compound if it has states."""
    node = fields.get("type")
    written = None if node is None else reader.choice(node, "type", Kind)
    if written in {Kind.COMPOUND, Kind.PARALLEL} and "states" not in fields and node is not None:
        reader.wrong(node, f"{written} state {quoted(name)} has no `states`; write them inside")
        return Kind.ATOMIC
    if written is None or (written is Kind.ATOMIC and "states" in fields):
        return Kind.COMPOUND if "states" in fields else Kind.ATOMIC
    return written


def _misplaced(fields: Fields, kind: Kind) -> dict[str, Place]:
    allowed = KEYS_OF[kind] | {"result"}
    return {key: value.place for key, value in fields.items() if key not in allowed}


def _named(reader: Reader, node: Node | None, what: str) -> tuple[str | None, Place]:
    return (None, NOWHERE) if node is None else (reader.name(node, what), node.place)


def _deep(reader: Reader, node: Node | None) -> bool:
    return node is not None and reader.choice(node, "history", Depth) is Depth.DEEP


def _defer(reader: Reader, node: Node | None) -> dict[str, Place]:
    if node is None:
        return {}
    items = node.items if isinstance(node, SequenceNode) else (node,)
    named = ((reader.name(item, "an event"), item.place) for item in items)
    return {name: place for name, place in named if name is not None}


def _result(reader: Reader, node: Node | None, kind: Kind, parent: str | None) -> Result | None:
    ends = kind is Kind.FINAL and parent is None
    if node is None:
        return Result.SUCCESS if ends else None
    if not ends:
        advice = "add `type: final`" if parent is None else "those inside of others end no workflow"
        reader.wrong(
            node,
            f"only a final state {'' if parent is None else 'at the top '}has a result; {advice}",
        )
        return None
    return reader.choice(node, "result", Result) or Result.SUCCESS


def read_unhandled(reader: Reader, fields: Fields) -> Unhandled | None:
    """What becomes of events that are not accepted."""
    node = fields.get("unhandled")
    return None if node is None else reader.choice(node, "unhandled", Unhandled)
