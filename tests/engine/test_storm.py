"""
Storms: random events, failures, commands, crashes and faults, one seed each.

After every cut the world compares memory with a fresh restore, and at the end it audits the log; here
the storm must also end: everything is decided once the faults stop (promise P8).
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.errors import PermanentError, RetryLater
from event_center.failpoint import Step
from event_center.log.memory import Ending
from event_center.model import Event
from event_center.plugins.context import Context
from tests.engine.world import World

MACHINE = """
machine: storm
version: 1
initial: a
perpetual: true
data: {n: 0, log: null}
{extra}
retries:
  default: {max_attempts: 2, interval: 300ms}
on: {end: over, jump: {target: c, actions: act}, add: {assign: {n: =data.n + payload.n}}}
states:
  a:
    exit: leave
    on: {go: b, wild: {target: b, guard: =payload.yes}}
    unhandled: defer
    after: {3s: {actions: act, repeat: true}}
  b:
    entry: [work, {do: more, eager: true}]
    on:
      done: {target: a, assign: {log: =payload}}
      again: {target: b, reenter: true}
      twice: {actions: act}
    after: {5s: c, 1s: {repeat: true}}
    on_done: c
    on_error: {target: c, actions: act}
  c:
    entry: {do: work, retry: none}
    on: {back: a, wild: {guard: =payload.yes, target: a}}
    unhandled: {unhandled}
  over: {type: final}
"""
VARIANTS = [
    ("on_failure: park", "reject"),
    ("on_failure: dead_letter", "defer"),
    ("on_error: {target: a, guard: =payload.attempt > 1}", "dead_letter"),
    ("on_failure: dead_letter\non_error: {actions: act}", "ignore"),
]
EVENTS = ("go", "wild", "jump", "add", "back", "done", "again", "twice", "unheard")
ODD = ("pause", "resume", "retry", "skip", "set-state", "discard", "replay", "cancel")


SEEDS = 6


class Weather:
    """Callbacks and an outside world that do everything by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.calm = False

    async def callback(self, ctx: Context) -> Any:
        """Wait or not, fail or not, emit or not, return or not."""
        roll = self.chance.random()
        for threshold in (0.5, 0.3):
            if roll < threshold:
                await asyncio.sleep(self.chance.choice([0.0, 0.01, 0.5, 2.0]))
        if not self.calm and self.chance.random() < 0.3:
            raise self.chance.choice(
                [ValueError("v"), PermanentError("p"), RetryLater(1), RetryLater(0), OSError("o")]
            )
        if not self.calm and self.chance.random() < 0.2:
            ctx.emit("add", {"n": 0}, workflow_id=f"w{self.chance.randrange(4)}")
        returned = [None, None, "done", "back", "twice", Event("done", {"by": ctx.workflow_id}), 5]
        return None if self.calm else self.chance.choice(returned)

    def some_events(self, world: World) -> None:
        """A handful of events; some with ids, some poisonous, some to the wrong partition."""
        for _ in range(self.chance.randrange(6)):
            payload = self.chance.choice([{"n": 1, "yes": True}, {"yes": False}, None])
            world.send(
                f"w{self.chance.randrange(4)}",
                self.chance.choice(EVENTS),
                payload,
                id=self.chance.choice([None, None, f"e{self.chance.randrange(30)}"]),
                partition=self.chance.choice([None, None, None, 0]),
            )
        if self.chance.random() < 0.1:
            world.put(b"poison")

    def some_command(self, world: World) -> None:
        """Any command, fitting or not."""
        verb = self.chance.choice(ODD)
        args: dict[str, Any] = {"reason": "storm"}
        if verb == "set-state":
            args["state"] = self.chance.choice(["a", "b", "c", "over", "nowhere"])
        elif verb in {"replay", "discard"}:
            args |= {"number": self.chance.randrange(3), "event": "add", "payload": {"n": 1}}
        if verb != "cancel" or self.chance.random() < 0.2:
            world.command(verb, f"w{self.chance.randrange(4)}", **args)

    async def some_trouble(self, world: World) -> None:
        """A crash, a rebalance, a stop, a failing cut, a repeated fetch, a leap of the clock."""
        if not world.processes:
            await world.start()
        roll = self.chance.random()
        if roll < 0.06:
            world.crash()
            await world.start()
        elif roll < 0.1:
            await world.start()
            await world.stop()
        elif roll < 0.14:
            await world.start()
        elif roll < 0.18 and len(world.processes) > 1:
            world.crash()
        elif roll < 0.3:
            world.faults.commits.append(self.chance.choice(list(Ending)))
        elif roll < 0.33:
            world.faults.repeats += 1
        elif roll < 0.45:
            world.die_at = self.chance.choice(list(Step))
        elif roll < 0.48:
            await world.leap(seconds=self.chance.choice([1, 4, 60]))


async def release(world: World) -> None:
    """What an operator does after a storm: every workflow goes on, until nothing is stopped."""
    for _ in range(100):
        await world.idle()
        stopped = still(world)
        if not stopped:
            return
        for workflow_id in stopped:
            world.command("resume", workflow_id)
            world.command("skip", workflow_id)
    raise AssertionError(f"some workflows can not be set going: {still(world)}")


def still(world: World) -> list[str]:
    """The workflows that an operator has to set going."""
    names = [f"w{number}" for number in range(4)]
    return [
        name
        for name in names
        if world.exists(name) and world.snapshot(name).status in {"paused", "parked"}
    ]


@pytest.mark.parametrize("variant", range(len(VARIANTS)))
@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_storm_passes(seed: int, variant: int) -> None:
    """P1, P2, P4, P5 at every cut of a storm, and P8 after it."""
    extra, unhandled = VARIANTS[variant]
    weather = Weather(seed * 1000 + variant)
    functions = dict.fromkeys(("act", "leave", "work", "more"), weather.callback)
    text = MACHINE.replace("{extra}", extra).replace("{unhandled}", unhandled)
    limits = EngineLimits(max_waiting=20, grace_s=1.0)
    async with World((text, functions), shards=2, limits=limits) as world:
        for _ in range(60):
            weather.some_events(world)
            if weather.chance.random() < 0.3:
                weather.some_command(world)
            await weather.some_trouble(world)
            await world.rest(weather.chance.choice([0.0, 0.001, 0.05, 0.7]))
        weather.calm = True
        world.die_at = None
        if not world.processes:
            await world.start()
        world.faults.commits.clear()
        world.faults.repeats = 0
        await world.rest(10)
        await release(world)
        assert world.cuts > 20
        for shard in (0, 1):
            waiting = world.entry(shard).waiting
            assert waiting["queued"] == waiting["parked"] == 0, waiting
