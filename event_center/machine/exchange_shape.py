"""
The shape that a configuration of XState 5 has, as far as the import reads it.

Promises: what passes has objects, lists and texts where `exchange_import` looks for them; everything else
ends in one sentence that says where. Names that the import does not know may be anything. Pure; called
by `exchange_import`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import fastjsonschema
from fastjsonschema import JsonSchemaValueException

from event_center.errors import ExchangeError
from event_center.machine.exchange_xstate import IN, NOT, OWN
from event_center.model import Json


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name}"}


def _unless(kind: str, other: dict[str, Any]) -> dict[str, Any]:
    """This kind of value, or what is asked of all others."""
    return {"if": {"type": kind}, "else": other}


def _one_or_more(name: str) -> dict[str, Any]:
    """One, a list of them, or nothing."""
    one = _ref(name)
    return _unless("null", {"if": {"type": "array"}, "then": {"items": one}, "else": one})


def _table(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": of}


_OBJECT = {"type": ["object", "null"]}


def _needs(words: list[str], part: str) -> dict[str, Any]:
    """A guard of one of these types has this parameter."""
    params = {"type": "object", "required": [part]}
    then = {"required": ["params"], "properties": {"params": params}}
    return {"if": {"properties": {"type": {"enum": words}}}, "then": then}


_GUARD = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "params": {
            "type": ["object", "null"],
            "properties": {
                "guards": {"type": "array", "minItems": 1, "items": _ref("guard")},
                "stateId": {"type": "string"},
            },
        },
    },
    "required": ["type"],
    "allOf": [_needs(["and", "or", NOT], "guards"), _needs([IN], "stateId")],
}
_OWN_ALWAYS = {
    "type": ["string", "object", "array"],
    "minItems": 1,
    "items": {"type": ["string", "object"]},
}
_STATE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": ["string", "null"]},
        "states": _table(_unless("null", _ref("state"))),
        "on": _table(_one_or_more("branch")),
        "after": _table(_one_or_more("branch")),
        "always": _one_or_more("branch"),
        "onDone": _one_or_more("branch"),
        "entry": _one_or_more("call"),
        "exit": _one_or_more("call"),
        "invoke": _one_or_more("invoke"),
        "meta": _OBJECT | {"properties": {OWN: {"properties": {"always": _OWN_ALWAYS}}}},
    },
}
SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "definitions": {
        "state": _STATE,
        "branch": {
            "type": ["string", "object"],
            "properties": {
                "guard": _unless("null", _ref("guard")),
                "cond": _unless("null", _ref("guard")),
                "actions": _one_or_more("call"),
                "meta": _OBJECT,
            },
        },
        "guard": _unless("string", _GUARD),
        "call": {
            "type": ["string", "object"],
            "properties": {
                "type": {"type": ["string", "null"]},
                "params": {"type": ["object", "null"], "properties": {"event": _OBJECT}},
            },
        },
        "invoke": {
            "type": "object",
            "properties": {
                "onDone": _one_or_more("branch"),
                "onError": _one_or_more("branch"),
            },
        },
    },
    "allOf": [_ref("state")],
}


@cache
def _validator() -> Callable[[Mapping[str, Json]], object]:
    """Compiled when it is first needed: few programs import machines."""
    made: Callable[[Mapping[str, Json]], object] = fastjsonschema.compile(SCHEMA, use_default=False)
    return made


def check_shape(config: Mapping[str, Json]) -> None:
    """
    Make sure that the import finds what it looks for.

    Raises:
        ExchangeError: something has another shape; the message says where.
    """
    try:
        _validator()(config)
    except JsonSchemaValueException as error:
        place = ".".join(error.path[1:]) or "the configuration"
        raise ExchangeError(
            f"this is no configuration of XState 5: {place} {error.message.partition(' ')[2]}; "
            "XState writes one with JSON.stringify(machine.config)"
        ) from error
