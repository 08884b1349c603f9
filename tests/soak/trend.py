"""
Whether a row of samples is flat: its slope, how sure that is, and what it would come to in a day.

Samples of several runs of a process are compared within each run only: a restart is no growth. The
first part of each run is left out, because caches fill. Neighbouring samples say nearly the same, so
means of blocks are what is compared.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

WARM = 0.4
"""This part of each run is left out."""
BLOCKS = 8
"""Means of so many blocks of each run are compared."""
CONFIDENCE = 0.95
FLAT = 0.01
"""What grows by less than this part of itself in an hour is flat, even where it surely grows."""
Run = Sequence[tuple[float, float]]
"""Time in s, and what was there."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The slope of something, in an hour."""

    mean: float
    slope: float
    margin: float
    """The slope lies within so much of it, with the confidence above."""

    @property
    def flat(self) -> bool:
        """It does not surely grow, or by next to nothing."""
        return self.slope - self.margin <= 0 or self.slope <= FLAT * self.mean


def trend(runs: Sequence[Run]) -> Trend:
    """The common slope of these runs."""
    xs: list[float] = []
    ys: list[float] = []
    means: list[float] = []
    used = 0
    for run in runs:
        blocks = _blocks(run)
        if len(blocks) < BLOCKS:
            continue
        used += 1
        x0, y0 = (statistics.fmean(one[n] for one in blocks) for n in (0, 1))
        xs += [x - x0 for x, _ in blocks]
        ys += [y - y0 for _, y in blocks]
        means.append(y0)
    if not used:
        return Trend(mean=math.nan, slope=math.nan, margin=math.nan)
    spread = sum(x * x for x in xs)
    slope = sum(x * y for x, y in zip(xs, ys, strict=True)) / spread
    left = [y - slope * x for x, y in zip(xs, ys, strict=True)]
    free = len(xs) - used - 1
    error = math.sqrt(sum(one * one for one in left) / free / spread)
    # Student's t by its first correction to the normal: there are few blocks.
    z = statistics.NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    t = z + (z**3 + z) / (4 * free)
    return Trend(mean=statistics.fmean(means), slope=3600 * slope, margin=3600 * t * error)


def _blocks(run: Run) -> list[tuple[float, float]]:
    """Means of blocks of the later part of a run."""
    late = run[round(WARM * len(run)) :]
    size = len(late) // BLOCKS
    if not size:
        return []
    parts = [late[start : start + size] for start in range(0, size * BLOCKS, size)]
    return [
        (statistics.fmean(x for x, _ in part), statistics.fmean(y for _, y in part))
        for part in parts
    ]
