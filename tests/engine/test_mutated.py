"""Snapshots that no release has written: each is read and decided, or stands still alone."""

from __future__ import annotations

import contextlib
import random
import re
from typing import Any

import orjson
import pytest

from event_center.model import Shard
from event_center.wire import shapes
from event_center.wire.entries import is_snapshot, snapshot_key, workflow_of
from tests.engine.script import HOLD, Script
from tests.engine.world import World
from tests.wire.fuzzing import reshaped

MACHINE = """
machine: m
version: 1
initial: new
perpetual: true
data: {n: 0, log: []}
retries:
  default: {max_attempts: 3, interval: 30s}
events:
  early: {missing: {hold: 1h}}
  add: {}
  nest: {}
  both: {}
  stop: {}
  back: {}
  bad: {}
  step: {}
  leave: {}
on:
  early: {}
  add: {assign: {n: =data.n + 1}}
  nest: nest
  both: both
  stop: over
  back: was
  bad: {target: nest, actions: look}
states:
  new: {unhandled: defer, after: {1h: nest}, on: {step: {actions: look}}}
  nest:
    initial: one
    states:
      one: {on: {step: two}}
      two: {entry: {do: work, retry: default}, on: {step: one}, after: {1m: one}}
      was: {type: history}
  away: {}
  both:
    type: parallel
    states:
      left:
        initial: idle
        states:
          idle: {invoke: {do: make, timeout: 1h, on_done: made}, on: {step: made}}
          made: {type: final}
      right:
        initial: wait
        states:
          wait: {entry: work, after: {10s: rest}}
          rest: {}
    on: {leave: away}
  over: {type: final, result: success}
"""
LIVES = {
    "retrying": ["nest", "step", "add"],
    "remembers": ["nest", "both"],
    "both": ["both", "add"],
    "remembered": ["both", "nest"],
    "failing": ["bad", "add"],
    "defers": ["add", "leave"],
    "refused": ["nest", "leave"],
    "over": ["stop"],
    "held": ["early"],
    "idle": ["add"],
}
"""Workflows and what each hears; together their snapshots have all parts."""


async def failing() -> None:
    """A callback that always fails."""
    raise ConnectionError("nobody answers")


class OddWorld(World):
    """Callbacks fail in it and jobs last; what is changed need not be written again as it was."""

    def __init__(self) -> None:
        functions: dict[str, Any] = {"look": failing, "work": failing, "make": Script(*[HOLD] * 99)}
        super().__init__((MACHINE, functions))
        self.audits = False

    def _compare(self) -> None:
        """Parts that belong together may have been changed one without the other."""


async def live(world: World) -> None:
    """Each of the workflows comes to where it is to be changed."""
    for workflow_id, events in LIVES.items():
        for number, event in enumerate(events):
            world.send(workflow_id, event, {"n": number}, id=f"{workflow_id}-{number}")
    world.command("pause", "idle")
    await world.rest(2)
    await world.stop()


def parts_of(value: bytes) -> set[str]:
    """The parts that a snapshot has."""
    return set(orjson.loads(value.partition(b"\n")[2]))


@pytest.mark.parametrize("seed", range(30))
async def test_a_changed_snapshot_is_decided_or_stands_still(seed: int) -> None:
    """Whatever JSON it holds: it is refused for its workflow alone, or the shard can work with it."""
    chance = random.Random(seed)
    async with OddWorld() as world:
        await live(world)
        store, changed = dict(world.broker.store(Shard(0))), []
        for key, value in store.items():
            if is_snapshot(key):
                head, _, body = value.partition(b"\n")
                other = head + b"\n" + orjson.dumps(reshaped(chance, orjson.loads(body)))
                changed.append(other)
                world.damage(key, other)
        try:
            await world.start()
            for workflow_id in LIVES:
                for event in ("add", "step", "both", "back", "bad", "early"):
                    world.send(workflow_id, event)
            world.send("other", "nest")
            world.command("resume", "idle")
            await world.rest(5)
            await world.leap(hours=2)
            for workflow_id in LIVES:
                world.command("skip", workflow_id)
                world.send(workflow_id, "stop")
            world.send("other", "add")
            await world.rest(100)
            assert world.snapshot("other").data["n"] == 1
            assert world.processes[0].member.reached() == []
            entry = world.entry()
            entry.check()
            await world.stop()
        except BaseException as error:
            error.add_note("\n".join(map(repr, changed)))
            raise


async def test_the_lives_have_every_part() -> None:
    """What is changed above has every part that a snapshot can have."""
    async with OddWorld() as world:
        await live(world)
        store = world.broker.store(Shard(0))
        parts = {
            workflow_of(key): parts_of(value) for key, value in store.items() if is_snapshot(key)
        }
        found = set().union(*parts.values())
        assert found >= {
            "seq", "at", "data", "seen", "ids", "timers", "owed", "cause", "waiting", "refusals",
            "result", "closed_at", "over", "deciding", "failure", "memory", "jobs", "earlier",
        }  # fmt: skip


DUE = re.compile(rb'"timers":\[\["@after/1h",0,\d+\]')


async def test_a_time_that_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as what it is; the twin, which reads it as it is, ends the process in the next cut."""
    for reads_it in (False, True):
        if reads_it:
            monkeypatch.setattr(shapes, "check", lambda parts, _kinds: parts)
        world = OddWorld()
        with contextlib.suppress(BaseExceptionGroup):
            async with world:
                await live(world)
                store = world.broker.store(Shard(0))
                value = store[snapshot_key("idle")]
                other = DUE.sub(b'"timers":[["@after/1h",0,"soon"]', value)
                assert other != value
                world.damage(snapshot_key("idle"), other)
                await world.start()
                world.command("resume", "idle")
                world.send("other", "add")
                await world.rest(5)
        assert world.exists("other") is not reads_it
