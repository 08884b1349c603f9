"""
A day of one center on a log in memory, on which everything waits that can wait, and refuses once.

Everything on a machine may die at any moment of the day: `Day.die` is a power cut. The day goes on with
a new process, and at its end every event must have counted once. Time is virtual.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Self

import anyio

from event_center.engine.plan import EngineLimits
from event_center.errors import LogUnavailable
from event_center.log.memory import Ending
from event_center.plugins.callbacks import callbacks
from event_center.plugins.context import Context
from event_center.plugins.listening import Notice, listeners_of
from tests.engine.world import Process, World
from tests.waiting import turns

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
data: {n: 0, rings: 0}
retries:
  default: {max_attempts: 20, interval: 100ms, backoff_rate: 1}
on:
  add: {assign: {n: =data.n + 1}, actions: look}
unhandled: defer
states:
  idle: {on: {go: busy}}
  busy:
    entry: [{do: work, timeout: 2s}, {do: more, eager: true}]
    on_done: resting
    on: {done: resting}
  resting:
    after: {1s: {target: idle, assign: {rings: =data.rings + 1}}}
"""
WORKFLOWS = 4
ADDS = 3


class Day:
    """The world, and who lives in it at the moment."""

    def __init__(self) -> None:
        functions = {"work": self._work, "more": self._more, "look": self._look}
        limits = EngineLimits(grace_s=0.5, cut_records=8, callbacks=3)
        self.world = World((MACHINE, functions), shards=2, limits=limits)
        listening = callbacks("*")
        listening.on_transition(self._listen)
        self.world.plan = replace(self.world.plan, listeners=listeners_of([listening]))
        self.deaths = 0
        self._every: list[Process] = []
        self._works = 0
        self._answered = True

    async def _work(self, ctx: Context) -> None:
        """One fails, all take their time, and as long as nobody answers some take too much."""
        self._works += 1
        if self._works == 3:
            raise ConnectionError("nobody answers")
        await self.world.rest(0.05 if self._answered else 600)

    async def _more(self, ctx: Context) -> None:
        await turns(2)

    async def _look(self, ctx: Context) -> None:
        await turns(3)

    async def _listen(self, notice: Notice) -> None:
        """So slow that an orderly stop finds notices that nobody has heard yet."""
        await self.world.rest(0.05)

    async def __aenter__(self) -> Self:
        self.world.faults.on_await = self._others_come_between
        await self.world.__aenter__()
        self._every += self.world.processes
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.world.__aexit__(*ended)  # type: ignore[arg-type]  # what `async with` gives

    @staticmethod
    async def _others_come_between(place: str) -> None:
        await turns(2)

    def die(self) -> None:
        """A power cut: whatever runs on this machine is gone."""
        self.deaths += 1
        self.world.processes.clear()
        for process in self._every:
            process.crash()

    async def live(self) -> None:
        """Go through the day, with trouble, a second process, an orderly stop, and an end in peace."""
        world, faults = self.world, self.world.faults
        refused = LogUnavailable("the log in memory is asked to refuse: ask again")
        for orderly in (False, True):
            for place in ("lease", "watermarks", "fetch", "topics", "join"):
                faults.troubles[place] = deque([refused])
            self._publish()
            await world.rest(0.04)
            faults.commits += [Ending.NOT_COMMITTED, Ending.WRITTEN]
            await self._go_on(1.5)
            self._start()
            await self._go_on(0.5)
            self._publish()
            await world.rest(0.03)
            if orderly:
                self._answered = False
                await self._go_on(2)
            else:
                faults.troubles["leave"] = deque([refused])
                faults.commits += [Ending.NOT_COMMITTED, Ending.LOST]
            await self._stop()
            self._answered = True
            self._start()
            await self._go_on(2)
        faults.commits.clear()
        faults.troubles.clear()
        await self._go_on(12)
        await world.idle()

    def _publish(self) -> None:
        for number in range(WORKFLOWS):
            self.world.send(f"w{number}", "go")
            for _ in range(ADDS):
                self.world.send(f"w{number}", "add")

    def _start(self) -> None:
        process = Process(self.world, self.world.plan)
        process.log.cut_distance_s = 0.01
        self.world.processes.append(process)
        self._every.append(process)
        self.world._tasks.start_soon(self._run, process)

    @staticmethod
    async def _run(process: Process) -> None:
        await process.run(task_status=anyio.TASK_STATUS_IGNORED)

    async def _stop(self) -> None:
        """Stop all processes, side by side; one that could not leave its group is missed later."""
        stopping = list(self.world.processes)
        self.world.processes.clear()
        async with anyio.create_task_group() as tasks:
            for process in stopping:
                tasks.start_soon(process.member.stop)
        await self.world.rest(0.1)
        for process in stopping:
            process.crash()

    async def _go_on(self, seconds: float) -> None:
        """Let time pass; after a power cut somebody starts the center again."""
        for _ in range(round(seconds * 50)):
            await self.world.rest(0.02)
            if not self.world.processes:
                self._start()
