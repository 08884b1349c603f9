"""The limit of threads: plain functions beyond it wait for one, and only for one."""

from __future__ import annotations

import threading

import pytest

from event_center.engine.plan import EngineLimits
from tests.engine.machines import busy
from tests.engine.world import World
from tests.waiting import PATIENCE_S

MACHINE = busy("{do: work, timeout: 60s}")


@pytest.mark.real_time
@pytest.mark.parametrize("threads", [1, 2])
async def test_plain_functions_beyond_the_limit_wait(threads: int) -> None:
    """No more plain functions run at once than `engine.threads` says, and all of them run."""
    lock = threading.Lock()
    together = threading.Barrier(threads, timeout=PATIENCE_S)
    running: list[int] = [0, 0]

    def work() -> str:
        with lock:
            running[0] += 1
            running[1] = max(running)
        together.wait()
        with lock:
            running[0] -= 1
        return "done"

    async with World((MACHINE, {"work": work}), limits=EngineLimits(threads=threads)) as world:
        for number in range(4):
            world.send(f"w{number}", "go")
        await world.idle()
        assert running == [0, threads]
        assert all(world.snapshot(f"w{number}").seq == 2 for number in range(4))
