"""
A machine whose states invoke jobs, for the tests of jobs, and a job that does not end when it should.
"""

from __future__ import annotations

import asyncio
from typing import Any

from event_center.engine.plan import EngineLimits
from event_center.plugins.job import JobContext
from tests.engine.machines import resting
from tests.engine.script import Script
from tests.engine.world import World

MACHINE = resting("""
data: {n: 0, result: null}
retries:
  default: {max_attempts: 3, interval: 1s, backoff_rate: 2}
states:
  idle: {on: {go: building, both: doubled, alone: quiet, first: prepared, retell: told}}
  building:
    invoke:
      do: build
      timeout: 10m
      heartbeat: 30s
      grace: 3s
      on_done: {target: idle, assign: {result: =payload}}
      on_error:
        - {target: idle, errors: TimeoutError, assign: {result: late}}
        - {target: broken, assign: {result: =payload.type}}
    on: {tick: {assign: {n: =data.n + 1}}, leave: idle, over: {target: building, reenter: true}}
  doubled: {invoke: [one, {do: two, on_done: idle}], on: {leave: idle, tick: {}}}
  quiet: {invoke: {do: mute, retry: none, timeout: 5s}, on: {leave: idle, tick: {}}}
  prepared: {entry: prepare, invoke: {do: after_it, on_done: idle}, on: {leave: idle}}
  told: {invoke: {do: tell, on_done: {target: idle, actions: note}}, on: {tick: {}}}
  broken: {on: {back: idle}}
""")
NAMES = ("build", "one", "two", "mute", "prepare", "after_it", "tell", "note")


def jobs_world(limits: EngineLimits | None = None, **functions: Any) -> World:
    """A world of the machine; callbacks that are not named return nothing."""
    known = {name: functions.get(name, Script()) for name in NAMES}
    return World((MACHINE, known), limits=limits, publishable=["outside"])


class Stubborn:
    """A job that does not care for its cancellation, for so long."""

    world: World

    def __init__(self, seconds: float, result: Any) -> None:
        self.seconds = seconds
        self.result = result
        self.calls = 0

    async def __call__(self, ctx: JobContext) -> Any:
        self.calls += 1
        if self.calls > 1:
            return "again"
        try:
            await self.world.rest(3600)
        except asyncio.CancelledError:
            await self.world.rest(self.seconds)
        return self.result
