"""
One process of a simulated world: a log of its own on the shared broker, a clock, and a member.

Whatever it starts has its context, so that the loop can make all of it stand still or die. It never
dies by itself: an error that comes out of the engine is told to the world, which takes it for broken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio

from event_center.engine.member import Member
from event_center.engine.plan import Plan
from event_center.engine.shard import Owner
from event_center.log.memory import MemoryBroker, MemoryLog
from event_center.model import Shard
from event_center.testing.simulation_calls import CALLS, Calls
from event_center.testing.simulation_loop import PROCESS


class Process:
    """One process, from its start to its end."""

    def __init__(
        self,
        number: int,
        plan: Plan,
        broker: MemoryBroker,
        calls: Calls,
        *,
        failed: Callable[[Process, BaseExceptionGroup[BaseException]], None],
    ) -> None:
        self.number = number
        self.ahead_ms = 0
        """How far its clock is ahead of the log's."""
        self.dead = False
        self.over = False
        """It has stopped, or failed."""
        self.still = False
        self.expelled = False
        self._calls = calls
        self._failed = failed
        self.log = MemoryLog(broker, clock=calls.tick)
        self.plan = replace(plan, clock=self.clock)
        self.member = Member(self.log, self.plan, watches=False)

    @property
    def lives(self) -> bool:
        """Whether it may still do something."""
        return not (self.dead or self.over)

    def clock(self) -> int:
        """The wall clock of this process."""
        return self._calls.tick() + self.ahead_ms

    async def run(self) -> None:
        """Run the member until it stops, or the world ends."""
        self._enter()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.member.run)
        except BaseExceptionGroup as group:
            self._failed(self, group)
        finally:
            self.over = True

    async def stop(self) -> None:
        """Stop gracefully, as on SIGTERM."""
        self._enter()
        await self.member.stop()

    def _enter(self) -> None:
        PROCESS.set(self)
        CALLS.set(self._calls)

    def owner(self, shard: Shard) -> Owner | None:
        """What the process has of a shard."""
        return self.member.owners.get(shard)
