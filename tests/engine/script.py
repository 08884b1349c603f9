"""
Callbacks that do what a test tells them to, and remember how they were called.

A `Script` stands for any callback of a machine: each call does its next step. Tests of the engine give
them to a `World` by the names that their machine uses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from event_center.plugins.context import Context


class Hold:
    """A step that waits until the test lets it go."""


HOLD = Hold()


class Script:
    """
    One callback; each call takes the next step, and after the last one returns nothing.

    A step is returned; raised, if it is an exception; called with the context, if it is a function.
    HOLD waits for `let_go` and does the step that is given there.
    """

    def __init__(self, *steps: Any) -> None:
        self.steps = deque(steps)
        self.calls: list[Context] = []
        self.cancelled = 0
        """How many calls were cancelled while they were held."""
        self._held: deque[asyncio.Future[Any]] = deque()

    async def __call__(self, ctx: Context) -> Any:
        self.calls.append(ctx)
        step = self.steps.popleft() if self.steps else None
        if step is HOLD:
            held = asyncio.get_running_loop().create_future()
            self._held.append(held)
            try:
                step = await held
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self._done(step, ctx)

    @staticmethod
    def _done(step: Any, ctx: Context) -> Any:
        if isinstance(step, BaseException):
            raise step
        return step(ctx) if callable(step) else step

    @property
    def keys(self) -> list[str]:
        """The idempotency keys of all calls."""
        return [ctx.idempotency_key for ctx in self.calls]

    @property
    def attempts(self) -> list[int]:
        """The attempts of all calls."""
        return [ctx.attempt for ctx in self.calls]

    @property
    def events(self) -> list[str]:
        """The names of the events that led to the calls."""
        return [ctx.event.name for ctx in self.calls]

    @property
    def held(self) -> int:
        """How many calls wait to be let go."""
        return sum(not held.done() for held in self._held)

    def let_go(self, step: Any = None) -> None:
        """Let the oldest call that is held go on, with this step."""
        while True:
            held = self._held.popleft()
            if not held.done():
                held.set_result(step)
                return


def emits(event: str, payload: Any = None, **to: Any) -> Callable[[Context], None]:
    """A step that emits an event."""

    def step(ctx: Context) -> None:
        ctx.emit(event, payload, **to)

    return step
