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


def blocked(told: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """What was said of a loop that is blocked: of a busy machine too, which stands still now and then."""
    return [one for one in told if one["event"] == "loop.blocked"]


def stands(told: list[MutableMapping[str, Any]]) -> None:
    """What a callback should not do: keep the loop until somebody complains."""
    give_up, before = time.monotonic() + PATIENCE_S, len(blocked(told))
    while time.monotonic() < give_up and len(blocked(told)) == before:
        time.sleep(0.01)


async def test_a_blocked_loop_is_told_while_it_is_blocked() -> None:
    """It says for how long, when the group will act, and the line that does not return."""
    with capture_logs() as told, watched(1.2, blocks := blocks_of()):
        await asyncio.sleep(0)
        stands(told)
        by_then = list(told)
    assert {one["event"] for one in by_then} == {"loop.blocked"}
    last = by_then[-1]
    assert last["session_timeout_s"] == 1.2
    assert last["blocked_s"] >= 0.3
    assert "test_watchdog.py" in last["where"]
    assert last["where"].endswith("stands")
    assert last["where"] in [one.where for one in blocks.last]


async def test_a_free_loop_is_not_told_of() -> None:
    """
    However long something is awaited, nothing is said, and the thread ends.

    Of a machine that stands still something is: one wait without that is enough, each is twice the limit.
    """
    with capture_logs() as told, watched(2.0, blocks_of()):
        async with asyncio.timeout(PATIENCE_S):
            before = -1
            while len(told) > before:
                before = len(told)
                await asyncio.sleep(1.0)
        mine = [one for one in threading.enumerate() if one.name == "watchdog"]
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
            [last] = [one for one in world.processes[0].member.blocks.last if one.plugin]
            assert last.blocked_s >= 0.2
    line = next(one for one in blocked(told) if one["plugin"])
    assert line["plugin"] == __name__
    assert line["where"].endswith("work")
    assert "test_watchdog.py:" in line["where"]
    assert last.where == line["where"]


async def test_what_is_no_callback_has_a_second() -> None:
    """
    The twin: the same block outside of callbacks is none yet, and a short one of a callback neither.

    What is told all the same is what a busy machine has made of them: it lasted for as long as it must.
    """

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
    limits = [(one["blocked_s"], 0.2 if one["plugin"] else 1.0) for one in blocked(told)]
    assert [blocked_s for blocked_s, limit_s in limits if blocked_s < limit_s] == []
