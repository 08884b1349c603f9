"""
A simulated world: processes of the real engine on one log in memory, to which a schedule happens.

Nothing in it is real: time is the event loop's, a process is what runs under one context, and the log
fails as it is told to. After every cut the memory of the shard is compared with a fresh restore. When
the schedule is over everything that is broken is mended, and the world must come to rest by itself
(promise P8). `simulation` plays one world for each seed, and audits what is left of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import anyio.abc

from event_center.engine.plan import Plan
from event_center.engine.shard import Owner
from event_center.engine.timekeeping import GLANCE_S
from event_center.errors import Fenced, LogUnavailable
from event_center.failpoint import Step
from event_center.log.memory import Ending
from event_center.model import Outgoing
from event_center.testing.audit_evidence import Promise, Violation
from event_center.testing.simulation_calls import Calls
from event_center.testing.simulation_evidence import spoils, stopped_in
from event_center.testing.simulation_loop import PROCESS, SimulationLoop
from event_center.testing.simulation_mirror import Mirror
from event_center.testing.simulation_process import Process
from event_center.testing.simulation_scenery import Scenery
from event_center.testing.simulation_schedule import Happening, Schedule, What
from event_center.wire.command import Command, Verb

REST_S = 900.0
"""How long, by the event loop's clock, a world may take to come to rest: every timeout is over by then."""
LOOK_S = 0.1
"""How often a world is looked at while it comes to rest: virtual time costs nothing."""
MAX_ROUNDS = 12
"""Rounds in which an operator sets stopped workflows going at the end: some stop again."""
MOST = 4
"""Processes that run at once: with two shards, some that have nothing to do are among them."""
AGAIN_S = 0.5
"""How long nobody is there after the last process died, before somebody starts one."""
SLOWLY_S = (0.0, 0.01, 0.3, 2.0)
"""How long the log takes for what it is asked, now and then."""
SLOW = 0.03
"""The share of what the log is asked that takes longer: with more of it nothing else happens."""
KILLED = 0.3
"""The share of processes that an upgrade kills, because not every deploy waits."""


class World:
    """Processes on one log, and everything that happens to them."""

    def __init__(
        self, scenery: Scenery, calls: Calls, chance: Random, tasks: anyio.abc.TaskGroup
    ) -> None:
        self.broker = scenery.broker()
        self.broker.faults.on_await = self._at
        self.processes: list[Process] = []
        self.violations: list[Violation] = []
        """What went wrong in memory; the audit says what went wrong in the log."""
        self.lines: list[object] = []
        """What happened, as it came about: texts, and what becomes one when somebody reads it."""
        self.set_back_ms = 0
        """How far clocks were set back in all."""
        self.calm = False
        """Nothing goes wrong any more."""
        self._scenery = scenery
        self._shards = scenery.plans[0].home.shards
        self._calls = calls
        self._chance = chance
        self._tasks = tasks
        self._version = 0
        self._limits: dict[str, Any] = {}
        """Limits that were changed since."""
        self._ahead_ms = 0
        """How far the clocks of new processes are ahead: at first they are right."""
        self._mirror = Mirror(self.broker)
        self._started = 0
        self._commands = 0
        self._context = copy_context()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulationLoop)  # noqa: S101 - `simulation` runs worlds on one
        self._loop = loop
        self._deeds: dict[What, Callable[..., None]] = {
            What.PUBLISH: self._publish,
            What.COMMAND: self._command,
            What.KILL: self._kill,
            What.STOP: self._stop,
            What.START: self._start,
            What.STALL: self._stall,
            What.EXPEL: self._expel,
            What.COMMIT: self._commit,
            What.REPEAT: self._repeat,
            What.TROUBLE: self._trouble,
            What.SLOW: self._slow,
            What.SPOIL: self._spoil,
            What.CLOCK: self._clock,
            What.UPGRADE: self._upgrade,
            What.ROLL: self._roll,
            What.CONFIGURE: self._configure,
        }

    @property
    def plan(self) -> Plan:
        """What processes that start now work with."""
        plan = self._scenery.plans[self._version]
        return replace(plan, limits=replace(plan.limits, **self._limits))

    @property
    def cuts(self) -> int:
        """Cuts of which memory was compared with what they would restore."""
        return self._mirror.cuts

    # -- life ----------------------------------------------------------------------------------

    async def play(self, schedule: Schedule) -> int:
        """Let all of it happen, then come to rest; returns when that was, by the log's clock."""
        begun = self._loop.time()
        self._start()
        for one in sorted(schedule, key=lambda one: one.at_ms):
            await asyncio.sleep(max(0.0, begun + one.at_ms / 1000 - self._loop.time()))
            self._happen(one)
        self._mend()
        await self._rest()
        self.broker.faults.spoiled = None  # until here: who spoils its cuts has to be found
        await self._release()
        await asyncio.sleep(2 * GLANCE_S)  # clocks that were set on have been looked at by then
        await self._rest()
        self._otherwise([story for one in self._living() for story in self._mirror.at_rest(one)])
        return self._calls.tick() + self._ahead_ms

    def _happen(self, one: Happening) -> None:
        self.lines.append(one)
        self._deeds[one.what](**one.told)

    def _note(self, what: str) -> None:
        self.lines.append(f"{self._loop.time() - 1_000:7.3f} s  {what}")

    def _living(self) -> list[Process]:
        return [process for process in self.processes if process.lives]

    def _one(self, number: int) -> Process | None:
        living = self._living()
        return living[number % len(living)] if living else None

    def _start(self) -> None:
        if len(self._living()) >= MOST:
            return
        self._started += 1
        process = Process(
            self._started, self.plan, self.broker, self._calls, failed=self._process_failed
        )
        process.ahead_ms = self._ahead_ms
        self.processes.append(process)
        self._note(f"process {process.number} starts")
        self._tasks.start_soon(self._live, process)

    async def _live(self, process: Process) -> None:
        await process.run()
        self._later(AGAIN_S, self._somebody)

    def _later(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        """Of the world, whoever asks: it happens also while that process stands still."""
        self._loop.call_later(seconds, what, *args, context=self._context)

    def _somebody(self) -> None:
        """Whoever runs the processes starts one when there is none."""
        if not self._living():
            self._start()

    def _process_failed(self, process: Process, group: BaseExceptionGroup[BaseException]) -> None:
        """An error came out of the engine: nothing that happens here is a reason for one."""
        errors: list[BaseException] = [group]
        while isinstance(errors[0], BaseExceptionGroup):
            errors = [*errors[0].exceptions, *errors[1:]]
        story = f"process {process.number} ended with {errors[0]!r}"
        self._note(story)
        self.violations.append(Violation(Promise.QUIET, "", story))
        process.log.crash()

    # -- what happens --------------------------------------------------------------------------

    def _publish(self, topic: str, value: str, key: str | None, partition: int | None) -> None:
        raw = None if key is None else key.encode()
        outgoing = Outgoing(topic, raw, value.encode(), (), partition)
        self.broker.append([outgoing], self._calls.tick())
        self.broker.members.ring()

    def _command(self, id: str, verb: str, workflow_id: str, args: dict[str, Any]) -> None:  # noqa: A002 - the word of the domain
        asked = Command(id, Verb(verb), workflow_id, by="chance", reason="simulated", args=args)
        topic = self._scenery.plans[0].topics.commands
        self._publish(topic, asked.encode().decode(), workflow_id, None)

    def _kill(self, process: int, steps: int) -> None:
        victim = self._one(process)
        if victim is not None:
            self._loop.doom(victim, steps, lambda: self._died(victim))

    def _died(self, victim: Process) -> None:
        self._note(f"process {victim.number} is dead")
        victim.dead = True
        victim.log.crash()
        self._later(AGAIN_S, self._somebody)

    def _stop(self, process: int) -> None:
        leaving = self._one(process)
        if leaving is not None:
            self._tasks.start_soon(leaving.stop)

    def _stall(self, process: int, seconds: float, session_s: float) -> None:
        stalled = self._one(process)
        if stalled is None or stalled.still:
            return
        self._loop.stop_still(stalled)
        stalled.still = True
        if session_s < seconds:
            self._later(session_s, self._throw_out, stalled)
        self._later(seconds, self._wake, stalled)

    def _wake(self, stalled: Process) -> None:
        if stalled.still and stalled.lives:
            self._note(f"process {stalled.number} goes on")
            stalled.still = False
            self._loop.go_on(stalled)
            self._readmit(stalled)

    def _throw_out(self, process: Process) -> None:
        if process.lives and not (process.expelled or self.calm):
            self._note(f"process {process.number} loses its shards")
            process.expelled = True
            process.log.expel()

    def _readmit(self, process: Process) -> None:
        if process.lives and process.expelled:
            process.expelled = False
            process.log.readmit()

    def _expel(self, process: int, seconds: float) -> None:
        expelled = self._one(process)
        if expelled is not None and not expelled.still:
            self._throw_out(expelled)
            self._later(seconds, self._readmit, expelled)

    def _commit(self, ending: str, after: int) -> None:
        self.broker.faults.commits.extend([*[None] * after, Ending(ending)])

    def _repeat(self) -> None:
        self.broker.faults.repeats += 1

    def _trouble(self, place: str) -> None:
        error = LogUnavailable(f"the log does not answer at {place}, as the schedule says")
        self.broker.faults.troubles.setdefault(place, deque()).append(error)

    def _slow(self, delay_s: float, seconds: float) -> None:
        self.broker.faults.fetch_delay_s = delay_s
        self._later(seconds, self._quick)

    def _quick(self) -> None:
        self.broker.faults.fetch_delay_s = 0.0

    def _spoil(self, workflow_id: str, state: str) -> None:
        self.broker.faults.spoiled = partial(spoils, workflow_id, state)

    def _clock(self, process: int, seconds: float) -> None:
        stepped = self._one(process)
        if stepped is not None:
            stepped.ahead_ms += round(seconds * 1000)
            self.set_back_ms += max(0, round(-seconds * 1000))

    def _upgrade(self) -> None:
        self._version = min(self._version + 1, len(self._scenery.plans) - 1)
        for process in self._living():
            self._end(process)
        self._later(AGAIN_S, self._start)

    def _roll(self, process: int, version: int) -> None:
        self._version = min(version, len(self._scenery.plans)) - 1
        self._replace(process)

    def _configure(self, process: int, limits: dict[str, Any]) -> None:
        self._limits |= limits
        self._replace(process)

    def _replace(self, number: int) -> None:
        """One goes, and a new one comes; what the others do not know yet it does."""
        process = self._one(number)
        if process is not None:
            self._end(process)
        self._later(AGAIN_S, self._start)

    def _end(self, process: Process) -> None:
        """A deploy ends a process: gracefully, if it waits for that."""
        if process.still or self._chance.random() < KILLED:
            self._loop.doom(process, 0, partial(self._died, process))
            if process.still:
                self._died(process)
        else:
            self._tasks.start_soon(process.stop)

    async def _at(self, place: str) -> None:
        """Wherever the log could let others come between, it does so now and then."""
        roll = self._chance.random()
        if roll < SLOW:
            await asyncio.sleep(self._chance.choice(SLOWLY_S))
        elif place == "commit.begun":
            await asyncio.sleep(0)

    # -- rest ----------------------------------------------------------------------------------

    def make_calm(self) -> None:
        """From now on nothing goes wrong with calls, nor is the log ever slow."""
        self.calm = True
        self._calls.calm.set()
        self.broker.faults.on_await = None

    def _mend(self) -> None:
        """Nothing goes wrong any more, and what is broken is mended."""
        self._note("all faults stop")
        self.make_calm()
        self._loop.spare()
        faults = self.broker.faults
        faults.repeats, faults.fetch_delay_s = 0, 0.0
        faults.commits.clear()
        faults.troubles.clear()
        self._ahead_ms = max(process.ahead_ms for process in self.processes)
        for process in self._living():
            self._wake(process)
            self._readmit(process)
            process.ahead_ms = self._ahead_ms
        if self._limits.pop("waiting_bytes", None) is not None:
            self._lift()
        self._somebody()

    def _lift(self) -> None:
        """What an operator does about a shard whose intake pauses: nothing else would end that."""
        self._note("the limit of waiting_bytes is lifted")
        for process in self._living():
            self._tasks.start_soon(process.stop)
        self._later(AGAIN_S, self._start)

    async def _rest(self) -> None:
        """Wait until everything is decided and durable, and nothing runs or waits for its retry."""
        limit = self._loop.time() + REST_S
        while not await self._quiet():
            if self._loop.time() > limit:
                story = f"the world does not come to rest within {REST_S:g} s: {self._unrest()}"
                self.violations.append(Violation(Promise.QUIET, "", story))
                return
            await asyncio.sleep(LOOK_S)

    def _serving(self) -> list[Owner]:
        owners = [owner for one in self._living() for owner in one.member.owners.values()]
        return [owner for owner in owners if owner.ready]

    async def _quiet(self) -> bool:
        owners = self._serving()
        if len(owners) != self._shards:
            return False
        try:
            return all([await owner.quiet() for owner in owners])
        except Fenced:
            return False

    def _unrest(self) -> str:
        told = [f"shard {one.shard}: {one.totals()}, lag {one.lag}" for one in self._serving()]
        said = [str(one) for process in self._living() for one in process.member.reached()]
        return "; ".join([*told, *said]) or "no shard is served"

    async def _release(self) -> None:
        """What an operator does in the end: whatever is stopped goes on, or is passed over."""
        for _ in range(MAX_ROUNDS):
            stopped = stopped_in(self.broker, self._shards)
            if not stopped or self.violations:
                return
            for workflow_id in stopped:
                for verb in ("resume", "skip"):
                    self._commands += 1
                    self._command(f"end-{self._commands}", verb, workflow_id, {})
            await self._rest()

    # -- what must hold ------------------------------------------------------------------------

    def reached(self, step: Step) -> None:
        """Memory is what the cut that has just become durable would restore (promise P5)."""
        if step is Step.LOG_WRITTEN and not self.violations:
            self._otherwise(self._mirror.looked_at(PROCESS.get()))

    def _otherwise(self, found: list[str]) -> None:
        self.violations += [Violation(Promise.WHOLE_CUTS, "", story) for story in found]
