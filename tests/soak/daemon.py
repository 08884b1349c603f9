"""
The daemon of a soak: a center as `run` has it, which also tells how many asyncio tasks it has.

    python -m tests.soak.daemon SETTINGS FILE

It ends on SIGTERM, as `run` does. `soaking.py` starts it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import anyio

from event_center import Center
from event_center.app.settings import load_settings

EVERY_S = 1.0


async def tell(file: Path) -> None:
    """Write the number of asyncio tasks down, again and again."""
    while True:
        file.write_text(str(len(asyncio.all_tasks())))  # noqa: ASYNC240 - some bytes a second
        await asyncio.sleep(EVERY_S)


async def run(settings: Path, file: Path) -> None:
    """Run a center until SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with (
            Center.open(load_settings(settings)) as center,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(center.run)
            tasks.start_soon(tell, file)
            await anext(aiter(signals))
            await center.stop()
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2])))
