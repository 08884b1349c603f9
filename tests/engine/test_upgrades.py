"""Versions: workflows of an older one go on under the one that is loaded, as `migrate` says."""

from __future__ import annotations

import pytest

from event_center.machine import Machine, parse
from event_center.model import Snapshot, Timer
from tests.engine.world import NOW, World

HOUR = 3_600_000
OLD = """
machine: job
version: 1
initial: waiting
data: {euros: 5, name: a}
states:
  waiting:
    entry: begin
    after: {1h: failed, 2h: failed}
    on: {begin: doing}
  doing: {entry: work, on: {end: done}}
  done: {type: final}
  failed: {type: final, result: failure}
"""
NEW = """
machine: job
version: 3
initial: new
data: {cents: 0, name: x, tries: 1}
migrate:
  - {from: 2, data: {cents: =data.euros * 100}, drop: euros}
  - {from: 1, states: {waiting: prepared, doing: working}}
states:
  new: {on: {go: prepared}}
  prepared:
    entry: begin
    after: {1h: failed, 4h: failed, 30m: failed}
    on: {begin: working, touch: {}}
  working: {entry: work, on: {end: done}}
  done: {type: final}
  failed: {type: final, result: failure}
"""


async def callback() -> None:
    """A callback that does nothing."""


FUNCTIONS = {"begin": callback, "work": callback}


def old(state: str = "waiting", version: int = 1) -> Snapshot:
    """A workflow as version 1 left it."""
    snapshot = Snapshot("w", "job", version, state)
    snapshot.data = {"euros": 7, "name": "b"}
    snapshot.entered_at_ms = NOW
    snapshot.seq = 4
    return snapshot


async def test_a_workflow_goes_on_in_the_state_that_migrate_names() -> None:
    """State, data and timers are those of the new version, from the next event on; history tells of it."""
    async with World((OLD, FUNCTIONS)) as world:
        world.send("w", "begin", id="1")
        world.send("v", "nothing")
        world.send("u", "begin", id="2")
        await world.idle()
        assert world.state("w") == "doing"
        world.redefine((NEW, FUNCTIONS))
        await world.crash_and_recover()
        world.send("w", "end")
        await world.idle()
        assert world.snapshot("w").data == {"cents": 500, "name": "a", "tries": 1}
        assert (world.snapshot("w").version, world.state("w")) == (3, "done")
        [told] = world.history("w", "migrated")
        assert (told["from"], told["to"], told["from_version"]) == ("doing", "working", 1)
        assert (told["version"], told["seq"]) == (3, 1)
        assert world.history("w")[-1]["from"] == "working"
        assert world.snapshot("u").version == 1


async def test_a_run_that_is_owed_is_found_under_the_new_version() -> None:
    """An owed run of a renamed state happens, with its key as before."""
    keys: list[str] = []

    async def work(idempotency_key: str) -> None:
        keys.append(idempotency_key)
        if len(keys) == 1:
            raise OSError

    text = OLD.replace("entry: work", "entry: {do: work, retry: {interval: 1h}}")
    async with World((text, FUNCTIONS | {"work": work})) as world:
        world.send("w", "begin")
        await world.rest(1)
        world.redefine((NEW, FUNCTIONS | {"work": work}))
        await world.crash_and_recover()
        await world.leap(2)
        await world.idle()
        assert keys == ["w/1/work", "w/1/work"]
        assert (world.state("w"), world.snapshot("w").version) == ("working", 3)


async def test_who_has_no_place_is_parked_and_goes_on_once_it_has_one() -> None:
    """Without a mapping the workflow waits as it was; a version that maps its state and `retry` help."""
    async with World((OLD, FUNCTIONS)) as world:
        world.send("w", "begin")
        await world.idle()
        world.redefine((NEW.replace("doing: working", "xxx: working"), FUNCTIONS))
        await world.crash_and_recover()
        world.send("w", "end")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.parked, snapshot.state, snapshot.version) == ("no_place", "doing", 1)
        world.redefine((NEW.replace("version: 3", "version: 4"), FUNCTIONS))
        await world.crash_and_recover()
        world.command("retry", "w")
        await world.idle()
        assert (world.state("w"), world.snapshot("w").version) == ("done", 4)


async def test_data_that_can_not_be_worked_out_park_the_workflow() -> None:
    """What fails in `migrate` changes nothing; the workflow keeps the message."""
    async with World((OLD.replace("euros: 5", "euros: x"), FUNCTIONS)) as world:
        world.send("w", "begin")
        await world.idle()
        world.redefine((NEW, FUNCTIONS))
        await world.crash_and_recover()
        world.send("w", "end")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.parked, snapshot.state) == ("no_place", "doing")
        assert snapshot.data == {"euros": "x", "name": "a"}
        assert snapshot.failure is not None
        assert "* works on numbers, not on text" in snapshot.failure.message


def test_timers_of_a_renamed_state() -> None:
    """Those that stay keep their times, gone ones go, new ones count from the entry, if still to come."""
    snapshot = old()
    snapshot.timers = (Timer("@after/1h", 4, NOW + 9), Timer("@after/2h", 4, NOW + 2 * HOUR))
    upgraded = parse(NEW).upgraded(snapshot, NOW + HOUR)
    assert upgraded is not None
    assert upgraded.timers == (
        Timer("@after/1h", 4, NOW + 9),
        Timer("@after/4h", 4, NOW + 4 * HOUR),
    )


def test_parts_follow_each_other() -> None:
    """A workflow goes through the parts of its version and of all later ones; a newer one through none."""
    machine = parse(NEW)
    second = machine.upgraded(old("prepared", 2), NOW)
    assert second is not None
    assert (second.state, second.data["cents"], second.told) == ("prepared", 700, True)
    third = machine.upgraded(old("prepared", 9), NOW)
    assert third is not None
    assert (third.data["cents"], third.told) == (0, False)
    assert machine.upgraded(old("waiting", 2), NOW) is None


REGIONS = """
machine: job
version: 2
initial: both
migrate: {from: 1, states: {a: x, top: both}}
perpetual: true
states:
  both:
    type: parallel
    states:
      one: {initial: x, states: {x: {on: {go: y}, after: {1h: y}}, y: {on: {go: x}}}}
      two: {initial: b, states: {b: {on: {go: c}}, c: {on: {go: b}}}}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [("a|c", "x|c"), ("y|b", "y|b"), ("top", "x|b"), ("a", "x|b"), ("z|b", None)],
)
def test_each_region_is_mapped(before: str, after: str | None) -> None:
    """Of a configuration every leaf is renamed; a name of a state with states inside begins in it."""
    upgraded = parse(REGIONS).upgraded(old(before), NOW)
    assert (None if upgraded is None else upgraded.state) == after


def test_timers_inside_of_renamed_regions() -> None:
    """The id of a timer has the name of its state in it, which is renamed with it."""
    snapshot = old("a|c")
    snapshot.timers = (Timer("@after/1h/a", 4, NOW + 5),)
    upgraded = parse(REGIONS).upgraded(snapshot, NOW)
    assert upgraded is not None
    assert upgraded.timers == (Timer("@after/1h/x", 4, NOW + 5),)


def changed(text: str) -> Machine:
    """The new version with this in the place of its first part."""
    return parse(NEW.replace("{from: 2, data: {cents: =data.euros * 100}, drop: euros}", text))


def test_migrate_is_part_of_what_a_machine_does() -> None:
    """Each key counts in the hash, and `to_yaml` writes it."""
    machine = parse(NEW)
    others = [
        "{from: 2, drop: euros}",
        "{from: 2, data: {cents: =data.euros * 10}, drop: euros}",
        "{from: 2, data: {cents: =data.euros * 100}, states: {a: new}, drop: euros}",
    ]
    assert len({machine.hash, *(changed(other).hash for other in others)}) == 4
    assert parse(machine.to_yaml()).hash == machine.hash
