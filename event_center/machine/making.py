"""
Values and expressions of a machine → functions of a snapshot, an event and now.

A branch is taken by many events, so what it assigns, raises and emits is compiled once, each value with all
of its expressions into one function. What it makes is what `filled` makes of the same value, and shares no
part with the event or the workflow. When it fails, `filled` works it out once more, to say what has failed.
Called by `moves` and `guard`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from event_center.machine.arithmetic import FAILURES
from event_center.machine.expression import Expression, compiled
from event_center.machine.scope import event_values, values_of
from event_center.machine.value import Value, copied, filled
from event_center.model import Event, Json, Snapshot

Maker = Callable[[Snapshot, Event, int], Any]
"""Makes a value of the workflow as it is, the event and now."""

_ARGUMENTS = ("snapshot", "event", "now_ms")
_READING = {
    "payload": "event.payload",
    "data": "snapshot.data",
    "event": "_event_values(event)",
    "workflow_id": "snapshot.workflow_id",
    "now": "now_ms",
    "state": "snapshot.state",
}
"""Where a function finds what an expression begins with."""
_SCALARS = frozenset({str, int, float, bool, type(None)})


def maker(value: Value) -> Maker:
    """What makes the value for one event, as `filled` does."""
    return _with_reasons(_tree(value), lambda values: filled(value, values))


def updater(assign: Mapping[str, Value]) -> Maker:
    """What makes the new data of the old ones: all values see those."""
    new = _tree(assign)
    new.keys.insert(0, None)
    new.values.insert(0, _read("snapshot.data"))
    return _with_reasons(new, lambda values: {**values["data"], **filled(assign, values)})


def evaluator(expression: Expression) -> Maker:
    """What works out an expression of which nothing is kept: a part of the event or the data, no copy."""
    return _with_reasons(expression.tree(_READING), expression.evaluate)


def _with_reasons(tree: ast.expr, slowly: Callable[[Mapping[str, Any]], Json]) -> Maker:
    """The tree as a function that says of its failures what `slowly` says."""
    made = compiled(tree, _ARGUMENTS, {"_event_values": event_values, "_own": _own})

    def make(snapshot: Snapshot, event: Event, now_ms: int) -> Json:
        try:
            return made(snapshot, event, now_ms)
        except FAILURES:
            return slowly(values_of(snapshot, event, now_ms))

    return make


def _tree(value: Value) -> Any:
    if isinstance(value, Expression):
        tree = value.tree(_READING)
        return tree if _is_scalar(tree) else _call("_own", tree)
    if isinstance(value, dict):
        return ast.Dict([ast.Constant(key) for key in value], [*map(_tree, value.values())])
    if isinstance(value, list):
        return ast.List([*map(_tree, value)], ast.Load())
    return ast.Constant(value)


def _is_scalar(tree: ast.expr) -> bool:
    """Whether its value is surely no list or mapping of the workflow or the event: none is to be copied."""
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        # Of the operators only + makes lists, of two lists.
        return tree.func.id not in {"_add", "_event_values"} or any(map(_is_scalar, tree.args))
    if isinstance(tree, ast.Attribute):
        return tree.attr not in {"data", "payload"}
    return isinstance(tree, ast.Constant | ast.Compare | ast.UnaryOp | ast.Name)


def _own(value: Json) -> Json:
    return value if type(value) in _SCALARS else copied(value)


def _read(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _call(name: str, argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])
