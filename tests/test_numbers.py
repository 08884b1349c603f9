"""
The numbers of the package: each limit and each time has its reason under it, and its unit in its name.

Where a number stands is listed in docs/decisions/0013, so that whoever looks for a limit finds it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "event_center"
DECISION = (ROOT / "docs/decisions/0013-what-is-left-to-limits.md").read_text(encoding="utf-8")

FACTS = {
    "the numbers of formats": re.compile(r".*FORMAT|_FORM|APPLICATION_ID"),
    "exit codes": re.compile(r"USAGE|UNFINISHED|FAILED"),
    "codes and marks of Kafka, and of our own bytes": re.compile(
        r"NO_LEADER|EXISTS|NOT_OFFERED|_REMOVED"
    ),
    "units": re.compile(r"HOUR_MS|DAY_MS|MIB|MS_PER_S|NS_PER_MS"),
    "parts of murmur2": re.compile(r"_M|_MASK|_SEED"),
}
"""Numbers that nobody chose, and so nobody can turn."""
TIMES = re.compile(r"how (long|often|late)|between two|(pause|poll|sleep|delay)\b", re.IGNORECASE)
"""How the text under a time begins; its name ends with the unit."""


class Number(NamedTuple):
    """One number of a module, with the text under it."""

    module: str
    name: str
    why: str


def _is_number(node: ast.expr) -> bool:
    """A number, or what is worked out of numbers and other constants."""
    match node:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() | float()):
            return True
        case ast.BinOp(left=left, right=right):
            return _is_number(left) or _is_number(right)
        case ast.UnaryOp(operand=operand):
            return _is_number(operand)
        case _:
            return False


def numbers_of(module: str, source: str) -> Iterator[Number]:
    """The constants of a module that are numbers."""
    body = ast.parse(source).body
    for at, node in enumerate(body):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name.isupper():
                following = body[at + 1] if at + 1 < len(body) else None
            case _:
                continue
        if _is_number(value) and not any(fact.fullmatch(name) for fact in FACTS.values()):
            why = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                why = " ".join(str(following.value.value).split())
            yield Number(module, name, why)


def flaws(number: Number) -> Iterator[str]:
    """What is wrong with a number: no reason, or no unit."""
    if not re.search(r"[:;,] ", number.why):
        yield "has no reason under it: write what it limits, a colon, and why it is as it is"
    if TIMES.match(number.why) and not number.name.endswith(("_S", "_MS")):
        yield "is a time, and its name does not end with _S or _MS"
    if number.why.startswith("Bytes ") and "BYTES" not in number.name:
        yield "is a number of bytes, and its name does not say so"


@cache
def _numbers() -> list[Number]:
    """All of the package."""
    return [
        number
        for path in sorted(PACKAGE.rglob("*.py"))
        for number in numbers_of(path.relative_to(PACKAGE).as_posix(), path.read_text("utf-8"))
    ]


def test_every_number_has_a_reason_and_a_unit() -> None:
    """Who reads a limit learns why it is as it is; who reads its name, in what it is counted."""
    assert len(_numbers()) > 80
    assert [f"{n.module} {n.name} {flaw}" for n in _numbers() for flaw in flaws(n)] == []


@pytest.mark.parametrize(
    ("source", "flaw"),
    [
        ("ROOM = 7\n", "no reason"),
        ('ROOM = 7\n"""Guests at once."""\n', "no reason"),
        ('WAIT = 0.5\n"""How long a guest waits: as long as bread takes."""\n', "_S or _MS"),
        ('ROOM = 2 ** 9\n"""Bytes of a name: it is a key, and repeated."""\n', "bytes"),
    ],
)
def test_a_number_without_either_is_found(source: str, flaw: str) -> None:
    """The check itself sees a number that nobody can understand."""
    [number] = numbers_of("made_up.py", source)
    assert flaw in next(flaws(number))


def test_every_number_is_listed() -> None:
    """The decision about limits lists them all, by their modules, and no others."""
    rows = re.findall(r"^\| `([\w/]+\.py)` \| (.+) \|$", DECISION, flags=re.MULTILINE)
    listed = {(module, name) for module, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed == {(number.module, number.name) for number in _numbers()}
