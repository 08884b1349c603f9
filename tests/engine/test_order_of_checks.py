"""The intake: in which order a record is checked, and which outcome each check gives."""

from __future__ import annotations

import pytest

from tests.engine.script import HOLD, Script
from tests.engine.world import EVENTS, OWN, World

pytestmark = pytest.mark.looptime

LIGHT = """
machine: light
version: 1
initial: red
states:
  red: {on: {go: green}}
  green: {on: {stop: red, end: off}}
  off: {type: final}
"""


async def test_an_event_moves_its_workflow_and_history_tells_it() -> None:
    """P1, P5: snapshot, history and counters of one event are durable together."""
    async with World(LIGHT) as world:
        world.send("w", "go")
        await world.idle()
        assert world.state() == "green"
        assert world.outcomes("w") == ["go applied"]
        assert world.entry().outcomes["applied"] == 1
        assert world.cuts
