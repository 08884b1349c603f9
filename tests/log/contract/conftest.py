"""Runs every test of this folder on every engine, and counts that none was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from event_center.log.port import Log
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.log.harness import Harness, MemoryHarness, SqliteHarness

ENGINES: dict[str, Callable[[Path], Harness]] = {
    "kafka": lambda folder: KafkaHarness(bootstrap()),
    "memory": lambda folder: MemoryHarness(),
    "sqlite": SqliteHarness,
}
RAN: Counter[str] = Counter()
ABSENT: set[str] = set()
"""Engines that can not be had here; in continuous integration that has failed already."""


@pytest_asyncio.fixture(params=sorted(ENGINES))
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """One log of each engine in turn."""
    try:
        made = ENGINES[request.param](tmp_path)
    except pytest.skip.Exception:
        ABSENT.add(request.param)
        raise
    RAN[request.param] += 1
    yield made
    await made.close()


@pytest_asyncio.fixture
async def log(harness: Harness) -> Log:
    """One process that has the log open, with topics `orders` and `history` of four partitions."""
    opened = await harness.open()
    await opened.create({"orders": 4, "history": 4})
    return opened


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests each engine has passed through."""
    if RAN:
        counts = ", ".join(f"{engine} {RAN[engine]} tests" for engine in sorted(ENGINES))
        terminalreporter.write_line(f"contract: {counts}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if an engine has run fewer tests than another."""
    counts = {RAN[engine] for engine in ENGINES.keys() - ABSENT}
    if RAN and len(counts) > 1 and not session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
