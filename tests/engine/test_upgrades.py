"""Versions: workflows of an older one go on under the one that is loaded, as `migrate` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from event_center import Blueprint, State, with_callbacks
from event_center.errors import DefinitionError, ExpressionError, PluginError
from event_center.machine import Machine, load, parse
from event_center.machine.builder import built
from event_center.model import Snapshot, Timer
from tests.engine.world import NOW, World, bind

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


async def test_nobody_moves_back() -> None:
    """A center of the old version goes on with who has moved, and `migrate` is not applied twice."""
    same = (
        OLD.replace("version: 1", "version: 2")
        + "migrate: {from: 1, data: {euros: =data.euros * 100}}"
    )
    async with World((OLD, FUNCTIONS)) as world:
        world.send("w", "begin")
        await world.idle()
        for text, event in ((same, "unheard"), (OLD, "unheard"), (same, "end")):
            world.redefine((text, FUNCTIONS))
            await world.crash_and_recover()
            world.send("w", event)
            await world.idle()
            assert world.snapshot("w").version == 2
        assert (world.state("w"), world.snapshot("w").data["euros"]) == ("done", 500)
        assert len(world.history("w", "migrated")) == 1


async def test_who_has_moved_to_a_state_that_the_old_version_does_not_know_is_parked() -> None:
    """A center of the old version has no place for it; one of the new version has."""
    async with World((OLD, FUNCTIONS)) as world:
        world.send("w", "begin")
        await world.idle()
        world.redefine((NEW, FUNCTIONS))
        await world.crash_and_recover()
        world.send("w", "unheard")
        await world.idle()
        world.redefine((OLD, FUNCTIONS))
        await world.crash_and_recover()
        world.send("w", "end")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.parked, snapshot.state, snapshot.version) == ("no_place", "working", 3)
        world.redefine((NEW, FUNCTIONS))
        await world.crash_and_recover()
        world.command("retry", "w")
        await world.idle()
        assert (world.state("w"), world.snapshot("w").version) == ("done", 3)


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


BY_FUNCTION = NEW.replace("data: {cents: =data.euros * 100}, drop: euros", "data: to_cents")


def to_cents(data: dict[str, Any], state: str, workflow_id: str, now: int) -> dict[str, Any]:
    """New data of the old; what it does to the old ones is its own affair."""
    made = {"cents": data.pop("euros") * 100, "name": f"{workflow_id} in {state}"}
    return made | {"late": now < NOW}


async def test_a_function_of_the_plugin_makes_the_new_data() -> None:
    """It returns all of them: other keys are gone, and those that are new in the machine have defaults."""
    async with World((OLD, FUNCTIONS)) as world:
        world.send("w", "begin")
        await world.idle()
        world.redefine((BY_FUNCTION, FUNCTIONS | {"to_cents": to_cents}))
        await world.crash_and_recover()
        world.send("w", "end")
        await world.idle()
        expected = {"cents": 500, "name": "w in working", "late": False, "tries": 1}
        assert (world.state("w"), world.snapshot("w").data) == ("done", expected)


def broken(data: dict[str, Any]) -> dict[str, Any]:
    """It spoils what it gets, and then fails."""
    data.clear()
    raise LookupError("no rate for euros")


def text_of(data: dict[str, Any]) -> Any:
    """No data."""
    return str(data)


def unsayable(data: dict[str, Any]) -> dict[str, Any]:
    """Data that no log can hold."""
    return data | {"rates": {1, 2}}


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (broken, "LookupError", "no rate for euros"),
        (text_of, "PluginError", "text_of() returned a str; return the new data, a dict"),
        (unsayable, "PluginError", "unsayable(): what it returned is not JSON"),
    ],
)
async def test_a_function_that_fails_parks_the_workflow(
    function: Callable[..., Any], kind: str, message: str
) -> None:
    """Nothing of the workflow changed, it keeps what was raised, and `retry` with a better one helps."""
    async with World((OLD, FUNCTIONS)) as world:
        world.send("w", "begin")
        await world.idle()
        world.redefine((BY_FUNCTION, FUNCTIONS | {"to_cents": function}))
        await world.crash_and_recover()
        world.send("w", "end")
        await world.idle()
        snapshot = world.snapshot("w")
        assert (snapshot.parked, snapshot.state, snapshot.version) == ("no_place", "doing", 1)
        assert snapshot.data == {"euros": 5, "name": "a"}
        failure = snapshot.failure
        assert failure is not None
        assert (failure.callback, failure.type) == ("upgrade to_cents", kind)
        assert message in failure.message
        world.redefine((BY_FUNCTION, FUNCTIONS | {"to_cents": to_cents}))
        await world.crash_and_recover()
        world.command("retry", "w")
        await world.idle()
        assert world.state("w") == "done"


def test_a_function_of_migrate_is_looked_at_when_it_is_loaded() -> None:
    """It is there, it is not async, it takes what there is; alone, a machine says that it has none."""
    machine = parse(BY_FUNCTION, "job.yaml")
    with pytest.raises(
        ExpressionError, match=r"job.yaml:\d+:\d+: no plugin gives the upgrade 'to_cents'"
    ):
        machine.upgraded(old("prepared", 2), NOW)
    with pytest.raises(PluginError, match="nobody implements the upgrade 'to_cents'"):
        bind(BY_FUNCTION, FUNCTIONS)
    with pytest.raises(PluginError, match="is async or yields, and an upgrade may not"):
        bind(BY_FUNCTION, FUNCTIONS | {"to_cents": callback})
    with pytest.raises(PluginError, match="an upgrade cannot take payload"):
        bind(BY_FUNCTION, FUNCTIONS | {"to_cents": lambda payload: payload})
    with pytest.raises(DefinitionError, match="it drops by leaving out"):
        parse(BY_FUNCTION.replace("to_cents", "to_cents, drop: x"))
    with pytest.raises(DefinitionError, match="names a function; this is a list"):
        parse(BY_FUNCTION.replace("to_cents", "[a]"))


PART = {"from": 1, "data": to_cents}


class Till(Blueprint, version=2, data={"cents": 0}, migrate=PART, perpetual=True):
    """A machine with the function itself in it."""

    counting = State(initial=True)
    again = counting.to(counting)


def test_a_blueprint_names_the_function_itself() -> None:
    """In Python the function stands where YAML has its name; the two are the same machine."""
    same = parse(load(Till).to_yaml())
    assert same.hash == load(Till).hash
    [upgrade] = same.definition.upgrades
    assert upgrade.function == "to_cents"
    drawn = built(Till)
    assert (drawn.upgrades, drawn.callbacks) == ({"to_cents": to_cents}, {})
    given = with_callbacks(load(Till)).machine.upgraded(old("counting"), NOW)
    assert given is not None
    assert given.data["cents"] == 700


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
        "{from: 2, data: to_cents}",
        "{from: 2, data: to_euros}",
    ]
    made = [machine, *map(changed, others)]
    assert len({one.hash for one in made}) == 6
    assert all(parse(one.to_yaml()).hash == one.hash for one in made)
