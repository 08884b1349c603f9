"""
Time that passes only when nothing else is left to do, and then takes none.

`VirtualTime` makes the time of an event loop virtual, also of one that runs already: so a center is
tested in whatever loop its test has. The clock stands at exactly the moment of the timer that runs, so
that code which compares a deadline with the clock (anyio's cancel scopes do) never finds itself a
rounding error too early. `VirtualLoop` is a loop that has no other time. `TestCenter` is the user.
"""

from __future__ import annotations

import asyncio
import threading
import time
from math import ceil, inf, ulp
from typing import Any

from event_center.errors import ConfigurationError, Standstill

OUTSIDE_S = 0.02
"""
How long, really, a loop waits for its sockets and pools of threads before virtual time passes: so long
a service on the same machine takes at most, and a test that lets time pass often does not become slow.
"""
PLAIN = "plain function"
"""The name of the threads in which the engine calls callbacks that are plain functions."""
POOLS = ("asyncio_", "AnyIO worker thread", "ThreadPoolExecutor")
"""How threads are called that may have work for the loop, or may be idle."""


class VirtualTime:
    """The time of one event loop, virtual between `begin` and `end`; it never goes back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, patient: bool = True) -> None:
        """
        Prepare a loop.

        Args:
            loop: one of asyncio's own.
            patient: wait, really, for what goes on outside of it: threads and sockets.

        Raises:
            ConfigurationError: the loop's clock can not be set.
        """
        selector = getattr(loop, "_selector", None)
        if selector is None:
            raise ConfigurationError(
                f"virtual time needs an event loop of asyncio itself, not {type(loop).__name__}: leave "
                "uvloop out of the tests, or run them on the backend asyncio"
            )
        self._loop: Any = loop
        self._selector = selector
        self._patient = patient
        self._poll = selector.select
        self._real = loop.time
        self._now = loop.time()
        self._resolution: float = vars(loop)["_clock_resolution"]
        self._ahead = 0.0
        self._sockets = 0
        self._before: frozenset[int | None] = frozenset()
        self._awaited: list[tuple[float, asyncio.Future[None]]] = []

    def begin(self) -> None:
        """From now on time is virtual."""
        # Whole, as the milliseconds of the engine are.
        self._go_to(float(ceil(self._loop.time())))
        self._sockets = len(self._selector.get_map())
        self._before = frozenset(thread.ident for thread in threading.enumerate())
        self._loop.time = self.time
        self._selector.select = self._pass

    def end(self) -> None:
        """From now on time is real; it goes on from where it stands."""
        self._ahead = self._now - self._real()
        self._selector.select = self._poll
        self._loop.time = self._real_again
        self._loop._clock_resolution = self._resolution  # noqa: SLF001 - asyncio's own

    def _real_again(self) -> float:
        return self._real() + self._ahead

    def time(self) -> float:
        """The clock: seconds, of which only differences say something."""
        return self._now

    def skip(self, seconds: float) -> None:
        """Time goes on, and nothing else does."""
        self._go_to(self._now + seconds)

    def _go_to(self, now: float) -> None:
        """It is now; asyncio runs what is due within its resolution, which is to be no moment earlier."""
        self._now = now
        self._loop._clock_resolution = ulp(now)  # noqa: SLF001 - asyncio's own

    async def until(self, moment: float) -> None:
        """Let time pass up to this moment; when this returns, all that happens by then has happened."""
        future = self._loop.create_future()
        self._awaited.append((moment, future))
        self._awaited.sort(key=lambda one: one[0])
        await future

    def next(self) -> float:
        """When the next timer of the loop is due; inf: there is none."""
        timers = (each for each in self._loop._scheduled if not each.cancelled())  # noqa: SLF001
        return min((float(each.when()) for each in timers), default=inf)

    def _pass(self, timeout: float | None) -> Any:
        """What asyncio calls to wait: time goes to the next timer, or to what is awaited, at once."""
        ready = self._poll(0)
        if ready or timeout == 0:
            return ready
        while self._awaited and self._awaited[0][1].done():  # whoever awaited it was cancelled
            del self._awaited[0]
        scheduled = self._loop._scheduled  # noqa: SLF001 - its head is not cancelled: asyncio has looked
        timer = scheduled[0].when() if scheduled else inf
        moment = min(timer, self._awaited[0][0] if self._awaited else inf)
        if self._patient and (ready := self._outside(moment)) is not None:
            return ready
        if moment == inf:
            raise Standstill(
                "every asyncio task waits, and no timer would wake one: this would hang for ever;"
                " look at what is awaited"
            )
        self._go_to(max(self._now, moment))
        if timer > moment:
            self._awaited.pop(0)[1].set_result(None)
        return []

    def _outside(self, moment: float) -> Any:
        """What is ready after a look at threads and sockets; None: time may pass."""
        new = [one.name for one in threading.enumerate() if one.ident not in self._before]
        if PLAIN in new and moment > self._now:
            return self._really(None if moment == inf else moment - self._now)
        if len(self._selector.get_map()) > self._sockets or any(
            one.startswith(POOLS) for one in new
        ):
            ready = self._poll(None if moment == inf else OUTSIDE_S)
            return ready or None
        return None

    def _really(self, timeout: float | None) -> Any:
        """While a plain function runs, time passes as it does outside."""
        began = time.monotonic()
        ready = self._poll(timeout)
        self._go_to(self._now + time.monotonic() - began)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """One thread's event loop; threads and sockets of its own are not waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = VirtualTime(self, patient=False)
        self._virtual.begin()
        self._virtual.skip(1_000.0 - self._virtual.time())  # the same whenever the loop is made

    def block(self, seconds: float) -> None:
        """What a call does that blocks the loop: time goes on, and nothing else does."""
        self._virtual.skip(seconds)
