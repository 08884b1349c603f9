"""
A virtual event loop on which simulated processes stand still, go on, and die between any two awaits.

Every asyncio task has the context of the process that started it, so the loop knows of each of its
steps whose it is. A process that stands still runs no step, as after SIGSTOP; one that dies never runs
another, not even to clean up, as after kill -9. `simulation_world` has the processes.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from event_center.errors import Standstill
from event_center.testing.virtual_time import VirtualLoop

MAX_STEPS = 400_000
"""Steps of the loop in one simulation: several times what the longest took; more go in a circle."""

PROCESS: ContextVar[object] = ContextVar("process", default=None)
"""The simulated process that an asyncio task belongs to; None is the world itself."""


class SimulationLoop(VirtualLoop):
    """Virtual time, of which single processes can be deprived."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._still: dict[object, list[asyncio.Handle]] = {}
        self._doomed: dict[object, tuple[int, Callable[[], None]]] = {}
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]

    def stop_still(self, process: object) -> None:
        """From its next step on the process does nothing."""
        self._still.setdefault(process, [])

    def go_on(self, process: object) -> None:
        """The process goes on with what it would have done, timers that have become due included."""
        for handle in self._still.pop(process, []):
            if isinstance(handle, asyncio.TimerHandle):
                heapq.heappush(self._scheduled, handle)
            else:
                self._ready.append(handle)

    def everybody_goes_on(self) -> None:
        """Nobody stands still any more, the dead included: whoever calls this ends them."""
        self._doomed.clear()
        for process in list(self._still):
            self.go_on(process)

    def doom(self, process: object, steps: int, dies: Callable[[], None]) -> None:
        """After so many more steps of its own the process stands still, and `dies` is called."""
        self._doomed.setdefault(process, (steps, dies))

    def spare(self) -> None:
        """Whoever has not died yet lives."""
        self._doomed.clear()

    def _run_once(self) -> None:
        """What asyncio calls for every turn of the loop."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Standstill(f"{MAX_STEPS} steps without an end: something goes in a circle")
        if self._still:
            self._set_aside()
        if self._doomed and self._ready:
            self._run_one()
        else:
            super()._run_once()  # type: ignore[misc]  # asyncio's own

    def _run_one(self) -> None:
        """One step instead of all that are ready, so that a process can die before any of them."""
        ready = self._ready
        process = _whose(ready[0])
        if process in self._doomed:
            left, dies = self._doomed[process]
            if left <= 0:
                del self._doomed[process]
                self.stop_still(process)
                dies()
                return
            self._doomed[process] = left - 1, dies
        later = list(ready)[1:]
        while len(ready) > 1:
            ready.pop()
        super()._run_once()  # type: ignore[misc]  # asyncio's own
        ready.extendleft(reversed(later))

    def _set_aside(self) -> None:
        still = self._still
        handles = list(self._ready)
        if any(_whose(handle) in still for handle in handles):
            self._ready.clear()
            self._ready.extend(self._kept(handles))
        if any(_whose(handle) in still for handle in self._scheduled):
            self._scheduled[:] = self._kept(self._scheduled)
            heapq.heapify(self._scheduled)

    def _kept(self, handles: list[Any]) -> list[Any]:
        """Those that may run; the others wait until their process goes on."""
        kept = []
        for handle in handles:
            waiting = self._still.get(_whose(handle))
            if waiting is None:
                kept.append(handle)
            else:
                waiting.append(handle)
        return kept


def _whose(handle: asyncio.Handle) -> object:
    context = handle._context  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own
    return None if context is None else context.get(PROCESS)
