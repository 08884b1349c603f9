"""
A virtual event loop on which simulated processes stand still, go on, and die between any two awaits.

Every asyncio task has the context of the process that started it, so the loop knows of each of its
steps whose it is. A process that stands still runs no step, as after SIGSTOP; one that dies never runs
another, not even to clean up, as after kill -9. There is nothing outside to wait for, so the loop has no
selector, and time passes by going to the next timer. `simulation_world` has the processes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVarTuple

from event_center.errors import Standstill

MAX_STEPS = 400_000
"""Steps of the loop in one simulation: several times what the longest took; more go in a circle."""
BEGIN_S = 1_000.0
"""What the clock of the loop shows when a world begins: any moment that is not zero would do."""

Ts = TypeVarTuple("Ts")

PROCESS: ContextVar[object] = ContextVar("process", default=None)
"""The simulated process that an asyncio task belongs to; None is the world itself."""


class Step(asyncio.TimerHandle):
    """A step of the loop, now or later, without what asyncio's own keeps for its debug mode."""

    __slots__ = ()
    _args: Any  # this and the next are asyncio's own
    _callback: Any
    _context: Context
    _loop: asyncio.AbstractEventLoop
    _repr: None
    _source_traceback: None

    def __init__(  # one call less for each: all of a world's work goes through here
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr = self._source_traceback = None

    def cancel(self) -> None:
        """It is passed over when its turn comes."""
        self._cancelled = True
        self._callback = self._args = None


class SimulationLoop(asyncio.BaseEventLoop):
    """Virtual time, of which single processes can be deprived."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._now = BEGIN_S
        self._ready: deque[Step]  # this and the next are asyncio's own
        self._stopping: bool
        self._timers: list[tuple[float, int, Step]] = []
        self._numbers = count()
        self._still: dict[object, list[Step]] = {}
        self._doomed: dict[object, tuple[int, Callable[[], None]]] = {}

    # -- time ----------------------------------------------------------------------------------

    def time(self) -> float:
        """The clock: seconds, of which only differences say something."""
        return self._now

    def block(self, seconds: float) -> None:
        """What a call does that blocks the loop: time goes on, and nothing else does."""
        self._now += seconds

    # -- processes -----------------------------------------------------------------------------

    def stop_still(self, process: object) -> None:
        """From its next step on the process does nothing."""
        self._still.setdefault(process, [])

    def go_on(self, process: object) -> None:
        """The process goes on with what it would have done, timers that have become due included."""
        self._ready.extend(self._still.pop(process, ()))

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

    # -- what asyncio calls --------------------------------------------------------------------

    get_debug = staticmethod(bool)
    """Never: whoever makes a future or an asyncio task asks."""

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run this in the next turn; without asyncio's own checks, for this is half of all work."""
        step = Step(callback, args, self, context)
        self._ready.append(step)
        return step

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run this after so many seconds."""
        step = Step(callback, args, self, context)
        heappush(self._timers, (self._now + delay, next(self._numbers), step))
        return step

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run this at that time; of two with the same time the first that was asked for comes first."""
        step = Step(callback, args, self, context)
        heappush(self._timers, (when, next(self._numbers), step))
        return step

    def _write_to_self(self) -> None:
        """Nothing is to be done: the loop never sleeps, so nobody has to wake it."""

    def _run_once(self) -> None:
        """One turn: whatever is ready now, or else what is due next."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Standstill(f"{MAX_STEPS} steps without an end: something goes in a circle")
        ready, still, doomed = self._ready, self._still, self._doomed
        self._fall_due()
        for _ in range(len(ready)):
            step = ready.popleft()
            if step._cancelled:  # noqa: SLF001 - asyncio's own, here and below
                continue
            if still or doomed:
                process = step._context.get(PROCESS)  # noqa: SLF001 - as above
                if (process in still or process in doomed) and not self._may_run(process, step):
                    continue
            step._run()  # noqa: SLF001 - as above

    def _fall_due(self) -> None:
        """What is due becomes ready; if nothing is ready, time goes to the next timer."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2]._cancelled:  # noqa: SLF001 - as above
            heappop(timers)
        if not ready and not self._stopping:
            if not timers:
                raise Standstill(
                    "every asyncio task waits, and no timer would wake one: this would hang for ever;"
                    " look at what is awaited"
                )
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heappop(timers)[2])

    def _may_run(self, process: object, step: Step) -> bool:
        """Whether the process of this step does not stand still, and does not die of it."""
        if process in self._doomed:
            left, dies = self._doomed[process]
            if left <= 0:
                del self._doomed[process]
                self.stop_still(process)
                dies()
            else:
                self._doomed[process] = left - 1, dies
        waiting = self._still.get(process)
        if waiting is None:
            return True
        waiting.append(step)
        return False
