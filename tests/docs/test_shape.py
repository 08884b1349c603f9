"""docs/shape.md has the numbers that the code has, or nearly."""

from __future__ import annotations

import re

from scripts.shape import shape
from tests.docs.project import ROOT

PAGE = (ROOT / "docs/shape.md").read_text(encoding="utf-8")
NEARLY = 0.1
"""By how much of itself a number may be off: else every change would have to touch the page."""
TENTHS = 0.15
"""And small ones by this, which is what rounding to tenths hides, and one case more."""


def test_the_numbers_are_those_of_the_code() -> None:
    """The last column names everything that is counted, and no count is off by more than a tenth."""
    rows = re.findall(r"^\| ([a-z][^|]+) \|(?: [\d,.]+ \|)* ([\d,.]+) \| \w", PAGE, re.MULTILINE)
    told = {name: float(number.replace(",", "")) for name, number in rows}
    counted = shape()
    assert list(told) == list(counted)
    off = {
        name: f"the page has {told[name]:g}, scripts/shape counts {value:g}"
        for name, value in counted.items()
        if abs(value - told[name]) > max(NEARLY * value, TENTHS)
    }
    assert off == {}
