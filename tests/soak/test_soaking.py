"""The soak itself: it sees what grows, and takes what is flat for flat."""

from __future__ import annotations

import io
import math
import random
from pathlib import Path

from rich.console import Console

from tests.soak.soaking import RUNS, Soak, report, soak
from tests.soak.trend import Run, trend

HOUR_S = 3600.0


def run(chance: random.Random, start_s: float, grows: float, mean: float = 100.0) -> Run:
    """Ten minutes of noisy samples that grow by this part in an hour."""
    return [
        (
            start_s + second,
            mean * (1 + grows * second / HOUR_S) * chance.uniform(0.99, 1.01),
        )
        for second in range(600)
    ]


def test_what_is_flat_and_what_grows() -> None:
    """A leak of a tenth in an hour is seen through noise and restarts; noise alone is flat."""
    chance = random.Random(1)
    flat = trend([run(chance, 600 * n, 0.0, mean=100 + n) for n in range(RUNS)])
    grown = trend([run(chance, 600 * n, 0.1) for n in range(RUNS)])
    assert flat.flat
    assert not grown.flat
    assert math.isclose(grown.slope, 10.0, rel_tol=0.3)
    assert abs(grown.slope - 10.0) < 2 * grown.margin


async def test_a_short_soak(tmp_path: Path) -> None:
    """Lives go through it, over restarts of the daemon, and everything is measured."""
    made, said = Soak(tmp_path, kept_s=1.0), Console(file=io.StringIO())
    found = await soak(made, seconds=6.0, lives=60, console=said)
    assert found["transitions"] == 4 * 60
    assert len(made.runs) == RUNS
    assert all(one.memory_mib > 1 and one.files > 3 for run in made.runs for one in run)
    assert max(one.tasks for run in made.runs for one in run) > 3
    report(made, found, said)
    assert isinstance(said.file, io.StringIO)
    assert "asyncio tasks" in said.file.getvalue()
