"""
Callbacks in a simulated world: what goes wrong with each call, and what each call did.

A call is known by its idempotency key and how many calls of that key came before it, and its mishap is
drawn from the seed and that name alone: what else happens in the world changes nothing of it. Plain
functions are called inline, for a thread would make every run another. `simulation_world` has one
`Calls` a world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextvars import ContextVar
from copy import copy
from random import Random
from typing import Any, NamedTuple

from event_center.errors import PermanentError, RetryLater
from event_center.plugins.context import Context
from event_center.plugins.registry import Bound
from event_center.plugins.signatures import Callback
from event_center.testing.audit_evidence import Started
from event_center.testing.simulation_loop import SimulationLoop

NOW = 1_767_225_600_000
"""The first moment of 2026, when every world begins."""
NS_PER_MS = 1_000_000


class Mishap(NamedTuple):
    """What goes wrong with one call."""

    waits_s: float | None = None
    """How long it waits before it does anything; None: not at all."""
    hangs: bool = False
    """It does nothing until it is cancelled, or all faults stop."""
    blocks_s: float = 0.0
    """How long it keeps the event loop."""
    before: Exception | None = None
    """Raised instead of the call."""
    after: Exception | None = None
    """Raised when the call is done: its work has happened, and nobody hears its result."""

    def __str__(self) -> str:
        said = [
            f"waits {self.waits_s} s" if self.waits_s is not None else "",
            "hangs" if self.hangs else "",
            f"blocks the event loop for {self.blocks_s} s" if self.blocks_s else "",
            f"raises {self.before!r} at once" if self.before else "",
            f"raises {self.after!r} when its work is done" if self.after else "",
        ]
        return ", ".join(one for one in said if one)


NONE = Mishap()


def drawn(chance: Random, *, permanent: bool = True) -> Mishap:
    """A mishap, or none; errors that nothing is tried again after only if they are asked for."""
    roll = chance.random()
    if roll < 0.45:
        return NONE
    waits_s = chance.choice([0.0, 0.0, 0.01, 0.4, 2.0])
    if roll < 0.75:
        return Mishap(waits_s=waits_s)
    if roll < 0.78:
        return Mishap(hangs=True)
    if roll < 0.81:
        return Mishap(blocks_s=chance.choice([0.1, 3.0]))
    errors: list[Exception] = [OSError("no answer"), RetryLater(1), RetryLater(0), ValueError("v")]
    if permanent:
        errors.append(PermanentError("never"))
    error = chance.choice(errors)
    if roll < 0.92:
        return Mishap(waits_s=waits_s, before=error)
    return Mishap(waits_s=waits_s, after=error)


class Called(NamedTuple):
    """One call that returned."""

    name: str
    """The key and the number of the call."""
    callback: str
    key: str
    asked: tuple[str, str, str]
    """State, event and data that it was called with, as text."""
    answered: str
    """What it returned, emitted and published, as text."""


class Calls:
    """The calls of one world."""

    def __init__(self, seed: int, spared: Collection[str], *, permanent: bool = True) -> None:
        self.calm = asyncio.Event()
        """Nothing goes wrong any more."""
        self.started: list[Started] = []
        self.ended: list[Called] = []
        self.mishaps: dict[str, str] = {}
        """By the name of the call: what went wrong with it."""
        self._seed = seed
        self._spared = spared
        self._permanent = permanent
        self._counts: dict[str, int] = {}
        self._stamp_ms = NOW

    def tick(self) -> int:
        """The clock of the log: it only rises, and no two looks see the same."""
        now_ms = NOW + round(asyncio.get_running_loop().time() * 1000)
        self._stamp_ms = max(self._stamp_ms + 1, now_ms)
        return self._stamp_ms

    async def call(self, callback: Callback, ctx: Context) -> Any:
        """Call a callback, with its mishap."""
        key = ctx.idempotency_key
        number = self._counts[key] = self._counts.get(key, 0) + 1
        time_ns = self.tick() * NS_PER_MS
        self.started.append(Started(ctx.workflow_id, callback.name, key, ctx.attempt, time_ns))
        name = f"{key}#{number}"
        mishap = NONE
        if not self.calm.is_set() and name not in self._spared:
            mishap = drawn(Random(f"{self._seed}/{name}"), permanent=self._permanent)
            if mishap is not NONE:
                self.mishaps[name] = str(mishap)
                await self._trouble(mishap)
        value = callback.call(ctx)
        if callback.is_async:
            value = await value
        self.ended.append(_called(name, callback, ctx, value))
        if mishap.after is not None:
            raise mishap.after
        return value

    def chance(self, ctx: Context) -> Random:
        """The chance of the call that is under way, for callbacks that do as the seed says."""
        number = self._counts[ctx.idempotency_key]
        return Random(f"{self._seed}/{ctx.idempotency_key}#{number}/own")

    async def _trouble(self, mishap: Mishap) -> None:
        if mishap.blocks_s:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SimulationLoop)  # noqa: S101 - calls happen in a world
            loop.block(mishap.blocks_s)
        if mishap.hangs:
            await self.calm.wait()
        if mishap.waits_s is not None:
            await asyncio.sleep(mishap.waits_s)
        if mishap.before is not None:
            raise mishap.before


CALLS: ContextVar[Calls] = ContextVar("calls")
"""The calls of the world that an asyncio task belongs to."""


def _called(name: str, callback: Callback, ctx: Context, value: Any) -> Called:
    asked = ctx.state, f"{ctx.event.name} {ctx.event.payload!r}", repr(ctx.data)
    answered = f"{value!r} {ctx.emitted!r} {ctx.published!r}"
    return Called(name, callback.name, ctx.idempotency_key, asked, answered)


def simulated(bound: Bound) -> Bound:
    """The same machine, whose callbacks go through the calls of the world that they run in."""
    callbacks = {name: _simulated(one) for name, one in bound.callbacks.items()}
    return Bound(bound.machine, callbacks, bound.lifespans, bound.warnings)


def _simulated(callback: Callback) -> Callback:
    made = copy(callback)
    made.is_async = True
    made.call = lambda ctx: CALLS.get().call(callback, ctx)
    reconcile = callback.reconcile
    if reconcile is not None and not reconcile.is_async:
        made.reconcile = _inline(reconcile)
    return made


def _inline(callback: Callback) -> Callback:
    made = copy(callback)
    made.is_async = True

    async def call(ctx: Context) -> Any:
        return callback.call(ctx)

    made.call = call
    return made
