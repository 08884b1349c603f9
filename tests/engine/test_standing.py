"""Workflows that move without being woken: what is written is what the long way writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

import pytest

from event_center.engine.known_ids import IDS
from event_center.engine.known_ids import written as ids_written
from event_center.engine.ledger import Ledger
from event_center.engine.parts import Parts
from event_center.engine.standing import Standing, Stations
from event_center.engine.workflow import Workflow
from event_center.log.memory import Ending
from event_center.model import Shard, Snapshot
from event_center.testing.virtual_time import VirtualLoop
from event_center.wire import snapshot as wire
from event_center.wire.entries import SHARD_KEY, ShardEntry
from event_center.wire.envelope import Rules
from tests.engine.machines import resting
from tests.engine.world import EVENTS, OWN, World

MACHINE = resting("""
data: {n: 0, "%b": 'ä"%'}
states:
  idle: {on: {go: here, on: {target: idle, reenter: true}}}
  here: {on: {go: there, back: idle, stay: {}}}
  there: {on: {go: idle, add: {target: here, assign: {n: =data.n + 1}}, rest: timed, call: busy, end: over}}
  timed: {on: {go: idle}, after: {5s: here}}
  busy: {entry: work, on: {go: idle}}
  over: {type: final}
""")
OTHER = "mail"
TOPICS = {EVENTS: Rules(machine="m"), OTHER: Rules(machine="m")}
STEPS = 150
SEEDS = 12


async def work() -> None:
    """A callback that does nothing."""


def world_of(machine: str = MACHINE) -> World:
    """A world in which events come from two topics."""
    return World((machine, {"work": work}), topics=TOPICS)


def workflow_in(world: World, workflow_id: str) -> Workflow:
    """A workflow as it is in memory."""
    parts = world.processes[0].member.owners[Shard(0)]._parts
    assert parts is not None
    return parts.workflows.by_id[workflow_id]


def written(world: World) -> dict[str, Any]:
    """All that a world has made durable, its letters and shard entry in a form that can be compared."""
    store = dict(world.broker.store(Shard(0)))
    entry = ShardEntry.decode(store.pop(SHARD_KEY))
    facts = {name: getattr(entry, name) for name in ShardEntry.__slots__}
    facts["counts"] = {where: count for where, count in entry.counts.items() if count}
    lines = {name: world.broker.line((name, 0)) for name in (OWN.history, OWN.dead_letters)}
    return {"store": store, "entry": facts, **lines}


def afresh(life: Callable[[], Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
    """What a life comes to; its time begins anew."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(life())


def the_long_way(
    life: Callable[[], Coroutine[Any, Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The same where nobody is let stand."""
    with monkeypatch.context() as patch:
        patch.setattr(Stations, "standing", lambda *_: None)
        return afresh(life)


async def _lived(seed: int) -> dict[str, Any]:
    """What a seed does with some workflows writes this."""
    random = Random(seed)
    async with world_of() as world:
        for number in range(STEPS):
            workflow_id = random.choice(["w", "v", 'ü"1'])
            name = random.choice(
                ["go", "go", "go", "on", "back", "add", "stay", "rest", "call", "what"]
            )
            match random.randrange(20):
                case 0:
                    world.send(workflow_id, name, id=random.choice("abc"))
                case 1:
                    world.send(workflow_id, name, topic=OTHER)
                case 2:
                    world.command(random.choice(["pause", "resume"]), workflow_id)
                case 3 | 4:
                    await world.rest(random.choice([0.1, 6.0]))
                case 5:
                    await world.crash_and_recover()
                case 7 | 8 | 9 | 10:
                    world.send(workflow_id, name, id=str(number))
                case 6:
                    world.send(workflow_id, "end")
                case _:
                    world.send(workflow_id, name)
        world.command("resume", "w")
        await world.rest(20)
    return written(world)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_byte_is_that_of_the_long_way(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshots, history and counters are the same where nobody is let stand."""
    lived = partial(_lived, seed)
    assert afresh(lived) == the_long_way(lived, monkeypatch)


async def test_who_only_moves_is_not_woken() -> None:
    """Through states that know nothing else, whatever the events carry; the cut has it all the same."""
    async with world_of() as world:
        world.send("w", "go")
        await world.rest()
        standing = workflow_in(world, "w")
        assert isinstance(standing, Standing)
        for name in ("stay", "back", "on", "go", "stay"):
            world.send("w", name, {"more": [1]})
        await world.rest()
        assert workflow_in(world, "w") is standing
        assert (world.state(), world.snapshot("w").seq) == ("here", 6)
        assert world.entry().transitions == 6


@pytest.mark.parametrize("ids", [(), (7, 2**64 - 1)])
def test_a_form_is_what_the_encoder_makes_of_places(ids: tuple[int, ...]) -> None:
    """Filled with the values of a workflow it is its snapshot, whatever the names in it are."""
    made = Snapshot("w", "m%d", 1, 'a "%b"%')
    made.seq, made.entered_at_ms, made.ids = 1, 2, ids
    made.data, made.seen = {"%b": 'ä"%'}, {'%d "x"/0': 3}
    value, where = wire.encode(made)
    form = wire.form(where, '%d "x"/0', ids=bool(ids))
    parts = 1, 2, wire.dump(made.data), 3
    assert form % ((*parts, ids_written(ids)[1:-1]) if ids else parts) == value


def test_it_remembers_ids_as_the_long_way_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many, in every byte of its snapshot: the last ones are known, and the first ones forgotten."""
    found = afresh(_with_ids)
    assert found["entry"]["outcomes"]["duplicate"] == 2
    assert found == the_long_way(_with_ids, monkeypatch)


async def _with_ids() -> dict[str, Any]:
    async with world_of() as world:
        for number in range(IDS + 2):
            world.send("w", "on", id=str(number))
            await world.rest(0.001)
        for number in (2, IDS + 1, 1, 0):
            world.send("w", "on", id=str(number))
        await world.rest()
    return written(world)


@pytest.mark.parametrize("more", ["known id", "source", "refused", "command"])
async def test_whatever_else_comes_wakes_it(more: str) -> None:
    """A known id, another source, what it does not accept: each goes the long way, and is decided there."""
    async with world_of() as world:
        world.send("w", "on", id="1")
        await world.rest()
        standing = workflow_in(world, "w")
        assert isinstance(standing, Standing)
        match more:
            case "known id":
                world.send("w", "go", id="1")
            case "source":
                world.send("w", "go", topic=OTHER)
            case "refused":
                world.send("w", "what")
            case _:
                world.command("pause", "w")
        await world.rest()
        assert workflow_in(world, "w") is not standing


async def test_where_more_can_happen_workflows_stay_live() -> None:
    """A state with one event that does more than move: who gets there awake is not let stand."""
    async with world_of() as world:
        world.send("w", "go")
        await world.rest()
        await world.crash_and_recover()
        world.send("w", "go")
        await world.rest()
        assert world.state() == "there"
        assert isinstance(workflow_in(world, "w"), Snapshot)


def left_uncounted(self: Ledger, *_: Any) -> None:
    """`moved` without what the next cut needs."""


async def test_without_the_counters_the_records_do_not_add_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin of P1: an event that moved its workflow past the ledger is missed by the next cut."""
    monkeypatch.setattr(Ledger, "moved", left_uncounted)
    with pytest.RaisesGroup(
        pytest.RaisesExc(Exception, match="records do not add up"), flatten_subgroups=True
    ):
        await test_who_only_moves_is_not_woken()


async def test_it_weighs_what_it_would_awake() -> None:
    """The limit of a cut counts the ids that it remembers as well: of a small one they are most of it."""
    async with world_of() as world:
        for number in range(2 * IDS):
            world.send("w", "stay" if number else "go", id=f"e-{number}")
        await world.idle()
        standing = workflow_in(world, "w")
        assert isinstance(standing, Standing)
        size = len(standing.encode())
        parts = world.processes[0].member.owners[Shard(0)]._parts
        assert parts is not None
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        world.send("w", "stay", id="another")
        await world.rest(0.5)
        world.send("w", "stay", id="one more")
        await world.rest(0.5)
        assert parts.ledger.cut_bytes >= size > 1_000


async def test_a_redelivered_event_moves_nobody_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: what a standing workflow has seen is left to the check for it, which counts it apart."""
    monkeypatch.setattr(Parts, "_without_repeated", lambda _self, batch, _following: batch)
    async with world_of() as world:
        world.send("w", "go")
        await world.rest()
        assert isinstance(workflow_in(world, "w"), Standing)
        world.faults.repeats = 1
        world.send("w", "back")
        await world.rest()
        assert world.entry().redelivered == 1
        assert world.snapshot("w").seq == 2
