"""
What the benchmarks say: rows with median, best, target and verdict, as a table or as JSON.

A row holds one number per round. "Best" of a single side is its best round; of two sides it compares
the best round of the one with the best round of the other, so that a slow spell of the second does
not flatter the first. The cases make rows; `__main__` prints them.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.table import Table

from tests.bench.measure import Reading

MEASURED_WITH = (
    "orjson",
    "anyio",
    "uvloop",
    "transitions",
    "python-statemachine",
    "xstate-statemachine",
)
"""Packages whose versions belong to the numbers."""

Value = Callable[[Reading], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a number is to be: at least, or at most, so much."""

    limit: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One number of a case, over all rounds."""

    case: str
    what: str
    unit: str = ""
    median: float = 0.0
    best: float = 0.0
    target: Target | None = None
    note: str = ""
    """Why there is no number, for a peer that was left out."""

    @property
    def verdict(self) -> str:
        """`yes` if the median meets the target, `at best` if only the best round does, else `no`."""
        if self.target is None or self.note:
            return ""
        if self.target.met(self.median):
            return "yes"
        return "at best" if self.target.met(self.best) else "no"


def one_side(
    case: str,
    what: str,
    readings: list[Reading],
    *,
    value: Value,
    unit: str,
    higher: bool = True,
    target: Target | None = None,
) -> Row:
    """The row of one side: its value in each round."""
    values = [value(reading) for reading in readings]
    return Row(
        case=case,
        what=what,
        unit=unit,
        median=statistics.median(values),
        best=max(values) if higher else min(values),
        target=target,
    )


def two_sides(
    case: str,
    what: str,
    sides: tuple[list[Reading], list[Reading]],
    *,
    value: Value,
    compare: Callable[[float, float], float],
    unit: str,
    higher: bool = True,
    target: Target | None = None,
) -> Row:
    """The row of two sides compared; `higher` says which value of a single side is the better one."""
    first, second = ([value(reading) for reading in side] for side in sides)
    best = max if higher else min
    return Row(
        case=case,
        what=what,
        unit=unit,
        median=statistics.median(map(compare, first, second)),
        best=compare(best(first), best(second)),
        target=target,
    )


def as_table(rows: Iterable[Row]) -> Table:
    """The rows for people."""
    table = Table(title="Benchmarks", title_justify="left", caption=_here(), caption_justify="left")
    table.add_column("case")
    table.add_column("what")
    for name in ("median", "best", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("met?")
    last = ""
    for row in rows:
        if last and row.case != last:
            table.add_section()
        table.add_row("" if row.case == last else row.case, row.what, *_cells(row), row.verdict)
        last = row.case
    return table


def as_json(rows: Iterable[Row]) -> dict[str, Any]:
    """The rows for programs."""
    return {"machine": machine(), "rows": [_plain(row) for row in rows]}


def machine() -> dict[str, str]:
    """Where the numbers come from: processor, system and versions."""
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: found for name in MEASURED_WITH if (found := version(name))},
    }


def version(package: str) -> str:
    """The installed version of a package, or nothing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _here() -> str:
    return ", ".join(f"{name} {found}" for name, found in machine().items())


def _cells(row: Row) -> tuple[str, str, str]:
    if row.note:
        return row.note, "", ""
    target = ""
    if row.target is not None:
        sign = ">=" if row.target.at_least else "<="
        target = f"{sign} {_shown(row.target.limit, row.unit)}"
    return _shown(row.median, row.unit), _shown(row.best, row.unit), target


def _shown(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return f"{number} {unit}".strip()


def _plain(row: Row) -> dict[str, Any]:
    if row.note:
        return {"case": row.case, "what": row.what, "note": row.note}
    plain: dict[str, Any] = {
        "case": row.case,
        "what": row.what,
        "unit": row.unit,
        "median": row.median,
        "best": row.best,
    }
    if row.target is not None:
        plain["target"] = {"at_least" if row.target.at_least else "at_most": row.target.limit}
        plain["met"] = row.verdict
    return plain
