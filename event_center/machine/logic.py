"""
What can be known of guards without an event: whether one can ever hold, and what is left for the next.

A guard is decided where it compares fields with constants, joined by and, or and not: for each field the
values that matter are the constants, what lies between and beside them, and values of other types. Any
other part counts as a coin that may fall either way, so nothing is called impossible that could happen.
Called by `conditions`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from math import prod
from typing import Any

from event_center.machine.guard import (
    Computed,
    Condition,
    Either,
    Every,
    Inside,
    Named,
    Not,
    Raised,
    text_of,
)

Point = Mapping[str, Any]
"""A value for each field, and a side for each coin."""
Truth = Callable[[Point], bool | None]
"""Whether a guard is true at a point; None: it raises."""

MOST_POINTS = 20_000
"""More are not looked at: then nothing is known."""
_ERROR = "the error"
_OTHERS: tuple[Any, ...] = (None, True, False, 0, "", [], ["?"])
"""Values of every type, so that a comparison with none of the constants is looked at as well."""
_COMPARED: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}


class Logic:
    """Guards over the same fields, to be looked at together."""

    def __init__(self, conditions: Iterable[Condition | None]) -> None:
        self.coins: dict[str, None] = {}
        """What nobody can decide, as it is written."""
        self._constants: dict[str, list[Any]] = {}
        self.truths = [_always if one is None else self._read(one) for one in conditions]
        """The guards, in their order; one that is not there always holds."""

    def points(self) -> Iterator[Point] | None:
        """Every point that matters; None: there are too many."""
        values = {field: _values(constants) for field, constants in self._constants.items()}
        values |= {coin: [True, False] for coin in self.coins}
        if prod(map(len, values.values())) > MOST_POINTS:
            return None
        return (dict(zip(values, point, strict=True)) for point in product(*values.values()))

    # -- conditions ------------------------------------------------------------------------------

    def _read(self, condition: Condition) -> Truth:
        match condition:
            case Not(part=part):
                return _not(self._read(part))
            case Every(parts=parts):
                return _every([self._read(part) for part in parts])
            case Either(parts=parts):
                return _either([self._read(part) for part in parts])
            case Computed(expression=expression):
                return self._expression(ast.parse(expression.text, mode="eval").body)
            case Raised(names=names):
                self._constants.setdefault(_ERROR, []).extend(names)
                return lambda point: point[_ERROR] in names
            case Named() | Inside():
                return self._coin(text_of(condition))

    def _coin(self, text: str) -> Truth:
        self.coins[text] = None
        return lambda point: bool(point[text])

    def _expression(self, node: ast.expr) -> Truth:
        field = _field(node)
        match node:
            case ast.BoolOp(op=joined, values=values):
                parts = [self._expression(value) for value in values]
                return _every(parts) if isinstance(joined, ast.And) else _either(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _not(self._expression(operand))
            case ast.Constant(value=value):
                return lambda _: bool(value)
            case ast.Compare() if self._decidable(node):
                return self._compared(node)
        if field is None:
            return self._coin(ast.unparse(node))
        self._constants.setdefault(field, [])
        return lambda point: bool(point[field])

    def _decidable(self, node: ast.Compare) -> bool:
        """Whether each comparison is one of a field with a constant."""
        sides = [node.left, *node.comparators]
        for (left, right), sign in zip(pairwise(sides), node.ops, strict=True):
            within = isinstance(sign, ast.In | ast.NotIn)
            known = isinstance(_constant(right), list if within else _SCALAR)
            if not (_field(left) is not None and known) and not (
                not within and isinstance(_constant(left), _SCALAR) and _field(right) is not None
            ):
                return False
        return True

    def _compared(self, node: ast.Compare) -> Truth:
        parts = []
        sides = [node.left, *node.comparators]
        for (left, right), sign in zip(pairwise(sides), node.ops, strict=True):
            compare, turned = _COMPARED[type(sign)], _field(left) is None
            field, constant = (right, left) if turned else (left, right)
            parts.append(
                self._part(str(_field(field)), compare, _constant(constant), turned=turned)
            )
        return _every(parts)

    def _part(
        self, field: str, compare: Callable[[Any, Any], Any], constant: Any, *, turned: bool
    ) -> Truth:
        known = self._constants.setdefault(field, [])
        known.extend(constant if isinstance(constant, list) else [constant])

        def compared(point: Point) -> bool | None:
            try:
                value = point[field]
                return bool(compare(constant, value) if turned else compare(value, constant))
            except TypeError:
                return None

        return compared


_SCALAR = str | int | float | bool | None


class _Unknown:
    """Stands for what is no constant."""


_UNKNOWN = _Unknown()


def _constant(node: ast.expr) -> Any:
    """The value of a literal, or of a list of them."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=elts) | ast.Tuple(elts=elts):
            values = [_constant(one) for one in elts]
            plain = all(isinstance(one, _SCALAR) for one in values)
            return values if plain else _UNKNOWN
        case _:
            return _UNKNOWN


def _field(node: ast.expr) -> str | None:
    """How a field is called, however it is written: a root, and keys that are constants."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=owner, attr=key):
            inner = _field(owner)
            return None if inner is None else f"{inner}.{key}"
        case ast.Subscript(value=owner, slice=ast.Constant(value=key)):
            inner = _field(owner)
            dotted = isinstance(key, str) and key.isidentifier()
            step = f".{key!s}" if dotted else f"[{key!r}]"
            return None if inner is None else inner + step
        case _:
            return None


def _values(constants: Sequence[Any]) -> list[Any]:
    """The values of a field that matter: its constants, what is between and beside them, others."""
    numbers = sorted({one for one in constants if isinstance(one, int | float)})
    found: list[Any] = [*constants, *_OTHERS]
    if numbers:
        found += [numbers[0] - 1, numbers[-1] + 1]
        found += [(one + other) / 2 for one, other in pairwise(numbers)]
    # The next text after a text is the same with the least character behind it.
    found += [f"{one}\0" for one in constants if isinstance(one, str)]
    once: dict[tuple[str, str], Any] = {(type(one).__name__, repr(one)): one for one in found}
    return list(once.values())


def _always(_point: Point) -> bool:
    return True


def _not(part: Truth) -> Truth:
    def negated(point: Point) -> bool | None:
        true = part(point)
        return None if true is None else not true

    return negated


def _every(parts: Sequence[Truth]) -> Truth:
    def every(point: Point) -> bool | None:
        for part in parts:
            true = part(point)
            if not true:
                return true
        return True

    return every


def _either(parts: Sequence[Truth]) -> Truth:
    def either(point: Point) -> bool | None:
        for part in parts:
            true = part(point)
            if true or true is None:
                return true
        return False

    return either


def never_holds(condition: Condition) -> bool:
    """Whether no event and no data can make it hold."""
    logic = Logic([condition])
    points = logic.points()
    return points is not None and not any(logic.truths[0](point) for point in points)


def shadowed(conditions: Sequence[Condition | None]) -> bool:
    """Whether one before the last holds, or raises, wherever the last one holds."""
    logic = Logic(conditions)
    points = logic.points()
    if points is None:
        return False
    *before, last = logic.truths
    return not any(last(point) and all(one(point) is False for one in before) for point in points)


def overlap(one: Condition, other: Condition) -> Point | None:
    """Values for which both hold, where all of both can be decided."""
    logic = Logic([one, other])
    points = None if logic.coins else logic.points()
    first, second = logic.truths
    return next((point for point in points or () if first(point) and second(point)), None)


def undecided(condition: Condition) -> list[str]:
    """The parts that nothing is known of."""
    logic = Logic([condition])
    return list(logic.coins) if logic.points() is not None else [text_of(condition)]
