"""
How the benchmarks measure: readings of CPU and wall time, taken from sides that run in turns.

Promises: every side of a comparison runs in the same process and run, in an event loop of its own
(`run`), with the garbage collector in the same state: collected, what lives is frozen, then on as the
daemon has it. Rounds go forth and back, so that a slow spell of the machine hits no side alone. The
cases call this; `report.py` makes rows of the readings.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Coroutine, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import anyio

from event_center.cli.running import GARBAGE

Result = TypeVar("Result")


class Reading(NamedTuple):
    """What one run of one side took."""

    events: int
    cpu_s: float
    """User and system time of the whole process, threads included."""
    wall_s: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per event."""
        return self.cpu_s / self.events * 1e6

    @property
    def per_cpu_s(self) -> float:
        """Events per second of CPU: what does not depend on what else the machine does."""
        return self.events / self.cpu_s

    @property
    def per_s(self) -> float:
        """Events per second by the clock on the wall."""
        return self.events / self.wall_s


Side = Callable[[], Coroutine[Any, Any, Reading]]
"""One side of a comparison: prepares, measures what counts with a `Meter`, and clears away."""

Readings = dict[str, list[Reading]]
"""The readings of each side, a round after the other."""


class Meter:
    """Measures what happens inside `with`, both sides with the garbage collector as `run` sets it."""

    def __init__(self) -> None:
        self._threshold = gc.get_threshold()
        self._cpu_s = 0.0
        self._wall_s = 0.0

    def __enter__(self) -> Self:
        gc.collect()
        gc.freeze()
        self._threshold = gc.get_threshold()
        gc.set_threshold(GARBAGE, *self._threshold[1:])
        self._cpu_s = -_cpu_s()
        self._wall_s = -time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wall_s += time.perf_counter()
        self._cpu_s += _cpu_s()
        gc.set_threshold(*self._threshold)
        gc.unfreeze()

    def reading(self, events: int) -> Reading:
        """What the measured time means for so many events."""
        return Reading(events, self._cpu_s, self._wall_s)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def in_turns(sides: Mapping[str, Side], rounds: int) -> Readings:
    """Run every side once a round, in the order given and then in the reverse one."""
    readings: Readings = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            readings[name].append(run(sides[name]))
    return readings


def run(side: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run it on the event loop that the daemon takes: uvloop, where it is installed."""
    return anyio.run(side, backend_options={"use_uvloop": find_spec("uvloop") is not None})
