"""
An event loop whose time passes only when nothing else is left to do, and then takes none.

Its clock stands at exactly the moment of the timer that runs, so that code which compares a deadline
with the clock (anyio's cancel scopes do) never finds itself a rounding error too early. Tests run
whole centers on it: a timer of 24 hours takes no time.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from event_center.errors import Standstill


class VirtualLoop(asyncio.SelectorEventLoop):
    """One thread's event loop; threads and sockets of its own are not waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._go_to(1_000.0)
        self._poll = self._selector.select  # type: ignore[attr-defined]  # asyncio's own
        self._selector.select = self._pass  # type: ignore[attr-defined]  # asyncio's own

    def time(self) -> float:
        """The clock: seconds, of which only differences say something."""
        return self._now

    def block(self, seconds: float) -> None:
        """What a call does that blocks the loop: time goes on, and nothing else does."""
        self._go_to(self._now + seconds)

    def _go_to(self, now: float) -> None:
        """It is now; asyncio runs what is due within its resolution, which is to be no moment earlier."""
        self._now = now
        self._clock_resolution = math.ulp(now)

    def _pass(self, timeout: float | None) -> Any:
        """What asyncio calls to wait: time goes to the next timer at once."""
        ready = self._poll(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Standstill(
                "every asyncio task waits, and no timer would wake one: this would hang for ever;"
                " look at what is awaited"
            )
        scheduled = self._scheduled  # type: ignore[attr-defined]  # asyncio's own
        self._go_to(max(self._now, scheduled[0].when()))
        return []
