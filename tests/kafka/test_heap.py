"""What a restore has read through is given back to the system, after it and beside it."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import sys

import pytest

from event_center.log.kafka import heap
from event_center.log.kafka.heap import LATER_S, WORTH_BYTES, Heap
from event_center.log.kafka.log import KafkaLog
from event_center.model import Shard
from tests.log.harness import joined, puts, restored
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
    heap.Heap().restored(heap.WORTH_BYTES)
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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the C library is asked, by anybody."""
    asked: list[int] = []
    monkeypatch.setattr(heap, "TRIM", asked.append)
    return asked


@pytest.mark.looptime
async def test_it_is_asked_later_and_in_a_thread(asked: list[int]) -> None:
    """In a moment, when the takeover holds nothing any more, and not by the event loop."""
    Heap().restored(WORTH_BYTES)
    await asyncio.sleep(0.9 * LATER_S)
    assert not asked
    await asyncio.sleep(0.2 * LATER_S)
    await until(lambda: bool(asked))
    assert asked == [0]


@pytest.mark.looptime
async def test_many_shards_ask_once(asked: list[int]) -> None:
    """A moment after the last of them, for all. What comes later counts anew."""
    freed = Heap()
    for _ in range(64):
        freed.restored(WORTH_BYTES)
        await asyncio.sleep(0.5 * LATER_S)
    assert not asked
    await asyncio.sleep(LATER_S)
    await until(lambda: bool(asked))
    await asyncio.sleep(10 * LATER_S)
    assert asked == [0]
    freed.restored(WORTH_BYTES)
    await asyncio.sleep(2 * LATER_S)
    await until(lambda: len(asked) > 1)


@pytest.mark.looptime
async def test_bytes_say_whether_it_is_worth_it(asked: list[int]) -> None:
    """Of all shards together: many small ones leave as much as a large one. The twin is a byte short."""
    small = WORTH_BYTES // 4
    for missing in (1, 0):
        freed = Heap()
        for part in (small, small, small, small - missing):
            freed.restored(part)
        await asyncio.sleep(2 * LATER_S)
        if missing:
            assert not asked
    await until(lambda: bool(asked))


async def test_a_restore_says_what_it_has_read(
    kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes as they came, however few entries that are, also of those that were written over since."""
    told: list[int] = []
    monkeypatch.setattr(Heap, "restored", lambda _, read: told.append(read))
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        lease = member.leases[Shard(0)]
        for byte in (b"x", b"y"):
            await lease.commit(puts({b"one": 300_000 * byte}))
        again = await member.group.lease(Shard(0), member.tokens[Shard(0)])
        told.clear()
        await restored(again)
    [read] = told
    assert 600_000 < read < 700_000


def test_another_library_has_no_such_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is nothing to ask, and nothing is wrong."""

    class Other:
        def __init__(self, _name: str | None) -> None: ...

    monkeypatch.setattr(ctypes, "CDLL", Other)
    assert heap._trim() is None
