"""
Random inputs for everything that is read: expressions, machines, and every form of bytes and text.

    scripts/fuzz snapshots 100000 [seed]
    scripts/fuzz night 1000000 [seed]      # all forms, each its share

An input that breaks the rule is named by its seed, so that it can be made again. The rule: what was
read, or the documented error, within a second of work. `tests/machine/fuzzing.py` and
`tests/wire/fuzzing.py` know the forms; the tests run some hundreds of each.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from rich.console import Console
from rich.progress import track

from tests.machine import fuzzing as machine
from tests.wire import fuzzing as wire

TRIES: dict[str, Callable[[Random], str]] = machine.TRIES | wire.TRIES
LONGEST_S = 1.0
"""Work on one input, in time of the processor: another process cannot make it longer."""
SLOW = {"machines": 60, "settings": 60, "files": 60, "xstate": 200, "statecharts": 400}
"""What takes milliseconds gets so small a part of its share in a night."""


class TooLong(Exception):
    """An input took more work than it may."""


@contextmanager
def _bounded(longest_s: float) -> Iterator[None]:
    """Give up on what takes too long, also if it would never end."""

    def late(_number: int, _frame: object) -> None:
        raise TooLong(f"more than {longest_s:g} s")

    former = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, longest_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, former)


def fuzz(what: str, numbers: range, longest_s: float = LONGEST_S) -> Counter[str]:
    """An input for each of these seeds; the first that breaks the rule is named."""
    found: Counter[str] = Counter()
    attempt = TRIES[what]
    for number in numbers:
        try:
            with _bounded(longest_s):
                found[attempt(Random(number))] += 1
        except BaseException as error:
            error.add_note(f"scripts/fuzz {what} 1 {number}")
            raise
    return found


def shares(what: str, count: int) -> dict[str, int]:
    """How many inputs each form gets."""
    if what != "night":
        return {what: count}
    parts = {name: 1 / SLOW.get(name, 1) for name in TRIES}
    return {name: round(count * part / sum(parts.values())) + 1 for name, part in parts.items()}


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser("scripts/fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=[*sorted(TRIES), "night"])
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    asked = parser.parse_args()
    console, began, total = Console(), time.monotonic(), 0
    for name, count in shares(asked.what, asked.count).items():
        found: Counter[str] = Counter()
        steps = range(asked.seed, asked.seed + count, 500)
        for start in track(steps, name.ljust(12), console=console, transient=True):
            found += fuzz(name, range(start, min(start + 500, asked.seed + count)))
        told = ", ".join(f"{number:,} {word}" for word, number in found.most_common())
        console.print(f"{name:12} {count:>9,}: {told}", highlight=False)
        total += count
    for word, number in sorted(machine.SEEN.items()):
        console.print(f"{'':12} {number:>9,}  {word}", highlight=False)
    console.print(f"{total:,} inputs from seed {asked.seed} in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
