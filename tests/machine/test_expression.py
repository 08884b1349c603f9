"""
The language of expressions: what it can say, what it refuses, and that nothing else comes out of
it.
"""

from __future__ import annotations

import ast
import json
import string
import warnings
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from event_center.errors import ExpressionError
from event_center.machine.expression import (
    Expression,
    compile_expression,
    is_expression,
    unescaped,
)

ROOTS = frozenset({"payload", "data", "event", "now"})
VALUES: dict[str, Any] = {
    "payload": {
        "order": {"id": 7, "lines": [{"sku": "a"}, {"sku": "b"}], "open": True},
        "amount": 12.5,
        "name": "Ada",
        "none": None,
        "class": "first",
        "weird key": 1,
    },
    "data": {"count": 3, "tags": ["x", "y"], "limit": 10, "total": 2**62},
    "event": {"name": "paid", "id": None, "time": 1_000, "headers": {"ce-type": "t"}},
    "now": 5_000,
}


def made(text: str) -> Expression:
    return compile_expression(text, ROOTS, "order.yaml:3:7")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("=payload.order.id", 7),
        ("payload.order.id", 7),
        ("= payload.amount ", 12.5),
        ("=payload", VALUES["payload"]),
        ('=payload["weird key"]', 1),
        ('=payload["class"]', "first"),
        ("=payload.order.lines[1].sku", "b"),
        ("=payload.order.lines[-1].sku", "b"),
        ("=payload.name[0]", "A"),
        ("=data.tags[data.count - 2]", "y"),
        ('=event.headers["ce-type"]', "t"),
        ("=event.time + 1", 1001),
        ("=now - event.time", 4000),
        ("=1 < data.count <= 3", True),
        ("=1 < data.count < 3", False),
        ("=data.count == 3 and payload.name != 'Bob'", True),
        ("=payload.none or 'other'", "other"),
        ("=not payload.order.open", False),
        ("='x' in data.tags", True),
        ("='z' not in data.tags", True),
        ("='order' in payload", True),
        ("='da' in payload.name", True),
        ("=payload.none is None", True),
        ("=payload.order is not None", True),
        ("=payload.order.open is True", True),
        ("=data.count in (1, 2, 3)", True),
        ("=(1, 'a', None)", [1, "a", None]),
        ("=[data.count, [True]]", [3, [True]]),
        ("=data.count + 1", 4),
        ("='Dear ' + payload.name", "Dear Ada"),
        ("=data.tags + ['z']", ["x", "y", "z"]),
        ("=7 - 2 * 3", 1),
        ("=7 / 2", 3.5),
        ("=7 // 2", 3),
        ("=-7 % 4", 1),
        ("=-data.count", -3),
        ("=-(2.5)", -2.5),
        ("='big' if payload.amount > 10 else 'small'", "big"),
        ("=None if data.count > 1 else payload.nothing", None),
        ("=True", True),
        ("=1.5e3", 1500.0),
        ("='caf\u00e9'", "caf\u00e9"),
        ("=payload.order == data.tags", False),
    ],
)
def test_value(text: str, value: object) -> None:
    """The closed subset of Python means what Python means; attributes are keys."""
    assert made(text).evaluate(VALUES) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=payload.get('x')", "a call is not part of the language of expressions"),
        ("=open('/etc/passwd')", "a call is not part"),
        ("=lambda: 1", "a lambda is not part"),
        ("=[x for x in data.tags]", "ListComp is not part"),
        ("={x for x in data.tags}", "SetComp is not part"),
        ("={'a': 1}", "a mapping is not part"),
        ("={1}", "a set is not part"),
        ("=f'{now}'", "an f-string is not part"),
        ("=(n := 1)", "an assignment is not part"),
        ("=data.tags[0:1]", "a slice is not part"),
        ("=[*data.tags]", "a star is not part"),
        ("=2 ** 9", "the operator Pow is not part of the language; use + - * / // %"),
        ("=1 << 9", "the operator LShift is not"),
        ("=1 | 2", "the operator BitOr is not"),
        ("=1 @ 2", "the operator MatMult is not"),
        ("=~1", "of the signs only '-'"),
        ("=+1", "of the signs only '-'"),
        ("=payload.__class__", "the key '__class__' begins with two underscores"),
        ("=__import__", "unknown name '__import__'"),
        ("=_item", "unknown name '_item'"),
        ("=_values", "unknown name '_values'"),
        ("=paylod.x", "unknown name 'paylod'; did you mean 'payload'?"),
        ("=zzz", "unknown name 'zzz'; the names are 'data', 'event', 'now', 'payload'"),
        ("=null", "write None instead of null"),
        ("=true", "write True instead of true"),
        (
            "=payload.class",
            "the key 'class' is a word of Python; write [\"class\"] instead of .class",
        ),
        ("=", "there is no expression after the '='"),
        ("==data.x", "not an expression: invalid syntax"),
        ("=1 +", "not an expression"),
        ("=a; b", "not an expression"),
        ("=data.count is 3", "'is' compares with None, True or False only; use == instead"),
        ("=b'x'", "bytes values are not part of the language"),
        ("=1j", "complex values are not part"),
        ("=...", "ellipsis values are not part"),
        ("=18446744073709551616", "a number has more than 64 bits"),
        ("=-9223372036854775809", "a number has more than 64 bits"),
        ("=1e999", "a number is too large"),
        (r"='\d'", "not an expression: "),
        (r"='\ud800'", "half of a character"),
        ("=1[0]", "not an expression: "),
        ("=" + "-" * 60 + "now", "nested deeper than 50 levels"),
        ("=" + "(" * 300 + "1" + ")" * 300, ""),
        ("=" + "1+" * 500 + "1", "longer than 1,000 characters"),
        ("=" + "9" * 900, "a number has more than 64 bits"),
        ("=a\0b", ""),
    ],
)
def test_refused(text: str, message: str) -> None:
    """
    What is not in the language is refused when it is compiled, by name, with its place and text.
    """
    with pytest.raises(ExpressionError) as caught:
        made(text)
    assert str(caught.value).startswith("order.yaml:3:7: '=")
    assert message.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=payload.amont", "payload has no key 'amont'; did you mean 'amount'?"),
        (
            "=payload.order.zzzz",
            "payload.order has no key 'zzzz'; the keys are 'id', 'lines', 'open'",
        ),
        ("=payload.none.x", "payload.none is null, so it has no 'x'"),
        ("=payload.name.x", "payload.name is text, so it has no 'x'"),
        ("=payload.order.lines.x", "payload.order.lines is a list, so it has no 'x'"),
        ("=payload.amount.x", "payload.amount is a number, so it has no 'x'"),
        ("=data.tags[2]", "data.tags has 2 items, so there is none at 2"),
        ("=payload[data.tags]", "unhashable type"),
        ("=payload.amount > payload.name", "'>' not supported"),
        ("=1 in payload.amount", "not iterable"),
        ("=payload.name + 1", "+ joins two numbers, two texts or two lists, not text and a number"),
        ("=payload.none + 1", "not null and a number"),
        ("=payload.name * 3", "* works on numbers, not on text"),
        ("='%s' % now", "% works on numbers, not on text"),
        ("=data.tags - 1", "- works on numbers, not on a list"),
        ("=-payload.name", "- works on numbers, not on text"),
        ("=1 / (data.count - 3)", "division by zero"),
        ("=1 // (data.count - 3)", "zero"),
        ("=1 % (data.count - 3)", "zero"),
        ("=data.total * data.total", "a number has more than 64 bits"),
        ("=1e300 * data.total * 1e300", "a number is too large"),
    ],
)
def test_failure(text: str, message: str) -> None:
    """
    A failure says which value was missing or did not fit, where the expression stands, and its
    text.
    """
    with pytest.raises(ExpressionError) as caught:
        made(text).evaluate(VALUES)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"order.yaml:3:7: '{text}': ")


def test_growth_has_a_limit() -> None:
    """Texts and lists that are joined again and again stop growing."""
    values = {**VALUES, "payload": {"text": "x" * 60_000}}
    with pytest.raises(ExpressionError, match="longer than 100,000"):
        made("=payload.text + payload.text").evaluate(values)


def test_deep_values() -> None:
    """Comparing values that are nested too deeply is an error like any other."""
    deep: list[Any] = []
    other: list[Any] = []
    for _ in range(100_000):
        deep, other = [deep], [other]
    values = {**VALUES, "payload": {"a": deep, "b": other}}
    with pytest.raises(ExpressionError, match="nested too deeply"):
        made("=payload.a == payload.b").evaluate(values)


def test_what_it_reads() -> None:
    """An expression tells the roots it reads, and the keys it reads of them by name."""
    expression = made("=payload.order.id > 1 and data.count < now")
    assert expression.roots == {"payload", "data", "now"}
    assert expression.attributes == {("payload", "order"), ("data", "count")}
    assert expression.text == "payload.order.id > 1 and data.count < now"
    assert "order.id" in repr(expression)


def test_missing_root() -> None:
    """A root without a value is an error that names it."""
    with pytest.raises(ExpressionError, match="'payload'"):
        made("=payload.x").evaluate({})


def test_literals() -> None:
    """One `=` begins an expression; two stand for one that is meant literally."""
    assert is_expression("=x")
    assert not any(is_expression(value) for value in ("==x", "x", "", None, 1))
    assert [unescaped(text) for text in ("==x", "x", "==")] == ["=x", "x", "="]


WORDS = """
payload data event now None True . [ ] ( ) , + - * / // % ** < <= == != and or not in is if else
'a' 1 2.5 1e308 .order .count .tags .__class__ .x __import__ ('x') lambda : := { } f'' @ ; for x
yield await ... 0x1 99999999999999999999 \\
"""
PIECES = st.sampled_from([*WORDS.split(), "\n", "\0", "\u00e9", "\ud800"])
TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=string.printable, max_size=60),
    st.lists(PIECES, max_size=25).map("".join),
    st.lists(PIECES, max_size=25).map(" ".join),
)


@example("=payload.order.lines * 9")
@example("=().__class__.__bases__[0].__subclasses__()")
@given(TEXTS)
def test_no_other_error_and_no_escape(text: str) -> None:
    """
    Any text either is refused with ExpressionError, or has a JSON value, or fails with
    ExpressionError.
    """
    try:
        value = made(text).evaluate(VALUES)
    except ExpressionError:
        return
    assert json.dumps(value) is not None


NUMBERS = st.recursive(
    st.sampled_from(["data.count", "data.limit", "now", "2", "0", "7.5", "payload.amount"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/", "//", "%"]), part).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        part.map(lambda one: f"-{one}"),
        st.tuples(part, part, part).map(lambda p: f"({p[0]} if {p[1]} < {p[2]} else {p[2]})"),
    ),
    max_leaves=8,
)


@given(NUMBERS)
def test_agrees_with_python(text: str) -> None:
    """Arithmetic gives what Python gives, as long as that stays in range."""
    flat = text.replace("data.", "data_").replace("payload.", "payload_")
    names = {"data_count": 3, "data_limit": 10, "payload_amount": 12.5, "now": 5_000}
    try:
        expected = eval(compile(ast.parse(flat, mode="eval"), "", "eval"), {}, names)
    except ZeroDivisionError:
        with pytest.raises(ExpressionError, match=r"zero|modulo"):
            made(text).evaluate(VALUES)
        return
    try:
        value = made(text).evaluate(VALUES)
    except ExpressionError as error:
        value = str(error)
    too_large = isinstance(value, str) and ("64 bits" in value or "too large" in value)
    assert value == expected or too_large


@pytest.mark.parametrize("text", ["'\\d'", "1[0]", "payload if 1else 2"])
def test_what_python_warns_of_is_a_mistake(text: str) -> None:
    """It would say something else than was meant."""
    with pytest.raises(ExpressionError, match=r"invalid|not subscriptable"):
        made(text)


def test_a_warning_of_somebody_else_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage that is collected meanwhile may warn of a socket that was left open: that is no mistake."""
    parse = ast.parse

    def collecting(*arguments: Any, **named: Any) -> ast.AST:
        warnings.warn("unclosed <socket.socket>", ResourceWarning, stacklevel=1)
        tree: ast.AST = parse(*arguments, **named)
        return tree

    monkeypatch.setattr(ast, "parse", collecting)
    assert made("1 + 1").evaluate({}) == 2


def test_saying_what_failed_leaves_warnings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is done while a center runs, and filters of warnings are those of all its threads."""
    expression = made("payload.nothing")
    filters = []
    parse = ast.parse

    def looking(*arguments: Any, **named: Any) -> ast.AST:
        filters.append(list(warnings.filters))
        tree: ast.AST = parse(*arguments, **named)
        return tree

    monkeypatch.setattr(ast, "parse", looking)
    with pytest.raises(ExpressionError, match="nothing"):
        expression.evaluate(VALUES)
    assert filters == [list(warnings.filters)]
