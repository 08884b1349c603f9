"""
The simulation: the real engine on a log in memory, under virtual time, with faults that a seed decides.

`play` lets one schedule happen to one world and audits what is left of it; the same seed gives the same
trace, byte for byte. A seed that breaks a promise is made short by `simulation_shrinking`, and is told
as a story. `simulation_world` says what a world is, `simulation_schedule` what can happen in it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import structlog

from event_center import failpoint
from event_center.errors import Standstill
from event_center.testing.audit import find_violations
from event_center.testing.audit_evidence import Evidence, Promise, Started, Violation
from event_center.testing.simulation_calls import Called, Calls, Effect
from event_center.testing.simulation_evidence import read_memory
from event_center.testing.simulation_loop import SimulationLoop
from event_center.testing.simulation_scenery import Scenery, chance_of
from event_center.testing.simulation_schedule import Schedule
from event_center.testing.simulation_world import World


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """One world, when all is over."""

    seed: int
    schedule: Schedule
    spared: frozenset[str]
    """Calls that nothing goes wrong with, whatever the seed says."""
    violations: list[Violation]
    evidence: Evidence
    started: list[Started]
    ended: list[Called]
    effects: list[Effect]
    """What fakes of the outside have noted."""
    mishaps: Mapping[str, str]
    """What went wrong with calls, by their names."""
    lines: list[object]
    """What happened, as it came about."""
    compared: int
    """Cuts of which memory was compared with a fresh restore."""
    steps: int
    """Steps of the event loop."""

    def trace(self) -> str:
        """All that happened and all that is durable; of the same seed always the same."""
        cuts = [
            f"cut {cut.number} shard {cut.shard} epoch {cut.epoch} at {cut.at_ms}"
            f" {_digest(cut.entries)} {cut.records} {dict(cut.offsets)}"
            for cut in self.evidence.cuts
        ]
        records = [f"{place} {_digest(line)}" for place, line in self.evidence.records.items()]
        calls = [str(one) for one in self.started]
        return "\n".join(
            [*map(str, self.lines), *calls, *cuts, *records, *map(str, self.violations)]
        )


def _digest(what: object) -> str:
    return f"{zlib.crc32(repr(what).encode()):08x}"


def play(
    seed: int,
    scenery: Scenery,
    schedule: Schedule | None = None,
    spared: Collection[str] = frozenset(),
    *,
    calm: bool = False,
) -> Played:
    """
    Let a schedule happen, by default the one of the seed, and find out what was broken.

    Args:
        seed: decides everything that is left to chance.
        scenery: machines, callbacks, and what may happen to them.
        schedule: another one than the seed's.
        spared: calls that nothing goes wrong with.
        calm: nothing goes wrong with any call, and the log is never slow.
    """
    planned = scenery.schedule(seed) if schedule is None else schedule
    scenery.begin()
    loop = SimulationLoop()
    stage = _Stage(seed, scenery, spared, loop=loop, calm=calm)
    loop.set_exception_handler(stage.note)
    try:
        with _undisturbed():
            loop.run_until_complete(stage.run(loop, planned))
    except Standstill as error:
        stage.end(0)
        stage.violations.append(Violation(Promise.QUIET, "", str(error)))
    finally:
        failpoint.install(None)
        loop.close()
    world, calls = stage.world, stage.calls
    return Played(
        seed=seed,
        schedule=planned,
        spared=frozenset(spared),
        violations=stage.violations,
        evidence=stage.evidence,
        started=calls.started,
        ended=calls.ended,
        effects=calls.effects,
        mishaps=calls.mishaps,
        lines=world.lines,
        compared=world.cuts,
        steps=loop.steps,
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """
    A world says nothing to the log of this process, for what happens in it is not real; nor is it
    disturbed by the garbage collector, whose moment no seed decides.
    """
    collects = gc.isenabled()
    gc.disable()
    former = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**former)
        if collects:
            gc.enable()


class _Stage:
    """Where one world is played, and what is kept of it."""

    world: World
    evidence: Evidence

    def __init__(
        self,
        seed: int,
        scenery: Scenery,
        spared: Collection[str],
        *,
        loop: SimulationLoop,
        calm: bool,
    ) -> None:
        self.violations: list[Violation] = []
        self.calls = Calls(seed, spared, loop=loop, gently=scenery.gently)
        self._seed = seed
        self._scenery = scenery
        self._calm = calm
        self._over = False

    async def run(self, loop: SimulationLoop, schedule: Schedule) -> None:
        async with anyio.create_task_group() as tasks:
            world = World(self._scenery, self.calls, chance_of(self._seed, "log"), tasks)
            self.world = world
            failpoint.install(world.reached)
            if self._calm:
                world.make_calm()
            idle_ms = await world.play(schedule)
            failpoint.install(None)
            self.end(0 if world.violations else idle_ms)
            loop.everybody_goes_on()
            tasks.cancel_scope.cancel()

    def end(self, idle_ms: int) -> None:
        """The world is over: what is durable now is what is looked at."""
        self._over = True
        world = self.world
        self.violations += world.violations
        self.evidence = read_memory(
            world.broker,
            app=world.plan.app,
            consumed=world.plan.consumed(),
            idle_ms=idle_ms,
            set_back_ms=world.set_back_ms,
        )
        self.violations += find_violations(
            self.evidence, self._scenery.machines, self.calls.started, self._scenery.readers
        )

    def note(self, _loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        """An error that the event loop was told of, because nobody else could be."""
        error = told.get("exception")
        if not self._over and error is not None:
            story = f"nobody heard of {error!r}: {told.get('message')}"
            self.violations.append(Violation(Promise.QUIET, "", story))
