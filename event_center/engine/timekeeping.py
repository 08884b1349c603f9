"""
The timekeeper of one shard: looks at what is due, when it is.

It sleeps until the earliest due time, and at most a second while something is due later, so that a
step of the clock is seen by then. Timers wait for what the log held when they became due (promises P4
and P7), and nothing is due before what a takeover has found goes on (`takeover`). The owner (`shard`)
runs it beside the cut loop; `parts` starts and fires what is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf

import anyio.lowlevel

from event_center.engine.backoff import Backoff
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.stopping import Stop
from event_center.errors import LogUnavailable, NotCommitted
from event_center.log.port import Group
from event_center.model import Shard

GLANCE_S = 1.0
"""The longest sleep while something is due later: a step of the clock is seen by then."""


class Timekeeper:
    """Keeps the time of one shard."""

    def __init__(self, shard: Shard, group: Group, plan: Plan, stop: Stop) -> None:
        self._shard = shard
        self._group = group
        self._clock = plan.clock
        self._longest_s = inf if plan.steady else GLANCE_S
        self._stop = stop
        self._earlier = asyncio.Event()

    def wake(self) -> None:
        """Something is due earlier than all that was known, or the shard is to stop."""
        self._earlier.set()

    async def keep(self, parts: Parts) -> None:
        """Look at what is due until the shard is to stop."""
        while not self._stop.asked:
            self._earlier.clear()
            next_ms = parts.timers.next_ms() if parts.resumed else None
            now = self._clock()
            parts.timers.looking = next_ms is not None and next_ms <= now
            if next_ms is None or next_ms > now:
                due_s = inf if next_ms is None else (next_ms - now) / 1000
                await self._woken(due_s)
                continue
            timed = parts.start_due(now)
            if timed:
                parts.timers.put_behind(timed, await self._watermarks(), now)
                if self._stop.asked:
                    return
                parts.fire_released()
            self._stop.wake()
            next_ms = parts.timers.next_ms()
            if next_ms is not None and next_ms <= now:  # more than is looked at in one go
                await anyio.lowlevel.checkpoint()

    async def _woken(self, due_s: float) -> None:
        """Sleep until somebody wakes the timekeeper, or until then; for ever if that is infinite."""
        wake = self._earlier.set
        timer = None
        if due_s < inf:
            due_s = min(due_s, self._longest_s)
            timer = asyncio.get_running_loop().call_later(due_s, wake)
        try:
            await self._earlier.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _watermarks(self) -> Mapping[str, int]:
        """What the log holds now; a log that does not answer is asked again."""
        backoff = Backoff()
        while True:
            try:
                return await self._group.watermarks(self._shard)
            except (LogUnavailable, NotCommitted) as error:
                await backoff.wait("log.not_read", error, shard=self._shard)
