"""What a takeover refuses, and why: each message says what was found and what to do next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest

from event_center.engine.member import Member
from event_center.errors import (
    ConfigurationError,
    DataLost,
    EventCenterError,
    FormatError,
    InvariantError,
)
from event_center.log.memory import MemoryLog
from event_center.log.port import TopicInfo
from event_center.model import Shard
from event_center.wire.entries import SHARD_KEY, waiting_key
from event_center.wire.envelope import Rules
from tests.engine.script import HOLD, Script
from tests.engine.world import EVENTS, World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
data: {n: 0}
states:
  idle: {on: {go: busy, add: {assign: {n: =data.n + 1}}}}
  busy: {entry: [work], on: {done: idle}}
"""


def world_with(work: Script, **more: object) -> World:
    """A world of the machine."""
    return World((MACHINE, {"work": work}), **more)  # type: ignore[arg-type]  # whatever a world takes


async def refused(world: World, error: type[EventCenterError], said: str) -> None:
    """A process that takes over ends with this error."""
    world.audits = False
    member = Member(MemoryLog(world.broker, clock=world.clock), world.plan)
    with pytest.RaisesGroup(pytest.RaisesExc(error, match=said), flatten_subgroups=True):
        async with asyncio.timeout(
            60
        ):  # of virtual time: a takeover that refuses nothing serves on
            await member.run()


def _newer(world: World) -> None:
    entry = orjson.loads(world.broker.store(Shard(0))[SHARD_KEY])
    world.damage(SHARD_KEY, orjson.dumps(entry | {"format": 2}))


def _damaged(world: World) -> None:
    world.damage(SHARD_KEY, b"{")


def _made_anew(world: World) -> None:
    world.broker.infos[EVENTS] = TopicInfo(EVENTS, 1, "another")


def _changed(world: World) -> None:
    world.redefine((MACHINE.replace("n: 0", "n: 1"), {"work": Script()}))


@pytest.mark.parametrize(
    ("happened", "error", "said"),
    [
        (_newer, FormatError, "format 2, this release reads 1: run the release that wrote it"),
        (_damaged, FormatError, "the shard entry can not be read"),
        (_made_anew, DataLost, "'events' was deleted and made anew"),
        (_changed, ConfigurationError, "m has changed, but its version is still 1.* version: 2"),
    ],
)
async def test_a_takeover_refuses_what_is_not_as_it_was(
    happened: Callable[[World], None], error: type[EventCenterError], said: str
) -> None:
    """A log or a definition that does not fit ends the daemon, before anything of it is decided."""
    async with world_with(Script(HOLD)) as world:
        world.send("w", "go")
        world.send("w", "add")
        await world.rest()
        world.crash()
        happened(world)
        before = world.broker.watermark((EVENTS, 0)), len(world.broker.cuts)
        await refused(world, error, said)
        assert (world.broker.watermark((EVENTS, 0)), len(world.broker.cuts)) == before


async def test_a_workflow_that_lost_a_waiting_entry_stands_alone() -> None:
    """One event missing from the log is a damaged workflow, not a damaged shard; others go on."""
    async with world_with(Script(HOLD)) as world:
        world.audits = False
        world.send("w", "go")
        world.send("w", "add")
        await world.rest()
        world.crash()
        world.damage(waiting_key("w", 0), None)
        await world.start()
        world.send("v", "add")
        world.send("w", "add")
        await world.idle()
        assert world.snapshot("v").data["n"] == 1
        assert world.snapshot("w").state == "busy"
        [letter] = world.letters()
        assert letter.workflow_id == "w"


async def test_events_of_a_topic_that_is_no_longer_read_become_letters() -> None:
    """An event that waited when its topic left the settings is not lost: it is a letter that says so."""
    work = Script(HOLD)
    topics = {EVENTS: Rules(machine="m"), "more": Rules(machine="m")}
    async with world_with(work, topics=topics) as world:
        world.send("w", "go")
        await world.rest()
        world.send("w", "add", topic="more")
        await world.rest()
        world.send("w", "add")
        await world.rest()
        world._topics = {EVENTS: Rules(machine="m")}
        world.redefine((MACHINE, {"work": Script("done")}))
        await world.crash_and_recover()
        await world.idle()
        assert world.outcomes("w") == [
            "go applied",
            "done applied",
            " dead_lettered(undecodable)",
            "add applied",
        ]
        [letter] = world.letters()
        assert letter.origin.startswith("more/")
        assert orjson.loads(letter.value or b"")["event"] == "add"


async def test_a_workflow_whose_machine_is_gone_is_parked_alone() -> None:
    """What it owes waits for its machine, and begins once that is back; those of other machines go on."""
    other = MACHINE.replace("machine: m", "machine: o")
    rules = {EVENTS: Rules(machine="m"), "others": Rules(machine="o")}
    work = {"work": Script(HOLD, "done")}
    async with World((MACHINE, work), (other, work), topics=rules) as world:
        world.send("w", "go")
        world.send("v", "add", topic="others")
        await world.rest(1)
        await world.stop()
        world._topics = {EVENTS: Rules(machine="o"), "others": Rules(machine="o")}
        world.redefine((other, work))
        await world.start()
        world.send("w", "add")
        world.send("v", "add", topic="others")
        await world.idle()
        assert world.snapshot("v").data["n"] == 2
        assert (world.snapshot("w").parked, world.state("w")) == ("no_place", "busy")
        assert world.outcomes("w") == ["go applied", "add rejected(other_machine)"]
        await world.stop()
        world._topics = rules
        world.redefine((MACHINE, work), (other, work))
        await world.start()
        world.command("retry", "w")
        await world.idle()
        assert (world.snapshot("w").parked, world.state("w")) == (None, "idle")


async def test_an_owed_run_that_the_machine_has_no_more_parks_its_workflow() -> None:
    """A new version without the callback that is owed waits for an operator, who may give it up."""
    async with world_with(Script(HOLD)) as world:
        world.send("w", "go")
        await world.rest()
        text = MACHINE.replace("version: 1", "version: 2").replace("entry: [work], ", "")
        world.redefine(text)
        await world.crash_and_recover()
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.status, snapshot.parked) == ("parked", "no_place")
        assert [owed.name for owed in snapshot.owed] == ["work"]
        world.command("skip", "w", reason="nobody needs it any more")
        world.send("w", "done")
        await world.idle()
        assert world.state() == "idle"
        assert world.history("w", "run")[-1]["outcome"] == "given_up"


async def test_counters_that_do_not_add_up_end_the_daemon() -> None:
    """P1: a cut whose counters disagree is a mistake of ours; it is never written."""
    async with world_with(Script()) as world:
        world.send("w", "add")
        await world.idle()
        world.audits = False
        process = world.processes.pop()
        process.crash()
        await asyncio.wait_for(process.member.owners[Shard(0)].gone(), 60)
        member = Member(MemoryLog(world.broker, clock=world.clock), world.plan)
        cuts = len(world.broker.cuts)

        async def miscount() -> None:
            while not member.owners or not member.owners[Shard(0)].ready:
                await world.rest(0.01)
            parts = member.owners[Shard(0)]._parts
            assert parts is not None
            parts.entry.read += 1
            world.send("w", "add")

        world._tasks.start_soon(miscount)
        with pytest.RaisesGroup(
            pytest.RaisesExc(
                InvariantError, match=r"records do not add up: read 3, .*'applied': 2"
            ),
            flatten_subgroups=True,
        ):
            await member.run()
        assert len(world.broker.cuts) == cuts


async def test_only_a_record_becomes_a_letter() -> None:
    """What came from no topic has no bytes to keep: a letter of it would be a mistake of ours."""
    async with world_with(Script()) as world:
        await world.served()
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        with pytest.raises(InvariantError, match="only a record can become a letter, timer/1 is"):
            parts.ledger.letter(None, "timer/1", {})


async def test_the_result_of_a_run_that_can_not_be_decided_takes_on_error() -> None:
    """The run is done and told as done; the event that it returned is refused, then `on_error` moves on."""
    text = """
machine: m
version: 1
initial: idle
perpetual: true
on_error: failed
states:
  idle: {on: {go: busy}}
  busy: {entry: work, on: {done: {target: idle, actions: {do: bad, retry: none}}}}
  failed: {}
"""
    bad = Script(ValueError("no"))
    async with World((text, {"work": Script("done"), "bad": bad})) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "failed"
        assert world.runs("w") == ["work 1 done"]
        assert "done rejected(failed)" in world.outcomes("w")
        assert world.snapshot("w").owed == ()
