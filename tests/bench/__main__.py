"""
Runs the benchmarks and prints what they say: scripts/bench [names] [--json] [--rounds N] [--events N].

docs/benchmarks.md says what each case measures. Nothing here passes or fails: numbers depend on the
machine, so no test and no exit code looks at them. The cases are in `cases.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from tests.bench.cases import CASES, ON_REQUEST
from tests.bench.report import Row, as_json, as_table
from tests.bench.work import Size, silence

ROUNDS = 5
ALL = CASES | ON_REQUEST
WIDTH = 120
"""Columns of the table where the output is no terminal."""


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is too few; write 1 or more")
    return number


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Benchmarks, each beside a bare loop or its peers."
    )
    parser.add_argument(
        "names",
        nargs="*",
        help=f"cases to run: {', '.join(CASES)} (default: these), {', '.join(ON_REQUEST)}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--rounds", type=_positive, default=ROUNDS, help=f"rounds of each case (default: {ROUNDS})"
    )
    parser.add_argument("--events", type=_positive, help="events of each side and round")
    found = parser.parse_args(arguments)
    if unknown := sorted(set(found.names) - set(ALL)):
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(ALL)}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases that the arguments name, and print their rows."""
    asked = _arguments(arguments)
    size = Size(rounds=asked.rounds, events=asked.events)
    progress = Console(stderr=True)
    rows: list[Row] = []
    with silence():
        for name in asked.names or CASES:
            with progress.status(f"{name}, {size.rounds} rounds"):
                rows += ALL[name](size)
    if asked.json:
        print(json.dumps(as_json(rows), indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(as_table(rows))


if __name__ == "__main__":
    main()
