"""`on_upgrade: pin`: several versions side by side, and each workflow runs the one it was born under."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from event_center.machine import parse
from tests.engine.world import World, bind

OLD = """
machine: job
version: 1
initial: waiting
states:
  waiting: {after: {1h: late}, on: {begin: doing}}
  doing: {entry: work, exit: leave, on: {end: done}}
  late: {on: {end: done}}
  done: {type: final}
"""
NEW = """
machine: job
version: 2
initial: new
on_upgrade: pin
states:
  new: {on: {begin: doing}}
  doing: {entry: [work, more], on: {end: {target: done, guard: =payload.sure}}}
  done: {type: final}
"""
Functions = dict[str, Callable[..., Any]]


def functions(ran: list[str]) -> Functions:
    """The callbacks of both versions."""

    def noting(name: str) -> Callable[..., Any]:
        async def note(workflow_id: str) -> None:
            ran.append(f"{workflow_id} {name}")

        return note

    return {name: noting(name) for name in ("work", "more", "leave")}


def upgrade(world: World, ran: list[str], *, with_old: bool = True, new: str = NEW) -> None:
    """Give the processes that start from now on the newer version, and the older one beside it."""
    given = functions(ran)
    plan = world.redefine((new, {name: given[name] for name in ("work", "more")}))
    if with_old:
        older = bind(OLD, {name: given[name] for name in ("work", "leave")})
        world.plan = replace(plan, older={("job", 1): older})


async def test_a_workflow_stays_under_the_version_it_was_born_under() -> None:
    """States, timers, guards, entries and exits are those of its own version; new ones have the new."""
    ran: list[str] = []
    given = functions(ran)
    async with World((OLD, {name: given[name] for name in ("work", "leave")})) as world:
        world.send("a", "begin")
        world.send("b", "nothing")
        world.send("b", "begin")
        await world.idle()
        upgrade(world, ran)
        await world.crash_and_recover()
        world.send("a", "end")
        world.send("c", "begin")
        await world.idle()
        world.send("c", "end", {"sure": True})
        await world.idle()
        assert [world.snapshot(one).version for one in "ac"] == [1, 2]
        assert [world.state(one) for one in "ac"] == ["done", "done"]
        assert [one for one in ran if one[0] in "ac"] == ["a work", "a leave", "c work", "c more"]
        counts = {(place.version, place.state): n for place, n in world.entry().counts.items() if n}
        assert counts == {(1, "done"): 1, (2, "done"): 1, (1, "doing"): 1}
        assert sorted(world.entry().machines) == ["job@1", "job@2"]


async def test_timers_of_a_pinned_workflow_fire() -> None:
    """A state that only the older version has goes on as if there were no other."""
    text = OLD.replace("initial: waiting", "initial: waiting\non: {hello: {}}")
    async with World((text, functions([]))) as world:
        world.send("a", "hello")
        await world.idle()
        world.plan = replace(
            world.redefine((NEW, functions([]))), older={("job", 1): bind(text, functions([]))}
        )
        await world.crash_and_recover()
        await world.leap(2)
        await world.idle()
        assert (world.state("a"), world.snapshot("a").version) == ("late", 1)
        world.send("a", "end")
        await world.idle()
        assert world.snapshot("a").result == "success"


async def test_without_its_file_a_pinned_workflow_is_parked() -> None:
    """It waits for its version to be loaded again, or for an operator who moves it to the new one."""
    ran: list[str] = []
    async with World((OLD, functions(ran))) as world:
        world.send("a", "begin")
        world.send("b", "begin")
        await world.idle()
        upgrade(world, ran, with_old=False)
        await world.crash_and_recover()
        world.send("a", "end")
        world.send("b", "end")
        await world.idle()
        assert {world.snapshot(one).parked for one in "ab"} == {"no_place"}
        world.command("set-state", "b", state="new", reason="the old version is gone")
        await world.idle()
        assert (world.state("b"), world.snapshot("b").version) == ("new", 2)
        upgrade(world, ran)
        await world.crash_and_recover()
        world.command("retry", "a")
        await world.idle()
        assert (world.state("a"), world.snapshot("a").version) == ("done", 1)


async def test_without_pin_it_moves() -> None:
    """The twin: without `on_upgrade: pin` the same workflow goes on under the newer version."""
    ran: list[str] = []
    async with World((OLD, functions(ran))) as world:
        world.send("a", "begin")
        await world.idle()
        upgrade(world, ran, new=NEW.replace("on_upgrade: pin\n", ""))
        await world.crash_and_recover()
        world.send("a", "end", {"sure": True})
        await world.idle()
        assert (world.state("a"), world.snapshot("a").version) == ("done", 2)


def test_pin_is_part_of_what_a_machine_does() -> None:
    """It counts in the hash, and `to_yaml` writes it."""
    machine = parse(NEW)
    assert machine.hash != parse(NEW.replace("on_upgrade: pin", "on_upgrade: move")).hash
    assert parse(machine.to_yaml()).hash == machine.hash
