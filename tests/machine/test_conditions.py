"""Guards: what can never hold, what a branch before leaves, circles, and what nobody can decide."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.errors import DefinitionError, ExpressionError
from event_center.machine import Machine, parse
from event_center.machine.conditions import circles, remarks
from event_center.machine.expression import compile_expression
from event_center.machine.guard import Computed
from event_center.machine.logic import never_holds, shadowed
from event_center.machine.problems import Place

HEAD = "machine: m\nversion: 1\ninitial: a\nperpetual: true\ndata: {n: 0, k: 0}\nstates:\n"


def machine(*guards: str) -> Machine:
    """A machine whose event has a branch for each of these guards."""
    branches = "".join(f"        - {{target: a, guard: {guard}}}\n" for guard in guards)
    return parse(f"{HEAD}  a:\n    on:\n      go:\n{branches}")


def problems(*guards: str) -> list[str]:
    """Codes and columns of what is wrong with the guards, by the number of the branch."""
    try:
        machine(*guards)
    except DefinitionError as error:
        return [f"{one.code} {one.line - 9}" for one in error.problems]
    return []


@pytest.mark.parametrize(
    "guard",
    [
        "=payload.n > 5 and payload.n < 3",
        "=payload.n == 1 and payload.n == 'x'",
        "=payload.n and not payload.n",
        "'=1 < payload.n < 2 and payload[\"n\"] > 2'",
        "'=payload.n in [1, 2] and payload.n not in [3, 2, 1]'",
        "=payload.n is None and payload.n == 0",
        "=payload.a.b == 1 and payload.a.b != 1",
        "{and: [sure, {not: sure}]}",
        "{and: [=data.n > 1, {or: [=data.n < 0, =data.n == 1]}]}",
        "=payload.n + 1 > 2 and False",
        "=5 < payload.n and payload.n <= 5",
    ],
)
def test_what_can_never_hold(guard: str) -> None:
    """A guard that no values make true is a problem, however it is written."""
    assert problems(guard) == ["E213 1"]


@pytest.mark.parametrize(
    "guard",
    [
        "=payload.n > 3 and payload.n < 4",
        "=payload.n < 'b' and payload.n > 'a'",
        "=payload.n > 5 or payload.n < 3",
        "=payload.n == 1 and payload.m == 2",
        "=payload.n + 1 > 2 and payload.n < 0",
        "=payload.n == data.n and payload.n != data.n",
        "{and: [sure, {not: other}]}",
        "{and: [{in: a}, {not: sure}]}",
        "=payload.n is not None and not payload.n",
        "=payload.n == True and payload.n == 1",
    ],
)
def test_what_may_hold(guard: str) -> None:
    """The twin: what some value makes true, or what nobody can decide, is none."""
    assert problems(guard) == []


@pytest.mark.parametrize(
    ("guards", "expected"),
    [
        (["=payload.n > 5", "=payload.n > 7"], ["E204 2"]),
        (["=payload.n > 7", "=payload.n > 5"], []),
        (["=payload.n > 5", "=payload.n <= 5", "=payload.n == 3"], ["E204 3"]),
        (["=payload.n > 5", "=payload.n <= 5", "=payload.m == 3"], ["E204 3"]),
        (["=payload.n == 1", "=payload.n == 2", "=payload.n == 3"], []),
        (["sure", "{and: [sure, other]}"], ["E204 2"]),
        (["{not: sure}", "sure"], []),
        (["=payload.n is None", "'=payload.n in [None, None]'"], ["E204 2"]),
    ],
)
def test_what_a_branch_before_leaves(guards: list[str], expected: list[str]) -> None:
    """A branch is unreachable where one before it is taken, or raises, whenever its guard holds."""
    assert problems(*guards) == expected


def test_errors_are_names_that_are_left_over() -> None:
    """Of `on_error`, a branch for a class of errors that one before it is for is never taken."""
    text = f"{HEAD}  a: {{on_error: [{{errors: [A, B]}}, {{errors: [B]}}, {{errors: [C]}}]}}\n"
    with pytest.raises(DefinitionError) as raised:
        parse(text)
    assert [(one.code, one.column) for one in raised.value.problems] == [("E204", 36)]


VALUES: list[Any] = [None, True, False, 0, 1, 1.5, 2, 3, -1, "", "a", "b", "ab", [], [1], {}]
ATOM = st.builds(
    lambda field, sign, value: f"payload.{field} {sign} {value!r}",
    st.sampled_from("xy"),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.sampled_from([0, 1, 2, 1.5, "a", "b", None, True]),
)
FORMULA = st.recursive(
    ATOM,
    lambda inner: st.builds(lambda a, b, c: f"({a} {c} {b})", inner, inner, st.sampled_from(["and", "or"]))
    | inner.map(lambda a: f"(not {a})"),
    max_leaves=5,
)  # fmt: skip


def guard(text: str) -> Computed:
    return Computed(
        place=Place(1, 1), expression=compile_expression(text, frozenset({"payload"}), "here")
    )


def holds(asked: Computed, payload: dict[str, Any]) -> bool | None:
    try:
        return bool(asked.expression.evaluate({"payload": payload}))
    except ExpressionError:
        return None


@given(FORMULA, FORMULA)
def test_nothing_possible_is_called_impossible(one: str, other: str) -> None:
    """Against all of many values: what holds for one is not said to never hold, nor to be shadowed."""
    points = [{"x": x, "y": y} for x, y in itertools.product(VALUES, VALUES)]
    first, second = guard(one), guard(other)
    if any(holds(first, point) for point in points):
        assert not never_holds(first)
    if any(holds(first, point) is False and holds(second, point) for point in points):
        assert not shadowed([first, second])


def test_remarks() -> None:
    """What is not decided is said, and where two branches both hold, with values."""
    found = [
        text
        for _, text in remarks(
            machine("=payload.n > 5", "=payload.n > 3", "sure", "=now > payload.n").definition
        )
    ]
    assert found == [
        "branches 1 and 2 of 'go' in 'a' both hold for payload.n = 6: branch 1 is taken",
        "not decided: the guard of 'go' in 'a' depends on 'sure'",
        "not decided: the guard of 'go' in 'a' depends on 'now > payload.n'",
    ]


CIRCLE = """\
  a: {on: {go: b}}
  b: {type: choice, always: [{target: c, guard: =data.n > 1}, a]}
  c: {always: [{target: b, guard: =data.n > 0 MORE}]}
"""
ROUND = "`always` never comes to rest where data.n = 2: 'b' → 'c' → 'b'; let a guard end it"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", [ROUND]),
        ("and data.n < 1", []),
        ("and data.n <= 1", []),
        (", assign: {n: 0}", []),
        ("and data.n != data.k", []),
    ],
)
def test_circles_of_always(more: str, expected: list[str]) -> None:
    """Values for which `always` goes round are named, unless something on the way changes them."""
    definition = parse(HEAD + CIRCLE.replace("MORE", more)).definition
    assert [message for _, message in circles(definition)] == expected


def test_too_much_is_not_decided() -> None:
    """Guards over very many fields are left alone."""
    text = " and ".join(f"payload.f{number} == {number}" for number in range(12))
    assert problems(f"={text} and payload.f0 == 1") == []
