"""Plain functions in threads, and runners that end: what is bounded, and what nobody waits for."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest

from event_center.engine.plan import EngineLimits
from event_center.plugins.context import Context
from tests.engine.ahead import Ahead
from tests.engine.machines import busy
from tests.engine.script import HOLD, Script
from tests.engine.world import World
from tests.waiting import PATIENCE_S, until

TIMEOUT_S = 600.0
MACHINE = busy("{do: work, timeout: 10m, retry: {max_attempts: 5, interval: 10ms}}")
TAKES_S = 240.0
"""For a callback: three of them, one after another, take longer than the timeout, and one far less."""
HANGING = """
import asyncio, threading
from event_center.engine.threads import Threads

async def main():
    threads = Threads(1)
    await threads.slot()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def hangs():
        loop.call_soon_threadsafe(begun.set)
        threading.Event().wait(600)

    call = asyncio.create_task(threads.call(hangs))
    await begun.wait()
    call.cancel()

asyncio.run(main())
"""


def world_with(work: Any, **limits: int) -> World:
    """A world of the machine."""
    return World((MACHINE, {"work": work}), limits=EngineLimits(**limits))


@pytest.mark.real_time
async def test_the_time_of_a_plain_function_starts_with_its_thread() -> None:
    """Waiting for a thread is no part of the callback: it does not time out, no attempt is used."""
    attempts: list[int] = []
    over = threading.Semaphore(0)
    ahead = Ahead()

    def work(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        over.acquire(timeout=PATIENCE_S)
        return "done"

    async with world_with(work, threads=1) as world:
        for number in range(3):
            world.send(f"w{number}", "go")
        for number in range(3):
            await until(lambda: len(attempts) > number)  # noqa: B023 - asked before the next one
            await world.rest(0.2)  # whoever waits for a thread does so by now, and sweeps have been
            ahead.move(TAKES_S)
            await world.rest(0.2)
            over.release()
        await world.idle()
    assert attempts == [1] * 3


@pytest.mark.real_time
async def test_functions_that_hang_do_not_pile_up() -> None:
    """A function that is past its timeout holds its thread's slot until it returns."""
    release = threading.Event()
    hanging: list[str] = []
    ahead = Ahead()

    def work(ctx: Context) -> str:
        if not release.is_set():
            hanging.append(ctx.workflow_id)
            release.wait(PATIENCE_S)
        return "done"

    async with world_with(work, threads=2) as world:

        def failed(workflow_id: str) -> bool:
            return world.exists(workflow_id) and world.snapshot(workflow_id).failure is not None

        for number in range(4):
            world.send(f"w{number}", "go")
        await until(lambda: len(hanging) == 2)
        ahead.move(2 * TIMEOUT_S)
        await until(lambda: all(map(failed, hanging)))
        assert len(hanging) == 2
        release.set()
        await world.idle()
        assert all(world.state(f"w{number}") == "idle" for number in range(4))


def test_the_process_ends_without_waiting_for_a_function_that_hangs() -> None:
    """A thread that was left behind does not hold up the end of the process."""
    subprocess.run([sys.executable, "-c", HANGING], check=True, timeout=PATIENCE_S)


async def test_a_runner_whose_task_group_is_cancelled_takes_no_further_run() -> None:
    """What waits for a runner when the process is cancelled is not begun any more."""
    work = Script(HOLD)
    async with world_with(work, callbacks=1) as world:
        for number in range(5):
            world.send(f"w{number}", "go")
        await world.rest(0.1)
        world.crash()
        await world.rest(1)
        assert len(work.calls) == 1
        await world.start()
        await world.served()
        await world.idle()
        assert len(work.calls) == 6
