"""One workflow that no cut goes through with is found and parked; an outage parks nobody."""

from __future__ import annotations

from collections import Counter

import pytest

from event_center import Event
from event_center.engine.apart import Apart
from event_center.engine.isolation import FEW, Isolation
from event_center.engine.parts import Parts
from event_center.log.memory import Ending
from event_center.log.port import Cut
from event_center.wire.entries import is_snapshot
from tests.engine.script import Script
from tests.engine.world import World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
data: {note: null}
events:
  note: {}
  go: {}
  noted: {}
  early: {missing: {hold: 1h}}
on: {early: {}}
states:
  idle: {on: {note: {assign: {note: =payload}}, go: busy}}
  busy: {entry: work, on: {noted: {target: idle, assign: {note: =payload}}}}
"""


def spoiled(cut: Cut) -> bool:
    """Whether a snapshot in it has what no log takes."""
    return any(
        is_snapshot(key) and b"spoiled" in (value or b"") for key, value in cut.entries.items()
    )


@pytest.mark.parametrize("before", [0, 30])
async def test_the_workflow_that_spoils_its_cuts_is_parked(before: int) -> None:
    """Alone, with its event waiting for it; what came before, with and after it is decided."""
    async with World((MACHINE, {"work": Script()})) as world:
        world.send("w", "note", "well")
        await world.idle()
        world.faults.spoiled = spoiled
        for number in range(before):
            world.send(f"b{number}", "note", number)
        world.send("w", "note", "spoiled")
        for number in range(50):
            world.send(f"a{number}", "note", number)
        await world.rest(600)
        assert world.snapshot("w").parked == "cut_failed"
        assert world.snapshot("w").data == {"note": "well"}
        assert world.entry().waiting["parked"] == 1
        assert world.entry().outcomes["applied"] == 1 + before + 50
        assert world.processes[0].member.reached() == []
        world.faults.spoiled = None
        world.command("retry", "w")
        await world.idle()
        assert world.snapshot("w").data == {"note": "spoiled"}


async def test_without_the_search_its_shard_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: nobody thinks of the cut, so that it fails for ever, and nobody else is decided."""
    monkeypatch.setattr(Isolation, "failed", lambda self, cut, records, **_: None)
    async with World((MACHINE, {"work": Script()})) as world:
        world.send("w", "note", "well")
        await world.idle()
        world.faults.spoiled = spoiled
        world.send("w", "note", "spoiled")
        world.send("a", "note", 1)
        await world.rest(600)
        assert not world.exists("a")
        assert world.snapshot("w").parked is None
        world.faults.spoiled = None
        await world.rest(600)
        assert world.snapshot("a").data == {"note": 1}


@pytest.mark.parametrize("expected", [False, True])
async def test_an_event_that_spoils_the_first_cut_of_its_workflow(expected: bool) -> None:
    """There is nobody to park: the event becomes a letter, which can be replayed, and all others go on."""
    async with World((MACHINE, {"work": Script()})) as world:
        await world.idle()
        world.faults.spoiled = spoiled
        if expected:
            world.send("w", "early")
        world.send("w", "note", "spoiled")
        for number in range(20):
            world.send(f"a{number}", "note", number)
        await world.rest(600)
        assert [(one.workflow_id, one.reason) for one in world.letters()] == [("w", "failed")]
        assert world.entry().outcomes["applied"] == 20
        assert world.processes[0].member.reached() == []
        world.faults.spoiled = None
        world.send("w", "note", "well")
        await world.idle()
        assert world.snapshot("w").data == {"note": "well"}


async def test_without_that_letter_its_shard_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: nobody makes a letter of the event, so what came after it waits, and the limit says so."""
    monkeypatch.setattr(Parts, "leave_unborn", lambda self, workflow_id: None)
    async with World((MACHINE, {"work": Script()})) as world:
        await world.idle()
        world.faults.spoiled = spoiled
        world.send("w", "note", "spoiled")
        world.send("a", "note", 1)
        await world.rest(20)
        assert not world.exists("a")
        assert [one.limit for one in world.processes[0].member.reached()] == ["log"]
        world.faults.spoiled = None
        await world.rest(20)
        assert world.snapshot("a").data == {"note": 1}


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.WRITTEN, Ending.NOT_COMMITTED])
async def test_an_outage_parks_nobody(ending: Ending) -> None:
    """However long the log does not answer, and whoever is alone in a cut: then nothing gets through."""
    async with World((MACHINE, {"work": Script()})) as world:
        await world.idle()
        world.faults.commits.extend([ending] * 40)
        world.send("w", "note", 1)
        await world.rest(100)
        for number in range(10):
            world.send(f"w{number}", "note", number)
        await world.rest(3_000)
        assert world.entry().outcomes["applied"] == 11
        assert world.entry().waiting["parked"] == 0
        assert world.processes[0].member.reached() == []


async def test_a_flapping_log_parks_nobody() -> None:
    """Commits that end as they like, of pieces as well: who is alone in one that fails goes on."""
    async with World((MACHINE, {"work": Script()})) as world:
        await world.idle()
        world.faults.commits.extend([*[Ending.LOST] * 4, None, Ending.LOST, None, None] * 6)
        for number in range(40):
            world.send(f"w{number}", "note", number)
        await world.rest(1_000)
        assert world.entry().outcomes["applied"] == 40
        assert world.entry().waiting["parked"] == 0


async def flapping() -> int:
    """How many events are decided on a log that fails who is alone, and bare cuts in between as well."""
    alone_fails = [Ending.LOST, None, Ending.LOST]
    async with World((MACHINE, {"work": Script()})) as world:
        world.send("w", "note", 1)
        await world.idle()
        world.faults.commits.extend([Ending.LOST] * 3 + [None, *alone_fails * 4])
        world.send("w", "note", 1)
        await world.rest(100)
        assert not world.faults.commits
        return world.entry().outcomes["applied"]


async def test_who_fails_alone_as_bare_cuts_do_is_not_convicted() -> None:
    """A bare cut that fails takes back what was counted: the log may have been why before."""
    assert await flapping() == 2


async def test_without_doubt_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: what was counted stays although the log takes no bare cut either."""
    monkeypatch.setattr(Isolation, "_doubt", lambda self: None)
    assert await flapping() == 1


RUNS = """
machine: m
version: 1
initial: new
perpetual: true
data: {note: null}
states:
  new: {on: {begin: busy}}
  busy: {entry: {do: work}, on: {noted: {target: idle, assign: {note: =payload}}}}
  idle: {on: {begin: busy}}
"""


@pytest.mark.parametrize("others", [0, 1, 5, FEW + 6])
async def test_a_result_that_spoils_its_cuts_parks_its_workflow(others: int) -> None:
    """Runs of others end with it each time; theirs get through, and the takeovers are few."""

    async def work(workflow_id: str) -> Event:
        return Event("noted", "spoiled" if workflow_id == "w" else "fine")

    async with World((RUNS, {"work": work})) as world:
        await world.idle()
        world.faults.spoiled = spoiled
        world.send("w", "begin")
        for number in range(others):
            world.send(f"a{number}", "begin")
        await world.rest(120)
        assert world.snapshot("w").parked == "cut_failed"
        assert all(world.state(f"a{number}") == "idle" for number in range(others))
        assert world.processes[0].member.reached() == []
        assert world.entry().takeovers < 20
        world.faults.spoiled = None
        world.command("retry", "w")
        await world.idle()
        assert world.snapshot("w").data == {"note": "spoiled"}


@pytest.mark.parametrize("lasts_s", [15, 90])
@pytest.mark.parametrize("events", [0, 30])
async def test_a_long_run_whose_result_spoils_its_cuts(lasts_s: int, events: int) -> None:
    """However long it runs, and whatever comes meanwhile, also for itself: it is found, and it alone."""
    runs = RUNS.replace("{do: work}", "{do: work, timeout: 1h}")
    called: Counter[str] = Counter()

    async def work(workflow_id: str) -> Event:
        called[workflow_id] += 1
        await world.rest(lasts_s)
        return Event("noted", "spoiled" if workflow_id == "w" else "fine")

    async with World((runs, {"work": work})) as world:
        await world.idle()
        world.faults.spoiled = spoiled
        for number in range(10):
            world.send(f"a{number}", "begin")
        world.send("w", "begin")
        for number in range(events):
            world.send(f"b{number % 7}", "begin")
            world.send("w", "begin")
            await world.rest(lasts_s / 3)
        await world.rest(20 * lasts_s)
        assert world.snapshot("w").parked == "cut_failed"
        assert called["w"] < 12
        assert all(world.state(f"a{number}") == "idle" for number in range(10))
        assert all(world.state(f"b{number}") == "idle" for number in range(7 if events else 0))
        assert world.processes[0].member.reached() == []


async def test_a_verdict_ends_with_the_parking() -> None:
    """Who was parked outside of a search and is retried is not parked again by a commit of others."""
    runs = RUNS.replace("{do: work}", "{do: work, timeout: 1h}")

    async def work(workflow_id: str) -> Event:
        await world.rest(15)
        return Event("noted", "spoiled" if workflow_id == "w" else "fine")

    async with World((runs, {"work": work})) as world:
        await world.idle()
        world.faults.spoiled = spoiled
        for name in ("a", "w"):
            world.send(name, "begin")
        for number in range(200):  # cuts that are durable between those that fail
            world.send("w", "begin")
            world.send(f"b{number}", "begin")
            await world.rest(1)
        assert world.snapshot("w").parked == "cut_failed"
        world.faults.spoiled = None
        world.command("retry", "w")
        await world.rest(3)
        world.faults.commits.append(Ending.LOST)
        world.send("other", "begin")
        await world.rest(5)
        assert world.snapshot("w").parked is None


TIMED = """
machine: t
version: 1
initial: new
perpetual: true
data: {note: null}
states:
  new: {on: {begin: {target: wait, assign: {note: =payload}}}}
  wait: {after: {10s: {target: idle, assign: {note: =data.note + '!'}}}}
  idle: {}
"""


def spoiled_later(cut: Cut) -> bool:
    """Whether it has what no log takes once a timer has fired."""
    return any(
        is_snapshot(key) and b"spoiled!" in (value or b"") for key, value in cut.entries.items()
    )


@pytest.mark.parametrize("others", [0, 5, FEW + 6])
async def test_a_timer_that_spoils_its_cut(others: int) -> None:
    """Timers that fire together are told apart: its workflow is parked, those of the others have fired."""
    async with World(TIMED) as world:
        await world.idle()
        world.faults.spoiled = spoiled_later
        world.send("w", "begin", "spoiled")
        for number in range(others):
            world.send(f"a{number}", "begin", "fine")
        await world.rest(120)
        assert world.snapshot("w").parked == "cut_failed"
        assert all(world.state(f"a{number}") == "idle" for number in range(others))
        assert world.processes[0].member.reached() == []
        assert world.entry().takeovers < 20
        world.faults.spoiled = None
        world.command("retry", "w")
        await world.idle()
        assert world.state("w") == "idle"


async def test_without_cuts_of_their_own_timers_are_not_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: all fire into one cut, again and again, and nobody is parked."""
    monkeypatch.setattr(Apart, "put_off", lambda self, workflow_id, act: False)
    async with World(TIMED) as world:
        await world.idle()
        world.faults.spoiled = spoiled_later
        world.send("w", "begin", "spoiled")
        for number in range(5):
            world.send(f"a{number}", "begin", "fine")
        await world.rest(30)
        assert world.snapshot("w").parked is None
        assert world.state("a0") == "wait"
        world.faults.spoiled = None
        await world.rest(60)
        assert world.state("w") == "idle"


async def test_an_outage_of_commits_parks_nobody_who_is_apart() -> None:
    """Whoever is searched for is not convicted by a log that takes nothing at all."""

    async def work(workflow_id: str) -> Event:
        return Event("noted", "spoiled" if workflow_id == "w" else "fine")

    async with World((RUNS, {"work": work})) as world:
        await world.idle()
        world.faults.spoiled = spoiled
        for name in ("w", "a"):
            world.send(name, "begin")
        while world.processes[0].owner(0)._takeovers.isolation.apart.get("w") is None:
            await world.rest(0.01)
        world.faults.spoiled = lambda _: True
        await world.rest(600)
        world.faults.spoiled = None
        await world.rest(60)
        assert [world.state(name) for name in ("w", "a")] == ["idle", "idle"]
        assert world.entry().waiting["parked"] == 0


RETRIED = """
machine: m
version: 1
initial: idle
perpetual: true
retries:
  default: {max_attempts: 3, interval: 1m}
states:
  idle: {on: {go: {target: idle, before: work}, wait: waits}}
  waits: {after: {1m: {target: idle, before: work}}}
"""


def fails(_: object) -> None:
    """An attempt that fails."""
    raise OSError("not now")


@pytest.mark.parametrize("event", ["go", "wait"])
async def test_in_a_search_nothing_begins_before_the_bare_cut(event: str) -> None:
    """Not what time brings either: a timer and an attempt that come due meanwhile begin after it."""
    work = Script(*[fails] * (event == "go"))
    async with World((RETRIED, {"work": work})) as world:
        world.send("w", event)
        await world.rest(5)
        before = len(work.calls)
        world.faults.commits.extend([Ending.LOST] * 60)
        world.send("a", "wait")
        await world.rest(120)
        assert world.faults.commits
        begun = len(work.calls) - before
        world.faults.commits.clear()
        await world.idle()
        await world.rest(120)
        assert (begun, world.state("w"), len(work.calls) > before) == (0, "idle", True)
