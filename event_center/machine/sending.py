"""
Nodes → what a branch sends: events for the own workflow (`raise`), for others and for topics (`emit`).

Called by `branches` for each branch; `macrostep` works the payloads out, and the engine's outbox sends
what is emitted.
"""

from __future__ import annotations

from event_center.machine.decision import ANY
from event_center.machine.definition import Emit, Raise
from event_center.machine.document import Node, ScalarNode, SequenceNode
from event_center.machine.grammar import EMIT, RAISE
from event_center.machine.reader import Fields, Reader
from event_center.machine.spelling import quoted


def read_raises(reader: Reader, node: Node | None) -> tuple[Raise, ...]:
    """The events of `raise`: names, or mappings with a payload."""
    raised = []
    for item in _items(node):
        plain = isinstance(item, ScalarNode)
        fields = {} if plain else reader.fields(item, RAISE)
        name = _event(reader, item, item if plain else fields.get("event"))
        if name is not None:
            payload = _value(reader, fields, "payload")
            raised.append(Raise(place=item.place, event=name, payload=payload))
    return tuple(raised)


def read_emits(reader: Reader, node: Node | None) -> tuple[Emit, ...]:
    """The events of `emit`."""
    emitted = []
    for item in _items(node):
        fields = reader.fields(item, EMIT)
        name = _event(reader, item, fields.get("event"))
        topic = None if "topic" not in fields else reader.text(fields["topic"], "a topic")
        machine = None if "machine" not in fields else reader.text(fields["machine"], "a machine")
        if "topic" in fields and "machine" in fields:
            message = "machine is for an event that makes a workflow of this app, not for a topic"
            reader.wrong(fields["machine"], message)
        if "topic" not in fields and "workflow_id" not in fields and "event" in fields:
            message = "emit needs a topic or a workflow_id; `raise` is for the own workflow"
            reader.wrong(item, message)
        if name is not None:
            emit = Emit(
                place=item.place,
                where=reader.where(item.place),
                event=name,
                topic=topic,
                workflow_id=_value(reader, fields, "workflow_id"),
                machine=machine,
                payload=_value(reader, fields, "payload"),
            )
            emitted.append(emit)
    return tuple(emitted)


def _items(node: Node | None) -> tuple[Node, ...]:
    """One of something, or a list of it."""
    if node is None:
        return ()
    return node.items if isinstance(node, SequenceNode) else (node,)


def _event(reader: Reader, item: Node, node: Node | None) -> str | None:
    """The name of an event that is sent."""
    name = None if node is None else reader.name(node, "an event")
    if name == ANY:
        reader.wrong(item, f"{quoted(ANY)} stands for events that are heard; name the one to send")
        return None
    return name


def _value(reader: Reader, fields: Fields, key: str) -> object:
    return reader.value(fields[key], computed=True) if key in fields else None
