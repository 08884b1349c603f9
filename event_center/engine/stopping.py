"""
Whether one shard is to stop, and what wakes those that serve it.

The owner (`shard`) makes one `Stop` and asks for the end; the cut loop (`cutting`) and the timekeeper
(`timekeeping`) wait on it for something to happen, or for the time of the stop to run out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import anyio


class Stop:
    """Whether a shard is to stop, how long that may take, and what wakes who waits meanwhile."""

    __slots__ = ("_at_s", "_scope", "_something", "wake")

    def __init__(self) -> None:
        self._at_s: float | None = None
        self._scope = anyio.CancelScope()
        self._something = asyncio.Event()
        self.wake: Callable[[], None] = self._something.set
        """Called when something happened: for each run that ends, so without a call between."""

    def within(self, grace_s: float) -> None:
        """Stop from now on, within so many seconds."""
        self._at_s = self._scope.deadline = asyncio.get_running_loop().time() + grace_s
        self._something.set()

    def limit(self) -> anyio.CancelScope:
        """A scope that ends when the time for stopping is over, also if the stop comes while it lasts."""
        deadline = math.inf if self._at_s is None else self._at_s
        self._scope = anyio.CancelScope(deadline=deadline)
        return self._scope

    @property
    def asked(self) -> bool:
        """Whether it is to stop."""
        return self._at_s is not None

    @property
    def late(self) -> bool:
        """Whether the time for stopping is over."""
        return self._at_s is not None and asyncio.get_running_loop().time() >= self._at_s

    async def something(self) -> None:
        """Wait until something happened, or the time for stopping is over."""
        if self._at_s is None:
            await self._something.wait()
        elif not self._something.is_set():
            left_s = max(0.0, self._at_s - asyncio.get_running_loop().time())
            with anyio.move_on_after(left_s):
                await self._something.wait()
        self._something.clear()

    async def asked_within(self, seconds: float) -> None:
        """Wait so long; a stop ends the wait."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self.asked and loop.time() < until:
            self._something.clear()
            with anyio.move_on_after(until - loop.time()):
                await self._something.wait()
