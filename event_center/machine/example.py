"""
A payload that fits the schema of an event, as short as it can be: what a test begins with.

Only what a schema says plainly is followed: constants, examples, types, required keys, least values;
whoever calls asks the schema whether it fits. Pure; called by `deriving`.
"""

from __future__ import annotations

from event_center.model import Json

PLAIN = "x"
"""A text, or a value that may be anything."""
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "email": "x@example.org",
    "ipv4": "127.0.0.1",
    "time": "00:00:00Z",
    "uri": "https://example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Json) -> Json:
    """A value for a schema, or a guess."""
    if not isinstance(schema, dict):
        return PLAIN
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return example({**{k: v for k, v in schema.items() if k != word}, **schema[word][0]})
    kind = schema.get("type", "object" if {"properties", "required"} & schema.keys() else "")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema)


def _of_kind(kind: str, schema: dict[str, Json]) -> Json:
    match kind:
        case "object":
            known = schema.get("properties", {})
            return {name: example(known.get(name)) for name in schema.get("required", ())}
        case "array":
            return [example(schema.get("items"))] * schema.get("minItems", 0)
        case "integer" | "number":
            least = schema.get("exclusiveMinimum")
            return schema.get("minimum", schema.get("maximum", 1) if least is None else least + 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            text = _FORMATS.get(schema.get("format", ""), PLAIN)
            return text * max(1, schema.get("minLength", 1)) if text == PLAIN else text
