"""
Schemas of payloads: the JSON Schema of an event, compiled once, and asked before anything else.

fastjsonschema does the work (drafts 4, 6, 7 and 2019-09). It passes over keywords that it does not
know, and asks the network for schemas elsewhere; here both are problems of the definition, with their
place. Called by `reading`; `step` asks the schema for the event's fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import fastjsonschema
from fastjsonschema import JsonSchemaException, JsonSchemaValueException

from event_center.machine.document import MappingNode, Node, ScalarNode, SequenceNode
from event_center.machine.problems import Code
from event_center.machine.reader import Reader
from event_center.machine.spelling import hint, quoted
from event_center.model import Json

_LONGEST = 500
"""Characters of a fault: it stands in history and in snapshots, and may repeat what it refuses."""
_NAME = "payload"
_DRAFTS = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/2019-09)/schema#?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ONE = _words(
    "additionalItems additionalProperties contains else if items not propertyNames then"
    " unevaluatedItems unevaluatedProperties"
)
"""Keywords whose value is a schema."""
_SEVERAL = _words("allOf anyOf items oneOf")
"""Keywords whose value is a list of schemas."""
_NAMED = _words("$defs definitions dependentSchemas patternProperties properties")
"""Keywords whose value maps names to schemas."""
_KEYWORDS = _ONE | _SEVERAL | _NAMED
_KEYWORDS |= _words(
    "$anchor $comment $id $ref $schema const contentEncoding contentMediaType default dependencies"
    " dependentRequired description enum examples exclusiveMaximum exclusiveMinimum format id"
    " maxContains maxItems maxLength maxProperties maximum minContains minItems minLength"
    " minProperties minimum multipleOf pattern readOnly required title type uniqueItems writeOnly"
)
_BROKEN = (
    JsonSchemaException,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    re.error,
)
"""What fastjsonschema raises for something that is no schema: it looks at parts without a doubt."""


class Schema:
    """The compiled schema of one event; never changed."""

    __slots__ = ("_validate", "content", "refers")

    def __init__(self, content: Json, validate: Callable[..., Any]) -> None:
        self.content = content
        """As it is written, as JSON."""
        self.refers = "$ref" in _keys(content)
        """Parts of it name others, by their places in it."""
        self._validate = validate

    def fault(self, payload: Json) -> str:
        """Where and why a payload does not fit, as `payload.lines[0].sku must be string`; or empty."""
        try:
            self._validate(payload, name_prefix=_NAME)
        except JsonSchemaValueException as error:
            return str(error.message)[:_LONGEST]
        except RecursionError:
            return f"{_NAME} is nested too deeply for its schema"
        return ""


def _keys(value: Json) -> set[str]:
    """The keys of all mappings in a value."""
    if isinstance(value, dict):
        return set(value).union(*(_keys(part) for part in value.values()))
    if isinstance(value, list):
        return set[str]().union(*(_keys(part) for part in value))
    return set()


def read_schema(reader: Reader, node: Node | None) -> Schema | None:
    """The schema that a node has, if it is one."""
    if node is None:
        return None
    if not isinstance(node, MappingNode):
        reader.wrong(node, "a schema is a mapping with the keywords of JSON Schema")
        return None
    found = len(reader.problems)
    content = reader.value(node, computed=False)
    for part in _parts(node):
        _check_keywords(reader, part)
    if len(reader.problems) > found:
        return None
    try:
        # No defaults: they would write into the payload. No schema from elsewhere, see above.
        validate = fastjsonschema.compile(content, use_default=False)
    except _BROKEN as error:
        message = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        reader.problems.add(node.place, Code.SCHEMA, f"not a JSON Schema: {message}")
        return None
    return Schema(content, validate)


def _parts(node: Node) -> Iterator[MappingNode]:
    """A schema and all schemas inside of it."""
    if not isinstance(node, MappingNode):
        return
    yield node
    for key, value in node.pairs:
        if key.value in _NAMED and isinstance(value, MappingNode):
            for _, part in value.pairs:
                yield from _parts(part)
        elif key.value in _SEVERAL and isinstance(value, SequenceNode):
            for part in value.items:
                yield from _parts(part)
        elif key.value in _ONE:
            yield from _parts(value)


def _check_keywords(reader: Reader, schema: MappingNode) -> None:
    for key, value in schema.pairs:
        word = key.value
        if not isinstance(word, str):
            continue  # noted already: it is no text
        said = value.value if isinstance(value, ScalarNode) else None
        message = ""
        if word not in _KEYWORDS and not word.startswith("x-"):
            guess = hint(word, sorted(_KEYWORDS), "keywords")
            message = f"{quoted(word)} is not a keyword of JSON Schema{guess}"
        elif word == "$ref" and not (isinstance(said, str) and said.startswith("#")):
            message = "a schema refers to its own parts only: $ref begins with '#'"
        elif word == "$schema" and not (isinstance(said, str) and _DRAFTS.fullmatch(said)):
            message = "the drafts 4, 6, 7 and 2019-09 of JSON Schema are understood"
        if message:
            reader.problems.add(key.place, Code.SCHEMA, message)
