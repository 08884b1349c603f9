"""Runs every test of this folder on every engine; `tests/log/counting.py` sees that none is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from event_center.log.port import Log
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.log.counting import ENGINES
from tests.log.harness import Harness, MemoryHarness, SqliteHarness

HARNESSES: dict[str, Callable[[Path], Harness]] = {
    "kafka": lambda folder: KafkaHarness(bootstrap()),
    "memory": lambda folder: MemoryHarness(),
    "sqlite": lambda folder: SqliteHarness(folder, row_bytes=4_000_000),
}


@pytest_asyncio.fixture(params=ENGINES)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """One log of each engine in turn."""
    made = HARNESSES[request.param](tmp_path)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def log(harness: Harness) -> Log:
    """One process that has the log open, with topics `orders` and `history` of four partitions."""
    opened = await harness.open()
    await opened.create({"orders": 4, "history": 4})
    return opened
