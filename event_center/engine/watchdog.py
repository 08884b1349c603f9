"""
Is the event loop free? A thread asks it again and again, and tells when the answer is late.

A callback that computes or waits without awaiting stops everything: other callbacks, cuts, and the
heartbeats by which the group knows this process. Asked from inside the loop the question would be
answered when it is too late, so the thread tells while the loop is still blocked, and where it is.
Promises: costs nothing per event; tells early enough to act before the group gives the shards away.
The member runs one.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import structlog

log = structlog.get_logger()

ASK_S = 0.25
"""Between two questions: each wakes the loop, and four a second cost an idle daemon nothing to speak of."""
BLOCKED_S = 1.0
"""
The loop is told to be blocked after this, or after a quarter of the time that the group waits: no honest
computation between two awaits takes so long.
"""
OURS = str(Path(__file__).parents[1])


@contextmanager
def watched(session_timeout_s: float) -> Iterator[None]:
    """
    Watch this thread's event loop.

    Args:
        session_timeout_s: after so long others take over what this process has; 0: they never do.
    """
    limit_s = min(BLOCKED_S, session_timeout_s / 4) if session_timeout_s else BLOCKED_S
    watchdog = _Watchdog(asyncio.get_running_loop(), limit_s, session_timeout_s)
    thread = threading.Thread(target=watchdog.run, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watchdog.over.set()


class _Watchdog:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit_s: float, session_timeout_s: float
    ) -> None:
        self.over = threading.Event()
        self._loop = loop
        self._limit_s = limit_s
        self._session_timeout_s = session_timeout_s
        self._thread = threading.get_ident()
        self._answered = threading.Event()

    def run(self) -> None:
        """Ask until it is over; what this thread is for."""
        while not self.over.wait(ASK_S) and not self._loop.is_closed():
            self._answered.clear()
            asked, limit_s = time.monotonic(), self._limit_s
            self._loop.call_soon_threadsafe(self._answered.set)
            while not self._answered.wait(limit_s) and not self.over.is_set():
                log.warning(
                    "loop.blocked",
                    blocked_s=round(time.monotonic() - asked, 1),
                    session_timeout_s=self._session_timeout_s,
                    where=self._where(),
                )
                limit_s *= 2  # a line at 1, 3, 7, 15 s

    def _where(self) -> str:
        """What this package has called and what does not return; else where the loop itself is."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented, for this
        innermost = called = frame
        while frame is not None and not frame.f_code.co_filename.startswith(OURS):
            called, frame = frame, frame.f_back
        return _said(innermost if frame is None else called)


def _said(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
