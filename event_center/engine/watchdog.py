"""
Is the event loop free? A thread asks it again and again, and tells when the answer is late.

A callback that computes or waits without awaiting stops everything: other callbacks, cuts, and the
heartbeats by which the group knows this process. Asked from inside the loop the question would be
answered when it is too late, so the thread tells while the loop is still blocked, and where it is.
Promises: costs nothing per event; a function of a plugin that blocks the loop for 250 ms is named, with
its line; tells early enough to act before the group gives the shards away. The member runs one.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import structlog

log = structlog.get_logger()

ASK_S = 0.05
"""Between two questions: each wakes the loop, and twenty a second are a thousandth of a core."""
CALLBACK_S = 0.2
"""
A function of a plugin is named after this: with the time until the question was asked, whatever keeps
the loop for 250 ms is.
"""
BLOCKED_S = 1.0
"""
Whatever else blocks the loop is told after this, or after a quarter of the time that the group waits: no
honest computation between two awaits takes so long.
"""
REMEMBERED = 5
"""Blocks that are remembered for `stats`: the last ones say what to look at, and fit a line each."""
OURS = str(Path(__file__).parents[1])
CALLERS = tuple(f"{OURS}/{name}" for name in ("engine/run.py", "engine/listening.py", "plugins/"))
"""Where functions of plugins are called."""


class Blocked(NamedTuple):
    """Something blocked the event loop."""

    at_ms: int
    blocked_s: float
    """So far, if it still does."""
    plugin: str
    """The module of the plugin that did; empty if it was none."""
    where: str
    """File, line and function."""


class Blocks:
    """What has blocked the event loop of this process last."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.last: deque[Blocked] = deque(maxlen=REMEMBERED)
        self.told: Callable[[Blocked], None] | None = None
        """Called in the watchdog's thread while the loop is blocked."""


@contextmanager
def watched(session_timeout_s: float, blocks: Blocks) -> Iterator[None]:
    """
    Watch this thread's event loop.

    Args:
        session_timeout_s: after so long others take over what this process has; 0: they never do.
        blocks: gets what blocked the loop.
    """
    watchdog = _Watchdog(asyncio.get_running_loop(), session_timeout_s, blocks)
    thread = threading.Thread(target=watchdog.run, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watchdog.over.set()


class _Watchdog:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, session_timeout_s: float, blocks: Blocks
    ) -> None:
        self.over = threading.Event()
        self._loop = loop
        self._limit_s = min(BLOCKED_S, session_timeout_s / 4) if session_timeout_s else BLOCKED_S
        self._session_timeout_s = session_timeout_s
        self._blocks = blocks
        self._thread = threading.get_ident()
        self._answered = threading.Event()

    def run(self) -> None:
        """Ask until it is over; what this thread is for."""
        while not self.over.wait(ASK_S) and not self._loop.is_closed():
            self._answered.clear()
            asked = time.monotonic()
            self._loop.call_soon_threadsafe(self._answered.set)
            self._wait(asked)

    def _wait(self, asked: float) -> None:
        """Wait for the answer, and tell of its being late: at 0.2 s, then at 1, 3, 7, 15 s."""
        limit_s, told = min(CALLBACK_S, self._limit_s), None
        while not self._answered.wait(asked + limit_s - time.monotonic()):
            if self.over.is_set():
                return
            told = self._tell(time.monotonic() - asked, told)
            limit_s = self._limit_s if limit_s < self._limit_s else 2 * limit_s + self._limit_s
        if told is not None:
            self._blocks.last[-1] = told._replace(blocked_s=round(time.monotonic() - asked, 2))

    def _tell(self, blocked_s: float, told: Blocked | None) -> Blocked | None:
        """Say what blocks the loop, if it is to be said yet; what was told last of this block."""
        plugin, where = self._culprit()
        if not plugin and blocked_s < self._limit_s:
            return told
        found = Blocked(self._blocks.clock(), round(blocked_s, 2), plugin, where)
        last = self._blocks.last
        if told is None:
            last.append(found)
        else:
            last[-1] = found
        log.warning(
            "loop.blocked",
            blocked_s=found.blocked_s,
            session_timeout_s=self._session_timeout_s,
            plugin=plugin,
            where=where,
        )
        if self._blocks.told is not None:
            self._blocks.told(found)
        return found

    def _culprit(self) -> tuple[str, str]:
        """What this package has called and what does not return; else where the loop itself is."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented, for this
        innermost = called = frame
        while frame is not None and not frame.f_code.co_filename.startswith(OURS):
            called, frame = frame, frame.f_back
        if frame is None:
            return "", _said(innermost)
        theirs = called is not frame and frame.f_code.co_filename.startswith(CALLERS)
        plugin = called.f_globals.get("__name__", "") if theirs and called is not None else ""
        return plugin, _said(called)


def _said(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
