"""Workflows with nothing to do: they stay live for a while, and become exactly their bytes."""

from __future__ import annotations

import pytest

from event_center.engine.standing import Standing
from event_center.engine.workflow import Workflows
from event_center.model import Shard, Snapshot
from tests.engine.machines import resting
from tests.engine.script import HOLD, Script
from tests.engine.world import WARM, World

MACHINE = resting("""
data: {n: 0}
states:
  idle: {on: {add: {assign: {n: =data.n + 1}}, go: busy}}
  busy: {entry: [work], on: {done: idle, add: {assign: {n: =data.n + 1}}}}
""")
MANY = 4 * WARM


def world_with(work: Script | None = None) -> World:
    """A world of the machine."""
    return World((MACHINE, {"work": work or Script()}))


def workflows_of(world: World) -> Workflows:
    """The workflows of the only shard."""
    parts = world.processes[0].member.owners[Shard(0)]._parts
    assert parts is not None
    return parts.workflows


async def add_to(world: World, *workflow_ids: str) -> None:
    """One event for each, a cut after the other."""
    for workflow_id in workflow_ids:
        world.send(workflow_id, "add")
        await world.rest(0.1)


async def test_few_stay_live() -> None:
    """However many workflows there were: live are those of the last two times that some cooled."""
    async with world_with() as world:
        await add_to(world, *[f"w{number}" for number in range(MANY)])
        live = [name for name, one in workflows_of(world).by_id.items() if type(one) is not bytes]
        assert 0 < len(live) <= 2 * (WARM + 1)
        assert f"w{MANY - 1}" in live
        await add_to(world, *[f"w{number}" for number in range(MANY)])
        assert all(world.snapshot(f"w{number}").data == {"n": 2} for number in range(MANY))


LEAVES = resting("""
states:
  idle: {on: {go: timed}}
  timed: {on: {go: here, end: over}, after: {50s: idle}}
  here: {on: {hop: there}}
  there: {on: {hop: here}}
  over: {type: final}
""")


async def awake_after_its_time(event: str, then: str = "") -> set[str]:
    """Who is live of those that left a state in time, when its timer would be due; `then` others do."""
    async with World(LEAVES) as world:
        names = [f"w{number}" for number in range(MANY)]
        for name in ("go", event):
            for workflow_id in names:
                world.send(workflow_id, name)
            await world.idle()
        for number in range(MANY):  # others cool them
            world.send(f"other-{number}", "go")
            world.send(f"other-{number}", "end")
            await world.rest(0.1)
        await world.rest(60)
        for number in range(MANY if then else 0):
            world.send(f"then-{number}", then)
            await world.rest(0.1)
        workflows = workflows_of(world).by_id
        return {name for name in names if isinstance(workflows[name], Snapshot)}


@pytest.mark.parametrize("event", ["go", "end"])
async def test_a_timer_that_is_over_wakes_nobody_for_long(
    event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it finds that has left in time is what it was; the twin: else until others cool it."""
    assert await awake_after_its_time(event) == set()
    if event == "end":
        monkeypatch.setattr(Workflows, "put_back", lambda *_: None)
        assert len(await awake_after_its_time(event)) > WARM


@pytest.mark.parametrize("kept", [True, False])
async def test_who_is_woken_rests_again_with_the_others(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was woken for. The twin: without its bytes it stays live, which every cut looks for."""
    monkeypatch.setattr(Workflows, "put_back", lambda *_: None)
    if kept:
        assert len(await awake_after_its_time("end", then="go")) <= 2 * (WARM + 1)
        return
    wake = Workflows.wake

    def forgets(self: Workflows, workflow_id: str, workflow: bytes | Standing) -> Snapshot:
        snapshot = wake(self, workflow_id, workflow)
        self.warm.pop(workflow_id, None)
        return snapshot

    monkeypatch.setattr(Workflows, "wake", forgets)
    expected = pytest.RaisesExc(AssertionError, match="stays live")
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        await awake_after_its_time("end", then="go")


async def test_who_is_busy_does_not_become_bytes() -> None:
    """A workflow that was at rest, and then owes a run or waits, stays as it is while others cool."""
    work = Script(HOLD)
    async with world_with(work) as world:
        await add_to(world, "busy")
        world.send("busy", "go")
        await world.rest()
        await add_to(world, *[f"w{number}" for number in range(MANY)])
        world.send("busy", "add")
        await world.rest()
        work.let_go("done")
        await world.idle()
        assert world.snapshot("busy").state == "idle"
        assert world.snapshot("busy").data == {"n": 2}


async def moved_between() -> None:
    """One that comes to rest, moves again while others cool, and rests again."""
    async with world_with() as world:
        await add_to(world, "w", "a", "b", "w", "c", "d", "w")
        assert world.snapshot("w").data == {"n": 3}


async def test_bytes_are_those_of_the_last_cut() -> None:
    """One that moved since it came to rest keeps its newer bytes."""
    await moved_between()


async def test_without_a_look_at_newer_bytes_state_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: memory is not what a restore finds any more, which every cut is checked for."""
    monkeypatch.setattr(Workflows, "cool", _forgetful)
    expected = pytest.RaisesExc(AssertionError, match="in memory, .* restored")
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        await moved_between()


def _forgetful(self: Workflows) -> None:
    """`cool` without its look at what was dumped meanwhile."""
    self.by_id.update(self._cooling)
    self._cooling, self.warm = self.warm, {}
