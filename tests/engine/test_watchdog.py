"""The watchdog: a callback that blocks the event loop is named while it does."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from event_center.engine.watchdog import Blocks, watched
from tests.engine.machines import busy
from tests.engine.world import World
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.real_time
COUNTER = itertools.count(1)


def blocks_of() -> Blocks:
    """Blocks with a clock that counts."""
    return Blocks(lambda: next(COUNTER))


def stands(told: list[MutableMapping[str, Any]]) -> None:
    """What a callback should not do: keep the loop until somebody complains."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up and all(one["event"] != "loop.blocked" for one in told):
        time.sleep(0.01)


async def test_a_blocked_loop_is_told_while_it_is_blocked() -> None:
    """It says for how long, when the group will act, and the line that does not return."""
    with capture_logs() as told, watched(1.2, blocks := blocks_of()):
        await asyncio.sleep(0)
        stands(told)
        by_then = list(told)
    assert {one["event"] for one in by_then} == {"loop.blocked"}
    assert by_then[0]["session_timeout_s"] == 1.2
    assert by_then[0]["blocked_s"] >= 0.3
    assert "test_watchdog.py" in by_then[0]["where"]
    assert by_then[0]["where"].endswith("stands")
    assert [one.where for one in blocks.last] == [by_then[0]["where"]]


async def test_a_free_loop_is_not_told_of() -> None:
    """However long something is awaited, nothing is said, and the thread ends."""
    with capture_logs() as told, watched(0, blocks_of()):
        await asyncio.sleep(0.6)
        mine = [one for one in threading.enumerate() if one.name == "watchdog"]
    assert told == []
    await asyncio.to_thread(mine[-1].join, PATIENCE_S)
    assert not mine[-1].is_alive()


MACHINE = busy("work")


async def test_a_callback_that_blocks_is_named_after_250_ms() -> None:
    """The log and `stats` have the plugin's module, function and line, and how long it took."""
    with capture_logs() as told:

        async def work() -> str:
            stands(told)
            return "done"

        async with World((MACHINE, {"work": work})) as world:
            world.send("w", "go")
            await world.idle()
            last = world.processes[0].member.blocks.last
            assert last[-1].blocked_s >= 0.2
    [line] = [one for one in told if one["event"] == "loop.blocked"]
    assert line["plugin"] == __name__
    assert line["where"].endswith("work")
    assert "test_watchdog.py:" in line["where"]
    assert last[-1].where == line["where"]


async def test_what_is_no_callback_has_a_second() -> None:
    """The twin: the same block outside of callbacks is none yet, and a short one of a callback neither."""

    def lasting(seconds: float) -> None:
        time.sleep(seconds)

    async def work() -> str:
        lasting(0.05)
        return "done"

    with capture_logs() as told:
        async with World((MACHINE, {"work": work})) as world:
            world.send("w", "go")
            await world.idle()
            lasting(0.26)
            await asyncio.sleep(0.2)
    assert [one for one in told if one["event"] == "loop.blocked"] == []
