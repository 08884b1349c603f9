"""
The waiting room of the tests: the one place that waits for what rings no bell.

Another process, a thread, a broker: nobody tells a test when they are done, so it looks again and again,
for a bounded time. Whatever can be awaited is awaited where it happens instead, and time that passes
only in the event loop is virtual (`tests/engine/virtual.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 60.0
"""How long a test waits for an effect before it fails: long enough for a machine that is busy."""
LOOK_S = 0.003


async def until(condition: Callable[[], bool]) -> None:
    """Wait, for a bounded time, until this is so."""

    async def asked() -> bool:
        return condition()

    await until_true(asked)


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait, for a bounded time, until what is asked for each time anew is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - what rings no bell is looked at
            await asyncio.sleep(LOOK_S)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, for a bounded time and outside an event loop, until this is so."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, f"it did not come about within {PATIENCE_S:g} s"
        time.sleep(LOOK_S)


async def turns(count: int = 1) -> None:
    """Let the event loop go round so many times: no time passes, whatever is ready goes on."""
    for _ in range(count):
        await asyncio.sleep(0)
