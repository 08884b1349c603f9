"""Shards that come and go: what happens to one of them does not hold up the others."""

from __future__ import annotations

import asyncio

import anyio

from tests.engine.script import HOLD, Script
from tests.engine.test_cuts import world_with
from tests.engine.world import World


async def fill(world: World) -> None:
    """Some workflows in every shard."""
    for number in range(12):
        world.send(f"w{number}", "add")
    await world.idle()


class Standstill:
    """Restores stand still until they are let go; counts those that were cancelled."""

    def __init__(self, world: World) -> None:
        self.free = asyncio.Event()
        self.begun = 0
        self.cancelled = 0
        world.faults.on_await = self.at

    async def at(self, place: str) -> None:
        if place != "restore":
            return
        self.begun += 1
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_shards_are_restored_side_by_side() -> None:
    """No shard waits for the restore of another one, and each serves as soon as it can."""
    async with world_with(shards=4) as world:
        await fill(world)
        standstill = Standstill(world)
        world.crash()
        await world.start()
        await world.rest()
        assert standstill.begun == 4
        standstill.free.set()
        await world.served()


async def test_a_rebalance_during_a_restore_cancels_only_what_is_revoked() -> None:
    """Of four restores under way two go on; the others go to the new member at once."""
    async with world_with(shards=4) as world:
        await fill(world)
        standstill = Standstill(world)
        world.crash()
        first = await world.start()
        await world.rest()
        second = await world.start()
        await world.rest()
        assert standstill.cancelled == 2
        assert len(first.member.owners) == len(second.member.owners) == 2
        assert standstill.begun == 6
        standstill.free.set()
        await world.served()
        await fill(world)


async def test_a_shard_that_drains_does_not_hold_up_the_others() -> None:
    """While a cut of one shard that is revoked hangs, the next one is released all the same."""
    async with world_with(shards=4) as world:
        await fill(world)
        hanging = asyncio.Event()

        async def at(place: str) -> None:
            if place == "commit.begun" and not hanging.is_set():
                await hanging.wait()

        world.faults.on_await = at
        world.send(next(f"w{n}" for n in range(99) if world.home(f"w{n}") == 2), "add")
        await world.rest()
        second = await world.start()
        await world.rest()
        assert [shard for shard, owner in second.member.owners.items() if owner.ready] == [3]
        hanging.set()
        await world.idle()


async def test_a_stop_waits_for_shards_that_were_revoked_before() -> None:
    """A process that stops while a revoked shard still drains makes that shard's last cut first."""
    work = Script(HOLD, HOLD)
    async with world_with(work, shards=2) as world:
        await fill(world)
        hanging = asyncio.Event()

        async def at(place: str) -> None:
            if place == "commit.begun" and not hanging.is_set():
                await hanging.wait()

        world.faults.on_await = at
        name = next(f"w{n}" for n in range(99) if world.home(f"w{n}") == 1)
        before = world.entry(1).cut
        world.send(name, "add")
        await world.rest()
        await world.start()
        await world.rest()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.stop)
            await world.rest()
            assert world.entry(1).cut == before
            hanging.set()
        await world.served()
        assert world.entry(1).cut > before
        await world.idle()
