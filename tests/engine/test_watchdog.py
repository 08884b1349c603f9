"""The watchdog: a callback that keeps the event loop is named while it does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from event_center.engine.watchdog import watched
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.real_time


def blocks(told: list[MutableMapping[str, Any]]) -> None:
    """What a callback should not do: keep the loop until somebody complains."""
    give_up = time.monotonic() + PATIENCE_S
    while not told and time.monotonic() < give_up:
        time.sleep(0.01)


async def test_a_blocked_loop_is_told_while_it_is_blocked() -> None:
    """It says for how long, when the group will act, and the line that does not return."""
    with capture_logs() as told, watched(1.2):
        await asyncio.sleep(0)
        blocks(told)
        by_then = list(told)
    assert {one["event"] for one in by_then} == {"loop.blocked"}
    assert by_then[0]["session_timeout_s"] == 1.2
    assert by_then[0]["blocked_s"] >= 0.3
    assert "test_watchdog.py" in by_then[0]["where"]
    assert by_then[0]["where"].endswith("blocks")


async def test_a_free_loop_is_not_told_of() -> None:
    """However long something is awaited, nothing is said, and the thread ends."""
    with capture_logs() as told, watched(0):
        await asyncio.sleep(0.6)
        mine = [one for one in threading.enumerate() if one.name == "watchdog"]
    assert told == []
    await asyncio.to_thread(mine[-1].join, PATIENCE_S)
    assert not mine[-1].is_alive()
