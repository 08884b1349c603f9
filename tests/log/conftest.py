"""The embedded log for the tests that are about this engine alone; the contract has its own fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from event_center.log.sqlite import SqliteLog
from tests.log.harness import SqliteHarness


@pytest_asyncio.fixture
async def sqlite_harness(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    """One file."""
    made = SqliteHarness(tmp_path)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def sqlite_log(sqlite_harness: SqliteHarness) -> SqliteLog:
    """A log with two topics."""
    opened = await sqlite_harness.open()
    await opened.create({"orders": 4, "history": 4})
    return opened
