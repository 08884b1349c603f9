"""
What AsyncAPI 3.0 asks of the objects that our documents have, as a JSON Schema and a walk of references.

Written from the specification, not from our writer: objects take the keys that it names and `x-...`, some
are required, a reference leads to something of the right kind. Called by `test_exchange`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fastjsonschema

Plain = dict[str, Any]

TEXT = {"type": "string"}
READERS = {"title": TEXT, "summary": TEXT, "description": TEXT}


def _object(required: str, properties: Plain) -> Plain:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "patternProperties": {r"^x-[\w.-]+$": {}},
        "additionalProperties": False,
    }


def _named(value: Plain) -> Plain:
    return {
        "type": "object",
        "patternProperties": {r"^[\w.-]+$": value},
        "additionalProperties": False,
    }


def _reference(prefix: str) -> Plain:
    pattern = {"type": "string", "pattern": f"^{prefix}[^/]+$"}
    return {"type": "object", "required": ["$ref"], "properties": {"$ref": pattern}}


MESSAGE = _object("", {"name": TEXT, "contentType": TEXT, "payload": {"type": "object"}, **READERS})
CHANNEL = _object(
    "",
    {
        "address": {"type": ["string", "null"]},
        "messages": _named(_reference("#/components/messages/")),
        **READERS,
    },
)
OPERATION = _object(
    "action channel",
    {"action": {"enum": ["send", "receive"]}, "channel": _reference("#/channels/"), **READERS},
)
DOCUMENT = _object(
    "asyncapi info",
    {
        "asyncapi": {"const": "3.0.0"},
        "info": _object("title version", {"version": TEXT, **READERS}),
        "defaultContentType": TEXT,
        "channels": {"type": "object", "additionalProperties": CHANNEL},
        "operations": {"type": "object", "additionalProperties": OPERATION},
        "components": _object("", {"messages": _named(MESSAGE)}),
    },
)
CHECK = fastjsonschema.compile({"$schema": "http://json-schema.org/draft-07/schema#", **DOCUMENT})


def faults_of(document: Plain) -> list[str]:
    """What is wrong with a document, in words; of its form, the first fault only."""
    try:
        CHECK(document)
    except fastjsonschema.JsonSchemaException as error:
        return [str(error)]
    return [*_led_astray(document), *_without_meaning(document)]


def _led_astray(document: Plain) -> Iterator[str]:
    """References that lead nowhere."""
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.values()
            where = value.get("$ref")
            if isinstance(where, str):
                at: Any = document
                for key in where.removeprefix("#/").split("/"):
                    at = at.get(key, {})
                if not at:
                    yield f"{where} leads nowhere"


def _without_meaning(document: Plain) -> Iterator[str]:
    """Payloads that are no JSON Schema."""
    for name, message in document["components"]["messages"].items():
        try:
            fastjsonschema.compile(message["payload"])
        except fastjsonschema.JsonSchemaDefinitionException as error:
            yield f"the payload of {name} is no schema: {error}"
