"""
How long to wait before a log that refused, or gave no answer, is asked again: longer each time.

Promises: what the log does never makes a loop without a pause, and every wait is in the daemon's log. The
owner of a shard (`shard`), its cut loop (`cutting`), the timekeeper (`timekeeping`) and the member
(`member`) wait here.
"""

from __future__ import annotations

import anyio
import structlog

log = structlog.get_logger()

RETRY_MIN_S = 0.05
"""The first pause after trouble: most are over at once."""
RETRY_MAX_S = 5.0
"""
What the log refused is tried again between these distances: soon, for most troubles are over at once;
and no more than 5 s late once a long one is over.
"""


class Backoff:
    """The distances of one thing that is tried again."""

    __slots__ = ("_next_s",)

    def __init__(self) -> None:
        self._next_s = RETRY_MIN_S

    def reset(self) -> None:
        """It went well: the next wait is short again."""
        self._next_s = RETRY_MIN_S

    def next_s(self) -> float:
        """How long to wait this time."""
        now_s, self._next_s = self._next_s, min(self._next_s * 2, RETRY_MAX_S)
        return now_s

    async def wait(self, event: str, error: Exception, **told: object) -> None:
        """Say what went wrong, and wait."""
        delay = self.next_s()
        log.warning(event, error=str(error), again_in_s=delay, **told)
        await anyio.sleep(delay)
