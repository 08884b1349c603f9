"""docs/shape.md has the numbers that the code has, or nearly."""

from __future__ import annotations

import re
from functools import cache

import pytest

from scripts.shape import shape
from tests.docs.project import ROOT

pytestmark = pytest.mark.slow  # it reads and parses all of the code, and lets every test be found

PAGE = (ROOT / "docs/shape.md").read_text(encoding="utf-8")
NEARLY = 0.1
"""By how much of itself a number may be off: else every change would have to touch the page."""
TENTHS = 0.15
"""And small ones by this, which is what rounding to tenths hides, and one case more."""
ROW = re.compile(r"^\| ([a-z][^|]+) \|(?: [\d,.]+ \|)* ([\d,.]+) \| (\w.+) \|$", re.MULTILINE)
"""A row: its name, the number of the last round, and what it says."""


@cache
def _counted() -> dict[str, float]:
    return shape()


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def test_the_numbers_are_those_of_the_code() -> None:
    """The last column names everything that is counted, and no count is off by more than a tenth."""
    told = {name: _number(number) for name, number, _ in ROW.findall(PAGE)}
    counted = _counted()
    assert list(told) == list(counted)
    off = {
        name: f"the page has {told[name]:g}, scripts/shape counts {value:g}"
        for name, value in counted.items()
        if abs(value - told[name]) > max(NEARLY * value, TENTHS)
    }
    assert off == {}


def test_numbers_with_a_limit_are_within_it() -> None:
    """A number that has a limit stands below it on the page too, and one in whole lines is exact."""
    counted = _counted()
    limited = {
        name: (_number(number), _number(limit[0]))
        for name, number, said in ROW.findall(PAGE)
        if (limit := re.findall(r"^([\d,]+) at most", said))
    }
    assert limited.keys() >= {"lines of a file, max", "lines of a function, max"}
    assert [name for name, (number, limit) in limited.items() if number > limit] == []
    whole = {name: number for name, (number, _) in limited.items() if name.startswith("lines")}
    assert whole == {name: counted[name] for name in whole}, "docs/shape.md has other numbers"
