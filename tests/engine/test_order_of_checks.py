"""The intake: in which order a record is checked, and which outcome each check gives."""

from __future__ import annotations

import pytest

from event_center.engine.plan import EngineLimits
from event_center.model import Reason
from event_center.wire.envelope import Rules
from tests.engine.script import HOLD, Script
from tests.engine.world import EVENTS, OWN, World

LIGHT = """
machine: light
version: 1
initial: red
events:
  go:
  strict: {missing: dead_letter}
  shy: {missing: reject}
  stop:
  end:
states:
  red: {on: {go: green, strict: green, shy: green}}
  green: {on: {stop: red, end: off, go: {}}}
  off: {type: final}
"""
LAMP = """
machine: lamp
version: 1
perpetual: true
initial: dark
states:
  dark: {on: {go: bright}}
  bright: {}
"""
BUSY = """
machine: busy
version: 1
perpetual: true
initial: idle
states:
  idle: {on: {go: working}}
  working: {entry: work, on: {tick: {}}}
"""


async def test_an_event_moves_its_workflow_and_history_tells_it() -> None:
    """P1, P5: snapshot, history and counters of one event are durable together."""
    async with World(LIGHT) as world:
        position = world.send("w", "go")
        await world.idle()
        assert world.state() == "green"
        created, applied = world.history("w")
        assert (created["kind"], created["seq"], created["to"]) == ("created", 0, "red")
        assert (applied["kind"], applied["seq"]) == ("applied", 1)
        assert (applied["from"], applied["to"]) == ("red", "green")
        assert (applied["topic"], applied["partition"], applied["offset"]) == tuple(position)
        assert world.entry().outcomes["applied"] == 1
        assert world.cuts


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (b"not json", "w", Reason.UNDECODABLE),
        (None, "w", Reason.UNDECODABLE),
        (b"", None, Reason.UNDECODABLE),
        (b"[1, 2]", "w", Reason.UNDECODABLE),
        (b"{}", "w", Reason.UNDECODABLE),
        (b'{"event": "go"}', None, Reason.NO_WORKFLOW_ID),
        (b'{"event": "go", "workflow_id": ""}', "w", Reason.NO_WORKFLOW_ID),
        (b'{"event": "", "workflow_id": "w"}', "w", Reason.UNDECODABLE),
        (b'{"event": "go", "workflow_id": [1]}', "w", Reason.UNDECODABLE),
        (b'{"event": {"a": 1}, "workflow_id": "w"}', "w", Reason.UNDECODABLE),
        (b'{"event": "go", "workflow_id": "a\\tb"}', "w", Reason.BAD_WORKFLOW_ID),
        (b'{"event": "go", "workflow_id": "%b"}' % (b"x" * 513), "w", Reason.BAD_WORKFLOW_ID),
    ],
)
async def test_what_can_not_be_read_becomes_a_letter_and_stops_nobody(
    value: bytes | None, key: str | None, reason: Reason
) -> None:
    """A poison record is dead-lettered with its bytes and a reason; the next one is decided."""
    async with World(LIGHT) as world:
        poison = world.put(value, key=key)
        world.send("w", "go")
        await world.idle()
        [letter] = world.letters()
        assert (letter.reason, letter.origin, letter.value) == (reason, str(poison), value)
        assert world.state() == "green"


async def test_an_event_on_a_wrong_partition_is_decided_at_home() -> None:
    """By default it is forwarded through the inbox, once, and keeps id, payload and time."""
    async with World(LIGHT, shards=3) as world:
        home = world.home("w")
        wrong = (home + 1) % 3
        world.send("w", "go", {"n": 1}, id="e-1", partition=wrong)
        await world.idle()
        assert world.state() == "green"
        assert world.entry(wrong).outcomes["forwarded"] == 1
        assert world.entry(home).outcomes["applied"] == 1
        assert world.outcomes("w") == ["go applied", "go forwarded"]
        world.send("w", "go", id="e-1", partition=wrong)
        await world.idle()
        assert world.entry(home).outcomes["duplicate"] == 1


async def test_a_topic_may_want_letters_for_wrong_partitions() -> None:
    """`wrong_partition = dead_letter`: the letter names the home."""
    async with World(LIGHT, shards=2, dead_letter_strays=[EVENTS]) as world:
        world.send("w", "go", partition=1 - world.home("w"))
        await world.idle()
        [letter] = world.letters()
        assert letter.reason == Reason.WRONG_PARTITION
        assert str(world.home("w")) in (letter.message or "")
        assert not world.exists("w")


async def test_partitions_beyond_the_shards_are_read_and_forwarded() -> None:
    """Partition q of a topic that is not co-partitioned belongs to shard q mod N."""
    async with World(LIGHT, shards=2, partitions={EVENTS: 5}) as world:
        for number in range(20):
            world.send(f"w{number}", "go", partition=number % 5)
        await world.idle()
        assert all(world.state(f"w{number}") == "green" for number in range(20))
        sources = set(world.entry(0).offsets) | set(world.entry(1).offsets)
        assert {EVENTS, f"{EVENTS}/2", f"{EVENTS}/3", f"{EVENTS}/4"} <= sources


@pytest.mark.parametrize("busy", [False, True])
async def test_records_that_the_log_repeats_count_once(busy: bool) -> None:
    """P2: a record at or below `seen` is redelivered: no outcome, counted apart."""
    work = Script(HOLD) if busy else Script()
    async with World((BUSY, {"work": work})) as world:
        world.send("w", "go")
        world.send("w", "tick")
        world.put(b"poison")
        world.send("nobody", "tick")
        world.command("pause", "nobody")
        await world.rest()
        world.faults.repeats = 3
        world.send("w", "tick")
        await world.rest(5)
        assert not world.faults.repeats
        if busy:
            work.let_go()
        await world.idle()
        assert world.outcomes("w") == ["go applied", "tick applied", "tick applied"]
        entry = world.entry()
        assert entry.redelivered
        assert (entry.read, len(world.letters())) == (6, 1)
        assert entry.offsets == {EVENTS: 5, OWN.commands: 1}


async def test_forwarded_records_that_the_log_repeats_are_forwarded_once() -> None:
    """P2: a repeat of a record that has no workflow here has no second outcome either."""
    async with World(LIGHT, shards=2) as world:
        wrong = 1 - world.home("w")
        world.faults.repeats = 2
        world.send("w", "go", partition=wrong)
        await world.rest(5)
        world.faults.repeats = 2
        world.send("w", "stop", partition=wrong)
        await world.rest(5)
        await world.idle()
        assert world.entry(wrong).redelivered
        assert [told for told in world.outcomes("w") if "forwarded" in told] == [
            "go forwarded",
            "stop forwarded",
        ]


async def test_an_id_is_a_duplicate_while_among_the_last_64() -> None:
    """The publisher's id finds duplicates that are no redeliveries; the window is 64 ids."""
    async with World(LIGHT) as world:
        for number in range(65):
            world.send("w", "go", id=f"e{number}")
        await world.idle()
        world.send("w", "go", id="e0")
        world.send("w", "go", id="e64")
        world.send("w", "go", id="e3")
        await world.idle()
        assert world.outcomes("w")[-3:] == ["go applied", "go duplicate", "go duplicate"]
        assert len(world.snapshot("w").ids) == 64


async def test_an_id_that_still_waits_is_a_duplicate_too() -> None:
    """Ids are recorded when an event is taken in, also across a crash."""
    work = Script(HOLD, HOLD)
    async with World((BUSY, {"work": work})) as world:
        world.send("w", "go")
        world.send("w", "tick", id="t")
        world.send("w", "tick", id="t")
        await world.rest()
        assert world.outcomes("w") == ["go applied", "tick duplicate"]
        await world.crash_and_recover()
        world.send("w", "tick", id="t")
        await world.rest()
        work.let_go()
        await world.idle()
        assert world.outcomes("w")[-2:] == ["tick duplicate", "tick applied"]


@pytest.mark.parametrize(
    ("event", "outcome", "letters"),
    [
        ("go", "applied", 0),
        ("strict", "dead_lettered", 1),
        ("shy", "rejected", 0),
        ("stop", "rejected", 0),
        ("unheard", "rejected", 0),
    ],
)
async def test_an_event_without_its_workflow(event: str, outcome: str, letters: int) -> None:
    """`missing` of the event decides; by default what the initial state accepts creates."""
    async with World(LIGHT) as world:
        world.send("w", event)
        await world.idle()
        assert world.entry().outcomes[outcome] == 1
        assert len(world.letters()) == letters
        assert world.exists("w") is (outcome == "applied")
        if outcome != "applied":
            [told] = world.history("w")
            assert told["reason"] == Reason.UNKNOWN_WORKFLOW


async def test_the_topic_names_the_machine_only_at_creation() -> None:
    """An unknown machine is a letter; an event for a workflow of another machine is refused."""
    topics = {
        EVENTS: Rules(machine="light"),
        "lamps": Rules(machine="lamp"),
        "any": Rules(machine=None),
        "picked": Rules(machine="=body.kind"),
    }
    async with World(LIGHT, LAMP, topics=topics) as world:
        world.send("w", "go")
        await world.idle()
        world.send("w", "go", topic="lamps")
        world.send("w", "stop", topic="any")
        world.send("new", "go", topic="any")
        world.put(b'{"workflow_id": "x", "event": "go", "kind": "sun"}', topic="picked")
        world.put(b'{"workflow_id": "y", "event": "go", "kind": "lamp"}', topic="picked")
        await world.idle()
        assert "go rejected(other_machine)" in world.outcomes("w")
        assert "light" in world.snapshot("w").refusals[-1].detail
        assert world.state() == "red"
        assert world.outcomes("new") == ["go rejected(unknown_workflow)"]
        [letter] = world.letters()
        assert (letter.reason, letter.workflow_id) == (Reason.UNKNOWN_MACHINE, "x")
        assert world.snapshot("y").machine == "lamp"


async def test_a_finished_workflow_refuses_everything() -> None:
    """After `final` every event is rejected(finished), also after a restart."""
    async with World(LIGHT) as world:
        for event in ("go", "end", "stop"):
            world.send("w", event)
        await world.idle()
        await world.crash_and_recover()
        world.send("w", "go")
        await world.idle()
        assert world.outcomes("w")[-2:] == ["stop rejected(finished)", "go rejected(finished)"]
        snapshot = world.snapshot("w")
        assert (snapshot.result, snapshot.status) == ("success", "final")


SLEEPY = """
machine: sleepy
version: 1
initial: idle
perpetual: true
states:
  idle: {on: {go: working, nap: napping}}
  working: {entry: work, on: {tick: {}}}
  napping: {on: {tick: {}}, after: {1h: idle}}
"""


@pytest.mark.parametrize("damage", [(b'"seq"', b'"sea"'), (b"active", b"asleep"), (b"\n", b"")])
@pytest.mark.parametrize("event", ["idle", "go", "nap"])
async def test_an_unreadable_snapshot_stops_its_own_workflow_only(
    event: str, damage: tuple[bytes, bytes]
) -> None:
    """Its bytes and its waiting events stay; its later events and commands become letters."""
    async with World((SLEEPY, {"work": Script(HOLD)})) as world:
        world.send("w", event if event != "idle" else "nap")
        world.send("w", "tick")
        await world.rest()
        if event == "idle":
            await world.leap(1.1)
        waited = world.waiting()
        world.crash()
        store = world.broker._stores[world.home("w")]
        store[b"s:w"] = damaged = store[b"s:w"].replace(*damage)
        await world.start()
        await world.idle()
        await world.leap(2)
        world.send("w", "tick")
        world.command("retry", "w")
        world.send("other", "nap")
        await world.idle()
        reasons = [letter.reason for letter in world.letters()]
        assert reasons == [Reason.UNREADABLE_SNAPSHOT] * 2
        assert store[b"s:w"] == damaged
        assert world.waiting() == waited == (event == "go")
        assert world.state("other") == "napping"


async def test_too_many_waiting_events_become_letters_in_sequence() -> None:
    """`max_waiting` bounds what a busy workflow keeps; what waits is decided before the letters."""
    work = Script(HOLD)
    limits = EngineLimits(max_waiting=3)
    async with World((BUSY, {"work": work}), limits=limits) as world:
        world.send("w", "go")
        for _ in range(5):
            world.send("w", "tick")
        await world.rest()
        assert world.waiting() == 3
        reasons = [letter.reason for letter in world.letters()]
        assert reasons == [Reason.WAITING_FULL, Reason.BEHIND_LETTER]
        work.let_go()
        await world.idle()
        assert [one.number for one in world.letters()] == [0, 1]
        assert world.outcomes("w").count("tick applied") == 3
        world.send("w", "tick")
        await world.idle()
        assert world.letters()[-1].reason == Reason.BEHIND_LETTER
