"""
The clock of a real event loop, which a test moves on.

Threads need real time, and a timeout that a test wants to see run out, or not run out, would be a bet on
how fast the machine is. So timeouts are long, and the test says when they are over.
"""

from __future__ import annotations

import asyncio


class Ahead:
    """The running event loop's clock goes as before, but for what it is moved on."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._real = loop.time
        self._moved_s = 0.0
        vars(loop)["time"] = self._time

    def _time(self) -> float:
        return self._real() + self._moved_s

    def move(self, seconds: float) -> None:
        """It is so much later at once; what is due by then happens when the loop goes round next."""
        self._moved_s += seconds
