"""
The events of a machine as an AsyncAPI 3 document: for those who publish them, and for their tools.

Each topic is a channel, each event a message with the states that accept it. What a payload has only
its publishers know: a machine says no more of it than its expressions read, and those keys are named.
Pure; called by the CLI's `export`, which knows the topics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from event_center.machine.decision import ANY
from event_center.machine.definition import Branch, Definition, On, Text
from event_center.machine.guard import Computed, leaves
from event_center.machine.value import expressions

VERSION = "3.0.0"
Plain = dict[str, Any]


def asyncapi_of(definition: Definition, topics: Iterable[str] = ()) -> Plain:
    """
    The document.

    Args:
        definition: the machine.
        topics: where its events are published; without any, one channel has no address.
    """
    names = _events(definition)
    keys = {name: f"event{number}" for number, name in enumerate(names, 1)}
    addresses = tuple(topics) or (None,)
    channels = {
        f"channel{number}": {
            "address": address,
            "messages": {
                keys[name]: {"$ref": f"#/components/messages/{keys[name]}"} for name in names
            },
        }
        for number, address in enumerate(addresses, 1)
    }
    info: Plain = {"title": _text(definition.title) or definition.name}
    info["version"] = str(definition.version)
    if _text(definition.description):
        info["description"] = _text(definition.description)
    return {
        "asyncapi": VERSION,
        "info": info,
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            f"receive{number}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/channel{number}"},
                "summary": f"What moves a workflow of machine {definition.name}.",
            }
            for number in range(1, len(addresses) + 1)
        },
        "components": {"messages": {keys[name]: _message(definition, name) for name in names}},
    }


def _events(definition: Definition) -> list[str]:
    """All events that the machine declares or hears."""
    tables = (definition.on, *(state.on for state in definition.states.values()))
    used = (name for on in tables for name in on if name != ANY)
    deferred = (name for state in definition.states.values() for name in state.defer)
    return list(dict.fromkeys((*(definition.events or {}), *used, *deferred)))


def _message(definition: Definition, name: str) -> Plain:
    declared = (definition.events or {}).get(name)
    message: Plain = {"name": name, "title": name}
    if declared is not None and _text(declared.description):
        message["description"] = _text(declared.description)
    accepted = [state.name for state in definition.states.values() if name in state.on]
    if name in definition.on:
        accepted = [
            state.name for state in definition.states.values() if state.parent or not state.final
        ]
    message["x-accepted-in"] = accepted
    payload: Plain = {"description": "What happened, in any JSON."}
    read = sorted(set(_read(definition, name)))
    if read:
        payload = {
            "type": "object",
            "description": "The keys are those that the machine reads; there may be others.",
            "properties": {key: {} for key in read},
        }
    if declared is not None and declared.schema is not None and not declared.schema.refers:
        payload = declared.schema.content
    message["payload"] = {
        "type": "object",
        "required": ["workflow_id", "event"],
        "properties": {
            "workflow_id": {"type": "string", "maxLength": 512},
            "event": {"const": name},
            "id": {"type": "string", "description": "For finding duplicates."},
            "payload": payload,
        },
    }
    return message


def _read(definition: Definition, name: str) -> Iterator[str]:
    """The keys of its payload that guards and assigns read."""
    tables = (definition.on, *(state.on for state in definition.states.values()))
    ways: list[On] = [on[name] for on in tables if name in on]
    for branch in (branch for way in ways for branch in way.branches):
        for expression in _expressions(branch):
            yield from (key for root, key in expression.attributes if root == "payload")


def _expressions(branch: Branch) -> Iterator[Any]:
    for leaf in leaves(branch.guard):
        if isinstance(leaf, Computed):
            yield leaf.expression
    sent = [one.payload for one in branch.raises]
    sent += [value for one in branch.emits for value in (one.workflow_id, one.payload)]
    for value in (*branch.assign.values(), *sent):
        yield from expressions(value)


def _text(text: Text) -> str:
    """A text for readers; of several languages the first."""
    return text if isinstance(text, str) else next(iter(text.values()), "")
