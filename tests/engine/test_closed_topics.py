"""A topic that takes nothing for good stops who publishes to it, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.engine.cutting import Cutting
from event_center.log.memory import Ending
from event_center.plugins.context import Context
from tests.engine.machines import resting
from tests.engine.script import Script
from tests.engine.world import World

MACHINE = resting("""
states:
  idle:
    on:
      run: busy
      look: {before: {do: work, retry: {max_attempts: 2}}, target: done}
      job: jobs
      tell: {emit: {event: told, topic: outside}, target: done}
      other: done
  busy: {entry: {do: work, retry: {max_attempts: 2}}, on_done: done}
  jobs: {invoke: {do: work, retry: {max_attempts: 2}, on_done: done}}
  done: {}
""")
WAYS = ["run", "look", "job", "tell"]
REFUSALS = [Ending.NOT_COMMITTED, Ending.LOST]


def publishes(ctx: Context) -> None:
    """A record to the topic outside."""
    ctx.publish("outside", "told")


def world_with(*steps: Any) -> World:
    """A world whose callbacks may publish to the topic outside."""
    machine = (MACHINE, {"work": Script(*(steps or [publishes] * 20))})
    return World(machine, publishable=["outside"])


def reached(world: World) -> str:
    """What the process says that it can not do."""
    return " ".join(f"{one.limit}: {one.meaning}" for one in world.processes[0].member.reached())


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_topic_that_takes_nothing_is_closed(way: str, refusal: Ending) -> None:
    """Who publishes there waits without losing attempts, others go on, and it goes on when it is mended."""
    async with world_with() as world:
        world.faults.refusing["outside"] = refusal
        world.send("w", way)
        await world.rest(2)
        world.send("v", "other")
        await world.rest(40)
        assert world.state("v") == "done"
        assert world.state("w") != "done"
        assert "log: runs that publish to 'outside' are tried again later" in reached(world)
        assert world.snapshot("w").parked is None
        del world.faults.refusing["outside"]
        await world.rest(400)
        assert world.state("w") == "done"
        assert len(world.records("outside")) == 1
        assert reached(world) == ""
        assert world.runs("w") in ([], ["work 1 done"])


async def test_without_closing_it_stops_its_whole_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: the cut that holds the record is tried for ever, and nobody else is decided meanwhile."""
    monkeypatch.setattr(Cutting, "_close", lambda self, error: False)
    async with world_with() as world:
        world.faults.refusing["outside"] = Ending.NOT_COMMITTED
        world.send("w", "run")
        await world.rest(2)
        world.send("v", "other")
        await world.rest(40)
        assert not world.exists("v")
        assert "log: no cut is taken" in reached(world)
        world.faults.refusing.clear()
        await world.rest(60)
        assert (world.state("v"), world.state("w")) == ("done", "done")


@pytest.mark.parametrize("way", WAYS)
async def test_a_topic_that_is_gone(way: str) -> None:
    """The same of a topic that somebody has deleted; made anew, it takes what waits for it."""
    async with world_with() as world:
        await world.idle()
        world.broker.remove("outside")
        world.send("w", way)
        world.send("v", "other")
        await world.rest(40)
        assert (world.state("v"), world.snapshot("w").parked) == ("done", None)
        assert "'outside'" in reached(world)
        world.broker.create({"outside": 1})
        await world.rest(400)
        assert (world.state("w"), reached(world)) == ("done", "")


@pytest.mark.parametrize("topic", ["app.history", "app.dead-letters", "app.inbox"])
async def test_without_a_topic_of_its_own_a_shard_stands_still_and_says_so(topic: str) -> None:
    """Nothing is decided that history, letters or others would not hear of; nobody is parked."""

    def emits(ctx: Context) -> None:
        ctx.emit("other", workflow_id="u", machine="m")

    async with world_with(emits) as world:
        await world.idle()
        world.faults.refusing[topic] = Ending.NOT_COMMITTED
        if topic == "app.dead-letters":
            world.put(b"no JSON", key="w")
        else:
            world.send("w", "run")
        await world.rest(5)
        world.send("v", "other")
        await world.rest(30)
        assert not world.exists("v")
        assert "log: no cut is taken" in reached(world)
        world.faults.refusing.clear()
        await world.rest(60)
        assert (world.state("v"), reached(world)) == ("done", "")
        assert world.entry().waiting["parked"] == 0


async def test_an_outage_closes_nothing_and_parks_nobody() -> None:
    """Commits of unknown end without a topic that is to blame: all goes on once they end well."""
    async with world_with() as world:
        await world.idle()
        world.faults.commits.extend([Ending.LOST, Ending.WRITTEN, Ending.NOT_COMMITTED] * 5)
        for number in range(10):
            world.send(f"w{number}", WAYS[number % 4])
        await world.rest(600)
        assert {world.state(f"w{number}") for number in range(10)} == {"done"}
        assert reached(world) == ""
