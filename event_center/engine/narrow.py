"""
Callbacks with a limit of their own, for a service that takes ten calls while a process does a thousand.

A run that finds no room waits here, in the order in which they came, and holds no runner meanwhile: other
callbacks go on. A run has its room until its callback has ended, also if nobody waits for it any more. The
runners (`run`) ask here before they queue a run, and tell when one has ended; `limits` names who waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

from event_center.plugins.context import Context
from event_center.plugins.signatures import Callback


class Limited(Protocol):
    """A run."""

    callback: Callback
    context: Context
    over: bool


R = TypeVar("R", bound=Limited)


class Waits(NamedTuple):
    """A callback whose runs wait for room."""

    name: str
    limit: int
    runs: int


class Narrow(Generic[R]):
    """Who is under way, and who waits, of the callbacks that have a limit."""

    def __init__(self) -> None:
        self._within: Counter[Callback] = Counter()
        self._waiting: dict[Callback, deque[tuple[R, float]]] = {}
        self._now_s = asyncio.get_running_loop().time

    def __iter__(self) -> Iterator[Waits]:
        for callback, runs in self._waiting.items():
            yield Waits(callback.name, callback.limit, len(runs))

    @property
    def waiting(self) -> int:
        """Runs that wait for room."""
        return sum(map(len, self._waiting.values()))

    def admits(self, run: R) -> bool:
        """Whether there is room for it now; else it waits."""
        callback = run.callback
        if self._within[callback] < callback.limit:
            self._within[callback] += 1
            return True
        self._waiting.setdefault(callback, deque()).append((run, self._now_s()))
        return False

    def left(self, callback: Callback) -> R | None:
        """A run has ended: the next one, which has its room and all of its time; None: nobody waits."""
        runs = self._waiting.get(callback)
        while runs:
            run, since_s = runs.popleft()
            if not runs:
                del self._waiting[callback]
            if not run.over:  # else it was cancelled while it waited
                run.context.deadline_ms += round((self._now_s() - since_s) * 1000)
                return run
        self._within[callback] -= 1
        if not self._within[callback]:
            del self._within[callback]
        return None

    def clear(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()
