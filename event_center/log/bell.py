"""
A bell: wakes every asyncio task that waits for something to happen in a log.

Promises: a ring between two looks is never missed, because looking and beginning to wait happen
without an await between them; cancelling a wait leaves nothing behind. The groups of the
engines wait here in `fetch`; whoever appends records or changes an assignment rings.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Belongs to one event loop. Rings are not remembered: look first, then wait."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}  # a set would have no order

    def ring(self) -> None:
        """Wake everyone who waits now."""
        for waiter in self._waiting:
            _wake(waiter)
        self._waiting.clear()

    async def wait(self, timeout_s: float) -> None:
        """Wait for the next ring, or until the time is over; which of the two is not told."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiting[waiter] = None
        timer = loop.call_later(timeout_s, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiting.pop(waiter, None)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
