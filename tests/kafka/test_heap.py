"""What a restore has read through is given back to the system, after it and beside it."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys

import pytest

from event_center.log.kafka import heap
from event_center.log.kafka.heap import LATER_S, give_back_later
from tests.waiting import until

ALLOCATING = """
import asyncio, time
from pathlib import Path
from event_center.log.kafka import heap

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

before = resident()
buffers, kept = [], []
for number in range(400):
    buffers.append(b"x" * 100_000)
    kept.append(b"y" * 20_000)
full = resident()
buffers.clear()
freed = resident()

async def later():
    heap.LATER_S = 0.0
    heap.give_back_later()
    ends = time.monotonic() + 60
    while resident() > before + (full - before) / 2 and time.monotonic() < ends:
        await asyncio.sleep(0.01)

asyncio.run(later())
print(full - before, freed - before, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")
@pytest.mark.skipif(heap.TRIM is None, reason="the C library has nothing that could be asked")
def test_what_lies_between_things_that_stay_goes_back() -> None:
    """The twin, first: nobody asks, and what was freed stays with the process."""
    told = subprocess.run(
        [sys.executable, "-c", ALLOCATING], capture_output=True, text=True, check=True, timeout=120
    )
    full, freed, left = map(int, told.stdout.split())
    assert freed > 0.8 * full
    assert left < 0.5 * full


@pytest.mark.looptime
async def test_it_is_asked_later_and_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a moment, when the takeover holds nothing any more, and not by the event loop."""
    asked: list[int] = []
    monkeypatch.setattr(heap, "TRIM", asked.append)
    give_back_later()
    await asyncio.sleep(0.9 * LATER_S)
    assert not asked
    await asyncio.sleep(0.2 * LATER_S)
    await until(lambda: bool(asked))
    assert asked == [0]


def test_another_library_has_no_such_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is nothing to ask, and nothing is wrong."""

    class Other:
        def __init__(self, _name: str | None) -> None: ...

    monkeypatch.setattr(ctypes, "CDLL", Other)
    assert heap._trim() is None
