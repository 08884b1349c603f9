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
from event_center.testing.simulation_scenery import chance_of

NOW = 1_767_225_600_000
"""The first moment of 2026, in ms, when every world begins: any would do, and tests know this one."""
NS_PER_MS = 1_000_000


class Mishap(NamedTuple):
    """What goes wrong with one call."""

    waits_s: float | None = None
    """How long it waits before it does anything; None: not at all."""
    hangs: bool = False
    """It does nothing until it is cancelled, or all faults stop."""
    blocks_s: float = 0.0
    """How long it blocks the event loop."""
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


class Effect(NamedTuple):
    """Something outside that a callback did, as a fake of it has noted."""

    callback: str
    key: str
    what: str


_KINDS = (
    (0.45, "none"),
    (0.75, "waits"),
    (0.78, "hangs"),
    (0.81, "blocks"),
    (0.92, "before"),
    (1.0, "after"),
)
"""What a roll means: the first whose limit is above it."""


def drawn(chance: Random, *, permanent: bool = True) -> Mishap:
    """A mishap, or none; errors that nothing is tried again after only if they are asked for."""
    roll = chance.random()
    kind = next(kind for limit, kind in _KINDS if roll < limit)
    if kind == "none":
        return NONE
    waits_s = chance.choice([0.0, 0.0, 0.01, 0.4, 2.0])
    if kind == "waits":
        return Mishap(waits_s=waits_s)
    if kind == "hangs":
        return Mishap(hangs=True)
    if kind == "blocks":
        return Mishap(blocks_s=chance.choice([0.1, 3.0]))
    errors: list[Exception] = [OSError("no answer"), RetryLater(1), RetryLater(0), ValueError("v")]
    if permanent:
        errors.append(PermanentError("never"))
    error = chance.choice(errors)
    if kind == "before":
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
    changed: str = ""
    """What it changed in its module, if no other call was under way; empty: nothing, or nobody knows."""


class Calls:
    """The calls of one world."""

    def __init__(
        self, seed: int, spared: Collection[str], *, loop: SimulationLoop, gently: bool = False
    ) -> None:
        self.calm = asyncio.Event()
        """Nothing goes wrong any more."""
        self.started: list[Started] = []
        self.ended: list[Called] = []
        """Those that returned, where it is looked at what a call does."""
        self.mishaps: dict[str, str] = {}
        """By the name of the call: what went wrong with it."""
        self._seed = seed
        self._spared = spared
        self._gently = gently
        """A call fails at most once, and never for good."""
        self._under_way = 0
        self._loop = loop
        self.effects: list[Effect] = []
        self._counts: dict[str, int] = {}
        self._stamp_ms = NOW

    def tick(self) -> int:
        """The clock of the log: it only rises, and no two looks see the same."""
        now_ms = NOW + round(self._loop.time() * 1000)
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
            mishap = drawn(chance_of(self._seed, name), permanent=not self._gently)
            if self._gently and number > 1 and (mishap.before or mishap.after or mishap.hangs):
                mishap = NONE
            if mishap is not NONE:
                self.mishaps[name] = str(mishap)
                await self._trouble(mishap)
        value, changed = await self._done(callback, ctx)
        if self._gently:
            self.ended.append(_called(name, callback, ctx, value)._replace(changed=changed))
        if mishap.after is not None:
            raise mishap.after
        return value

    async def _done(self, callback: Callback, ctx: Context) -> tuple[Any, str]:
        """What the callback returned, and what it changed in its module."""
        begun, alone = len(self.started), not self._under_way
        self._under_way += 1
        token = PRESENT.set((self, callback.name, ctx.idempotency_key))
        before = facts(callback) if self._gently else {}
        try:
            value = callback.call(ctx)
            if callback.is_async:
                value = await value
        finally:
            PRESENT.reset(token)
            self._under_way -= 1
        if not (self._gently and alone and begun == len(self.started)):
            return value, ""
        after = facts(callback)
        return value, ", ".join(name for name in after if after[name] != before.get(name))

    def chance(self, ctx: Context) -> Random:
        """The chance of the call that is under way, for callbacks that do as the seed says."""
        number = self._counts[ctx.idempotency_key]
        return chance_of(self._seed, f"{ctx.idempotency_key}#{number}/own")

    async def _trouble(self, mishap: Mishap) -> None:
        if mishap.blocks_s:
            self._loop.block(mishap.blocks_s)
        if mishap.hangs:
            await self.calm.wait()
        if mishap.waits_s is not None:
            await asyncio.sleep(mishap.waits_s)
        if mishap.before is not None:
            raise mishap.before


PRESENT: ContextVar[tuple[Calls, str, str] | None] = ContextVar("present", default=None)
"""The callback that is under way in a simulated world: its calls, its name, its key."""


def happened(what: str) -> None:
    """
    Note, in a fake of something outside, that an effect has happened: `happened("charged card 7")`.

    In a simulation one that happens twice under one idempotency key is told as not idempotent; outside of
    a simulation this does nothing. A fake that honours idempotency keys calls it once a key.
    """
    present = PRESENT.get()
    if present is not None:
        calls, callback, key = present
        calls.effects.append(Effect(callback, key, what))


PLAIN = (dict, list, set, int, float, str, bytes, tuple, type(None))


def facts(callback: Callback) -> dict[str, str]:
    """The plain data at the top of the module of a callback, as text."""
    module = getattr(callback.function, "__globals__", {})
    return {
        name: repr(value)
        for name, value in module.items()
        if isinstance(value, PLAIN) and not name.startswith("__")
    }


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
