"""
Listeners: what the cuts of this process made durable, told to plugins, one record after another.

Best effort, and never in the way: a cut only puts its records of the history into a queue with a limit,
and one asyncio task calls the listeners. What does not fit is dropped, what they raise is logged, and
after a crash nobody is told again. The member owns this; `cutting` calls `hear`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque

import anyio
import structlog

from event_center.engine.attempt import failure_of
from event_center.engine.run import forgive
from event_center.log.port import Cut
from event_center.plugins.listening import Listener, Notice, notice_of
from event_center.wire import history

log = structlog.get_logger()

WAITING = 10_000
"""Records that wait for listeners; a listener that is slower than the events loses some of them."""
LIMIT_S = 10.0
"""How long a listener may take over one of them: more, and others would wait for it."""
LAST_S = 2.0
"""
How long a process that stops waits for listeners: what they observe is in the log all the same.
"""


class Listening:
    """Calls the listeners of one process."""

    def __init__(self, listeners: tuple[Listener, ...], topic: str, *, most: int = WAITING) -> None:
        self._listeners = listeners
        self._most = most
        self._topic = topic
        self._waiting: deque[bytes] = deque()
        self._something = asyncio.Event()
        self._nothing = asyncio.Event()
        self._nothing.set()
        self._dropping = False

    def hear(self, cut: Cut) -> None:
        """A cut is durable."""
        told = [value for topic, _, value, *_ in cut.records if topic == self._topic]
        room = self._most - len(self._waiting)
        if len(told) > room and not self._dropping:
            self._dropping = True
            log.warning("listener.behind", waiting=len(self._waiting), limit=self._most)
        self._waiting.extend(value for value in told[:room] if value is not None)
        if self._waiting:
            self._nothing.clear()
            self._something.set()

    async def run(self) -> None:
        """Tell the listeners, for as long as the process runs."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                for moment, notice in notice_of(history.read(self._waiting.popleft())):
                    for listener in self._listeners:
                        if listener.moment is moment and listener.machine in {"*", notice.machine}:
                            await _tell(listener, notice)
            self._dropping = False
            self._nothing.set()

    async def last(self) -> None:
        """Wait for what is still to be told, but not for long."""
        with anyio.move_on_after(LAST_S):
            await self._nothing.wait()


async def _tell(listener: Listener, notice: Notice) -> None:
    try:
        with anyio.fail_after(LIMIT_S):
            await listener.function(notice)
    except BaseException as error:  # user code: nothing depends on it
        if anyio.current_effective_deadline() == -math.inf:
            raise  # the process stops
        failure = failure_of("listener", error, 0, 1)
        log.warning(
            "listener.failed",
            workflow_id=notice.workflow_id,
            moment=notice.moment,
            error=failure.type,
            message=failure.message,
            where=listener.where,
        )
    await forgive(asyncio.current_task())
