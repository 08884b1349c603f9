"""What a released shard held is kept for when it comes back: the same as a full restore, or not at all."""

from __future__ import annotations

import pytest

from event_center.engine.kept import ENTRY_BYTES, KeptShards, _least, entries_of
from event_center.engine.plan import EngineLimits
from event_center.log.memory import Ending
from event_center.model import Shard
from event_center.wire.entries import SHARD_KEY
from tests.engine.machines import COUNTING
from tests.engine.script import HOLD, Script
from tests.engine.world import World


def world_with(work: Script | None = None, kept_bytes: int = 1 << 20) -> World:
    """A world of two shards."""
    functions = {"work": work or Script(*["done"] * 50), "check": Script()}
    return World((COUNTING, functions), shards=2, limits=EngineLimits(kept_bytes=kept_bytes))


def traffic(world: World, count: int = 24) -> None:
    """Some events of every kind for a handful of workflows of both shards."""
    for number in range(count):
        world.send(f"w{number % 8}", ("add", "go", "ask")[number % 3])


async def test_a_shard_that_comes_back_is_what_the_log_holds() -> None:
    """It was kept when it moved, another process changed it, and it goes on from there."""
    async with world_with(Script(HOLD, *["done"] * 50)) as world:
        traffic(world)
        await world.rest()
        kept = world.processes[0].member._kept
        second = await world.start()
        await world.served()
        await world.rest()
        assert kept.size > 0
        traffic(world)
        await world.rest()
        compared = world.cuts
        world.processes.remove(second)
        await second.member.stop()
        await world.served()
        assert kept.size == 0
        traffic(world)
        await world.leap(1)
        await world.idle()
        assert world.cuts > compared
        assert world.entry(0).read + world.entry(1).read == 72


async def test_no_more_is_kept_than_the_limit() -> None:
    """Of a shard that is too large nothing is kept; it is restored in full."""
    async with world_with(kept_bytes=100) as world:
        traffic(world)
        await world.idle()
        second = await world.start()
        await world.served()
        assert world.processes[0].member._kept.size == 0
        world.processes.remove(second)
        await second.member.stop()
        traffic(world)
        await world.idle()


@pytest.mark.parametrize("missing", [1, 0])
async def test_a_shard_that_is_too_large_leaves_the_others(missing: int) -> None:
    """What is larger than the limit by itself is not kept. The twin has room for it: the older one goes."""
    async with world_with() as world:
        workflows = [f"w{n}" for n in range(9)]
        for workflow_id in workflows:
            world.send(workflow_id, "add")
        await world.idle()
        homes = [world.home(workflow_id) for workflow_id in workflows]
        small, large = sorted(map(Shard, range(2)), key=homes.count)
        size = {shard: kept_of(world, 1 << 20, shard).size for shard in (small, large)}
        assert size[small] < size[large]
        kept = kept_of(world, size[large] - missing, small, large)
        assert kept.size == size[small if missing else large]
        assert (kept.take(small) is None, kept.take(large) is None) == (not missing, bool(missing))


@pytest.mark.parametrize("missing", [1, 0])
async def test_long_names_count_as_well(missing: int) -> None:
    """A shard is kept only where its keys have room beside its values. The twin has that room."""
    async with world_with() as world:
        names = [f"w{number}{'-' * 240}" for number in range(9)]
        for name in names:
            world.send(name, "add")
        await world.idle()
        shard = Shard(world.home(names[0]))
        parts = world.processes[0].owner(shard)._parts
        assert parts is not None
        found = entries_of(parts)
        keys, values = sum(map(len, found)), sum(map(len, found.values()))
        assert keys > 240 * len(parts.workflows.by_id) > 0
        least = keys + values + len(found) * ENTRY_BYTES
        assert kept_of(world, least - missing, shard).size == (0 if missing else least)
        assert least > _least(parts) > values - len(found[SHARD_KEY]) + keys - 10 * len(found)


def kept_of(world: World, limit: int, *shards: Shard) -> KeptShards:
    """These shards of the first process, kept one after the other."""
    kept = KeptShards(limit)
    for shard in shards:
        parts = world.processes[0].owner(shard)._parts
        assert parts is not None
        kept.keep(parts, "mark")
    return kept


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.WRITTEN_LATER, Ending.NOT_COMMITTED])
async def test_nothing_is_kept_after_a_last_cut_that_went_wrong(ending: Ending) -> None:
    """Memory is not what the log holds: it is thrown away."""
    async with world_with() as world:
        await world.idle()
        (moved,) = [s for s in map(Shard, range(2)) if s == 1]
        world.faults.commits.append(ending)
        world.send(next(f"w{n}" for n in range(9) if world.home(f"w{n}") == moved), "add")
        owner = world.processes[0].owner(moved)
        while owner._parts is not None and owner._parts.ledger.clean:
            await world.rest(0)
        owner.stop(0.0, keep=True)
        await owner.gone()
        assert world.processes[0].member._kept.size == 0
        world.audits = False


async def test_nothing_is_kept_of_a_lost_shard() -> None:
    """Who was thrown out of the group knows nothing about what it held."""
    async with world_with() as world:
        traffic(world)
        await world.idle()
        first = world.processes[0]
        first.log.expel()
        await world.start()
        await world.served()
        assert first.member._kept.size == 0
        first.log.readmit()
        traffic(world)
        await world.idle()
