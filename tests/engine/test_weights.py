"""What a cut holds has a weight in bytes, and a limit: all that comes from outside is weighed."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.engine import ledger
from event_center.engine.ledger import Ledger
from event_center.engine.plan import EngineLimits
from event_center.log.memory import Ending
from event_center.plugins.context import Context
from tests.engine.machines import resting
from tests.engine.script import Script
from tests.engine.world import World

MOVING = resting("""
data: {x: ""}
states:
  idle: {on: {note: {target: here, assign: {x: =payload.x}}}}
  here: {on: {flip: there}}
  there: {on: {flip: here}}
""")
SENDING = resting("""
states:
  idle: {on: {go: busy}}
  busy: {entry: work}
""")
TOLD = {
    "refused": ("x" * 9_000, "e"),
    "moved, with a long id": ("flip", "\x01" * 900),
}
"""What history repeats of events that a small cut takes in: name and id."""


@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize("told", TOLD)
async def test_a_cut_of_large_records_of_history_is_bounded(
    told: str, *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names and ids of events come from outside; the twin: unweighed, all is taken in."""
    if not weighed:
        monkeypatch.setattr(ledger, "SMALL_BYTES", 1_000_000)
    name, event_id = TOLD[told]
    async with World(MOVING, limits=EngineLimits(cut_bytes=50_000)) as world:
        world.send("w", "note", {"x": "y"})
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for half in range(2):
            for number in range(10):
                world.send("w", name, id=f"{event_id}{half}/{number}")
            await world.rest(0.5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is weighed
        await world.idle()
        assert world.entry().read == 21


@pytest.mark.parametrize("weighed", [True, False])
async def test_what_callbacks_send_is_weighed_with_its_headers(
    *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut is bounded in all that it holds; the twin: by values alone it is not."""
    if not weighed:
        monkeypatch.setattr(ledger, "size_of", lambda _key, value, _headers: len(value or b""))

    def publishes(ctx: Context) -> None:
        ctx.publish("outside", None, headers={"trace": "x" * 30_000})

    scripts = {"work": Script(*[publishes] * 20)}
    limits = EngineLimits(cut_bytes=100_000)
    async with World((SENDING, scripts), limits=limits, publishable=["outside"]) as world:
        await world.idle()
        world.faults.commits.extend([None, *[Ending.NOT_COMMITTED] * 6])
        for number in range(10):
            world.send(f"w{number}", "go")
        await world.rest(0.5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is weighed


@pytest.mark.parametrize("weighed", [True, False])
async def test_a_cut_of_workflows_that_only_move_is_bounded(
    *, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What moves without being woken weighs what it would awake; the twin: unweighed, all is taken in."""
    async with World(MOVING, limits=EngineLimits(cut_bytes=100_000)) as world:
        for number in range(20):
            world.send(f"w{number}", "note", {"x": "x" * 9_000})
        await world.idle()
        moved = Ledger.moved

        def unweighed(self: Ledger, *arguments: Any) -> None:
            moved(self, *arguments)
            self._workflows.woken_bytes = 0

        if not weighed:
            monkeypatch.setattr(Ledger, "moved", unweighed)
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        for number in range(10):
            world.send(f"w{number}", "flip")
        await world.rest(0.5)
        for number in range(10, 20):
            world.send(f"w{number}", "flip")
        await world.rest(0.5)
        reached = [one.limit for one in world.processes[0].member.reached()]
        assert ("cut_bytes" in reached) is weighed
        await world.idle()
        assert world.entry().outcomes["applied"] == 40
