"""
One life of the engine in a test: from a start to a stop or a crash.

It has an asyncio task of its own, and holds the lifespans of plugins open. `TestCenter` has one life
after another on the same log.
"""

from __future__ import annotations

import asyncio

import anyio

from event_center.app.center import first_of, plugins_open
from event_center.engine.member import Member
from event_center.engine.plan import Plan
from event_center.log.memory import MemoryLog


class Lifetime:
    """The engine, as a process of its own would have it."""

    def __init__(self, log: MemoryLog, plan: Plan) -> None:
        self.log = log
        self.member = Member(log, plan)
        self._plan = plan
        self._stopping = asyncio.Event()
        self._serving = asyncio.Event()
        """It serves, or it has ended before it did."""
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start, and return when the member is in its group; raises what kept it from that."""
        # A fixture is entered and left by different asyncio tasks, which no task group survives.
        self.task = asyncio.get_running_loop().create_task(self._live(), name="test center")
        self.task.add_done_callback(lambda _: self._serving.set())
        await self._serving.wait()
        self.check()

    async def _live(self) -> None:
        async with plugins_open(self._plan), anyio.create_task_group() as tasks:
            await tasks.start(self.member.run, name="member")
            self._serving.set()
            await self._stopping.wait()
            await self.member.stop()
            tasks.cancel_scope.cancel()

    def check(self) -> None:
        """Raise what ended the engine, if an error did."""
        task = self.task
        if task is not None and task.done() and not task.cancelled():
            error = task.exception()
            if error is not None:
                raise first_of(error)

    async def stop(self) -> None:
        """Stop as a daemon does that is asked to."""
        self._stopping.set()
        await self.ended()
        self.check()

    def crash(self) -> None:
        """Die as after kill -9: nothing is released, nothing is cut."""
        self.log.crash()
        if self.task is not None:
            self.task.cancel()

    async def ended(self) -> None:
        """Return when nothing of it is left."""
        if self.task is not None:
            await asyncio.wait({self.task})
