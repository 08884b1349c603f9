"""
Threads for callbacks that are plain functions: a bounded number at once, and none that is waited for.

A thread can not be ended. So a slot is free again when its *thread* ends, also if nobody waits for the
result any more: functions that hang take slots, they never pile up. The threads are daemon threads: the
process ends without waiting for them. The runners (`run`) call this.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any


class Threads:
    """At most `limit` threads at once; a thread per call."""

    def __init__(self, limit: int) -> None:
        self.waiting = 0
        """Calls that wait for a thread."""
        self._free = asyncio.Semaphore(limit)
        self._loop = asyncio.get_running_loop()

    async def slot(self) -> None:
        """Wait until a thread may start; `call` has to be awaited next."""
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1

    async def call(self, function: Callable[[], Any]) -> Any:
        """Call the function, which must not raise, in a thread; a caller that is cancelled leaves it."""
        ended = self._loop.create_future()
        thread = threading.Thread(
            target=copy_context().run,
            args=(self._in_thread, function, ended),
            name="plain function",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._free.release()
            raise
        return await ended

    def _in_thread(self, function: Callable[[], Any], ended: asyncio.Future[Any]) -> None:
        result = function()
        with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended, ended, result)

    def _ended(self, ended: asyncio.Future[Any], result: Any) -> None:
        self._free.release()
        if not ended.done():
            ended.set_result(result)
