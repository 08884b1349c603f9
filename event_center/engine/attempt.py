"""
When a failed callback is tried again: a pure function of its policy, the attempt and what was raised.

Turn and effect ask it; what they do with the answer is theirs.
"""

from __future__ import annotations

import zlib

from event_center.errors import PermanentError, RetryLater
from event_center.machine.decision import Retry


def delay_ms(retry: Retry, attempt: int, error: BaseException, key: str) -> int | None:
    """
    How long to wait after this attempt (1 for the first) before the next one; None: there is none.

    Full jitter is drawn from the idempotency key and the attempt, so that a replay of the same run
    waits as long, and runs that failed together do not come back together.
    """
    if isinstance(error, PermanentError) or attempt >= retry.max_attempts:
        return None
    if isinstance(error, RetryLater):
        return max(0, round(error.delay_s * 1000))
    delay = min(retry.interval_ms * retry.backoff_rate ** (attempt - 1), retry.max_delay_ms)
    if retry.jitter == "full":
        delay *= zlib.crc32(f"{key}/{attempt}".encode()) / 0xFFFFFFFF
    return round(delay)
