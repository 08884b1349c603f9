"""
The shape of the package in numbers: sizes of files and functions, types, docstrings, tests.

Every number is a count of the source and no judgement. `scripts/shape` prints them as a table;
docs/shape.md says what each is good for, and a test holds that page to what is counted here.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "event_center"
TESTS = ROOT / "tests"
KIT = PACKAGE / "testing"
"""What the package's own tests are made with, and its users' tests too."""

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
IGNORES = "# type" + ": ignore"
SLEEPS = re.compile(r"\b(?:asyncio|time|anyio)\.sleep\((?!0\))")
TENTHS_UP_TO = 10
"""Greater numbers are rounded: a tenth of them says nothing."""
PATCHES = re.compile(r"\bMock\(|\bpatch\(|\.setattr\(")
OFF = re.compile(
    r"(?:\b|_)twins?(?:\b|_)|^test_without_|\bmutation\b|turns it off|once more without it"
)
"""How a test, or a whole file of them, says that it switches a protection off, to see it missed."""


class Source(NamedTuple):
    """One file of Python, as text and as a tree."""

    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """How long it is."""
        return len(self.text.splitlines())

    @property
    def nodes(self) -> list[ast.AST]:
        """Everything in it."""
        return list(ast.walk(self.tree))


def sources(folder: Path) -> list[Source]:
    """All Python files below a folder."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
    return [Source(text, ast.parse(text)) for text in texts]


def functions(files: Sequence[Source]) -> list[FUNCTION]:
    """All functions and methods."""
    return [node for file in files for node in file.nodes if isinstance(node, FUNCTION)]


def lines_of(function: FUNCTION) -> int:
    """How long a function is, from `def` to its end."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def spread(sizes: Sequence[int]) -> dict[str, float]:
    """The middle, what nine of ten and 99 of 100 do not exceed, and the greatest."""
    ordered = sorted(sizes)
    return {
        "median": statistics.median(ordered),
        "p90": ordered[int(len(ordered) * 0.9)],
        "p99": ordered[int(len(ordered) * 0.99)],
        "max": ordered[-1],
    }


def share(of: Sequence[object]) -> float:
    """How many of a hundred are true."""
    return 100 * sum(map(bool, of)) / max(len(of), 1)


def catches_all(node: ast.AST) -> bool:
    """Whether this is an `except` for everything."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    broad = {"Exception", "BaseException"}
    return node.type is None or (isinstance(node.type, ast.Name) and node.type.id in broad)


def of_package(files: Sequence[Source]) -> dict[str, float]:
    """The numbers of the package."""
    made = functions(files)
    public = [one for one in made if not one.name.startswith("_")]
    lines = sum(file.lines for file in files)
    long, deep = spread([file.lines for file in files]), spread([lines_of(one) for one in made])
    ignored = sum(file.text.count(IGNORES) for file in files)
    broad = sum(map(catches_all, (node for file in files for node in file.nodes)))
    return {
        "files": len(files),
        "lines": lines,
        **{f"lines of a file, {name}": long[name] for name in ("median", "p90", "max")},
        **{f"lines of a function, {name}": size for name, size in deep.items()},
        "functions with a typed result, %": share([one.returns for one in made]),
        "types ignored in 1,000 lines": 1000 * ignored / lines,
        "modules with a docstring, %": share([ast.get_docstring(file.tree) for file in files]),
        "public functions with a docstring, %": share([ast.get_docstring(one) for one in public]),
        "broad excepts in 1,000 lines": 1000 * broad / lines,
    }


def patches(file: Source) -> tuple[int, int]:
    """How many patches of a file switch a protection off, and how many others there are."""
    if OFF.search(ast.get_docstring(file.tree) or ""):
        return len(PATCHES.findall(file.text)), 0
    lines = file.text.splitlines()
    off: set[int] = set()
    for one in functions([file]):
        if OFF.search(f"{one.name} {ast.get_docstring(one) or ''}"):
            off.update(range(one.lineno, lines_of(one) + one.lineno))
    found = [number for number, line in enumerate(lines, 1) if PATCHES.search(line)]
    twins = sum(number in off for number in found)
    return twins, len(found) - twins


def of_tests(files: Sequence[Source], lines_of_package: float) -> dict[str, float]:
    """The numbers of the tests."""
    lines = sum(file.lines for file in files)
    kit = sum(file.lines for file in sources(KIT))
    tests = [one for one in functions(files) if one.name.startswith("test_")]
    text = "\n".join(file.text for file in files)
    off, others = map(sum, zip(*map(patches, files), strict=True))
    return {
        "tests": len(tests),
        "lines of tests for a line of the package": lines / lines_of_package,
        "the same, with testing/ as tests": (lines + kit) / (lines_of_package - kit),
        "tests with a docstring, %": share([ast.get_docstring(one) for one in tests]),
        "patches that switch a protection off": off,
        "other patches in 100 tests": 100 * others / len(tests),
        "sleeps in tests": len(SLEEPS.findall(text)),
    }


def shape() -> dict[str, float]:
    """All numbers by their names, in the order of the table."""
    package = of_package(sources(PACKAGE))
    numbers = {**package, **of_tests(sources(TESTS), package["lines"])}
    return {name: float(value) for name, value in numbers.items()}


def written(value: float) -> str:
    """A number as the table has it."""
    digits = 0 if value.is_integer() or value > TENTHS_UP_TO else 1
    return f"{value:,.{digits}f}"


if __name__ == "__main__":
    for row, value in shape().items():
        print(f"| {row} | {written(value)} |")
