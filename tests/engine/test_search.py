"""Who spoils the cuts of a shard is found although much else goes on meanwhile."""

from __future__ import annotations

import functools

import anyio
import pytest
from structlog.testing import capture_logs

from event_center import Event
from event_center.engine import isolation
from event_center.engine.backoff import RETRY_MAX_S
from event_center.engine.isolation import SMALLER, Isolation
from event_center.log.port import Cut
from event_center.model import Shard
from tests.engine.test_isolation import spoiled
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
data: {note: null}
retries:
  default: {max_attempts: 100000, interval: 50ms, backoff_rate: 1}
events: {note: {}, go: {}, noted: {}}
states:
  idle: {on: {note: {assign: {note: =payload}}, go: busy}}
  busy: {entry: {do: work, retry: default}, on: {noted: idle, note: {assign: {note: =payload}}}}
"""
OTHERS = 200


async def fails(workflow_id: str) -> Event:
    """A callback that is tried again every 50 ms."""
    raise OSError("not now")


async def spoil(world: World) -> None:
    """One event of many can be in no cut."""
    world.send("w", "note", "well")
    await world.rest(5)
    world.faults.spoiled = spoiled
    for number in range(OTHERS):
        world.send(f"a{number}", "note", number)
        if number == OTHERS // 2:
            world.send("w", "note", "spoiled")


def decided(world: World) -> int:
    """How many of the others have been decided."""
    return sum(world.exists(f"a{number}") for number in range(OTHERS))


@pytest.mark.parametrize("delay_s", [0.0, 0.3])
@pytest.mark.parametrize("others", [0, 2, 20])
async def test_callbacks_that_are_tried_again_do_not_hide_it(others: int, delay_s: float) -> None:
    """Their cuts come between those of records, and before the first one, and say nothing of these."""
    async with World((MACHINE, {"work": fails})) as world:
        for number in range(others):
            world.send(f"busy{number}", "go")
        world.faults.fetch_delay_s = delay_s
        await spoil(world)
        await world.rest(20)
        assert world.snapshot("w").parked == "cut_failed"
        assert (decided(world), world.entry().waiting["parked"]) == (OTHERS, 1)
        assert world.entry().takeovers < 20
        assert world.processes[0].member.reached() == []


async def test_pieces_that_grow_with_every_cut_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: what came between is taken for a piece that went through, so none is ever of one record."""
    settled = Isolation.settled

    def all_the_same(self: Isolation, cut: Cut, *, bare: bool, records: bool) -> None:
        settled(self, cut, bare=bare, records=True)

    monkeypatch.setattr(Isolation, "settled", all_the_same)
    async with World((MACHINE, {"work": fails})) as world:
        for number in range(2):
            world.send(f"busy{number}", "go")
        world.faults.fetch_delay_s = 0.3
        await spoil(world)
        await world.rest(20)
        assert world.snapshot("w").parked is None
        world.faults.spoiled = None
        world.faults.fetch_delay_s = 0.0
        await world.rest(30)
        assert decided(world) == OTHERS


async def commanded(world: World) -> None:
    """Records come that are not in question, more with every takeover."""
    takeovers = 0
    while True:
        now = world.entry().takeovers
        if now != takeovers:
            takeovers = now
            for _ in range(100):
                world.command("pause", "a0")
        await world.rest(0.01)


async def searched(for_s: float) -> tuple[str | None, int, int]:
    """Who is parked why, how many others were decided, and the takeovers, while commands come."""
    async with World((MACHINE, {"work": fails})) as world, anyio.create_task_group() as tasks:
        await spoil(world)
        tasks.start_soon(commanded, world)
        await world.rest(for_s)
        told = world.snapshot("w").parked, decided(world), world.entry().takeovers
        tasks.cancel_scope.cancel()
        world.faults.spoiled = None
        await world.rest(30)
    return told


async def test_records_that_are_not_in_question_do_not_hide_it() -> None:
    """However many come first each time: they make the pieces of those that were in the cut no larger."""
    parked, others, takeovers = await searched(15)
    assert (parked, others) == ("cut_failed", OTHERS)
    assert takeovers < 20


async def test_if_every_record_is_in_question_nobody_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: the pieces grow with whatever comes first, and the one with the event is never small."""
    monkeypatch.setattr(isolation, "bisect_left", functools.partial(lambda a, *_, **__: len(a)))
    parked, others, _ = await searched(15)
    assert (parked, others < OTHERS) == (None, True)


def test_what_never_comes_lets_no_piece_grow_for_ever() -> None:
    """Records in question whose topic was made anew: pieces are as large as the cut was, and no larger."""
    isolation = Isolation(Shard(0))
    for _ in range(3):
        isolation.failed(Cut(offsets={"events": 1_000}), 500, bare=False)
    assert isolation.most == 500 // SMALLER
    isolation._tried = True
    for number in range(100):
        isolation.settled(Cut(offsets={"events": number}), bare=False, records=True)
    assert isolation.most == 500
    isolation.settled(Cut(offsets={"events": 1_000}), bare=False, records=True)
    assert not isolation.searching


async def test_a_letter_that_spoils_its_cut_is_told() -> None:
    """Nobody can be parked, and no letter is left out: the record is named, and takeovers are rare."""
    async with World((MACHINE, {"work": fails})) as world:
        world.send("w", "note", "well")
        await world.rest(5)
        world.faults.spoiled = lambda cut: any(
            b"POISON" in (value or b"") for _, _, value, *_ in cut.records
        )
        for number in range(20):
            world.send(f"a{number}", "note", number)
        poison = world.put(b"POISON", key="w")
        world.send("b", "note", 1)
        with capture_logs() as logs:
            await world.rest(60)
        before = world.entry().takeovers
        await world.rest(600)
        assert {one["at"] for one in logs if one["event"] == "cut.smaller"} == {"", str(poison)}
        assert world.entry().takeovers - before <= 600 / RETRY_MAX_S + 1
        assert (world.exists("a19"), world.exists("b")) == (True, False)
        world.faults.spoiled = None
        await world.rest(30)
        assert (len(world.letters()), world.exists("b")) == (1, True)
