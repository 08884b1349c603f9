"""
The waiting room of the tests: the one place that waits for what rings no bell.

Another process, a thread, a broker: nobody tells a test when they are done, so it looks again and again,
for a bounded time. Whatever can be awaited is awaited where it happens instead, and time that passes
only in the event loop is virtual (`event_center/testing/virtual_time.py`).
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

PATIENCE_S = 60.0
"""How long a test waits for an effect before it fails: long enough for a machine that is busy."""
LOOK_S = 0.003
CLOSELY_S = 0.0005
SELDOM = 0.05
"""A part of the time waited so far: who has waited for long looks less often, and takes less away."""


def _pause_s(waited_s: float) -> float:
    return max(LOOK_S, SELDOM * waited_s)


async def until(condition: Callable[[], bool]) -> None:
    """Wait, for a bounded time, until this is so."""

    async def asked() -> bool:
        return condition()

    await until_true(asked)


async def until_true(
    condition: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S
) -> None:
    """Wait, for a bounded time, until what is asked for each time anew is so."""
    now = asyncio.get_running_loop().time
    began = now()
    async with asyncio.timeout(patience_s):
        while not await condition():  # noqa: ASYNC110 - what rings no bell is looked at
            await asyncio.sleep(_pause_s(now() - began))


def wait_until(
    condition: Callable[[], bool], told: Callable[[], str] = str, *, closely: bool = False
) -> None:
    """
    Wait, for a bounded time and outside an event loop, until this is so; else say what is told.

    Who looks closely never looks less often: the moment is to be caught, and soon gone.
    """
    began = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - began
        assert waited_s < PATIENCE_S, f"it did not come about within {PATIENCE_S:g} s {told()}"
        time.sleep(CLOSELY_S if closely else _pause_s(waited_s))


def until_stopped(pid: int) -> None:
    """Wait until a process has stopped itself."""
    stat = Path(f"/proc/{pid}/stat")
    wait_until(lambda: stat.read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T")


def until_handled(pid: int, number: signal.Signals) -> None:
    """Wait until a process has a handler for this signal."""
    status = Path(f"/proc/{pid}/status")

    def handles() -> bool:
        [caught] = re.findall(
            r"^SigCgt:\s*(\w+)$", status.read_text(encoding="ascii"), re.MULTILINE
        )
        return bool(int(caught, 16) >> (number - 1) & 1)

    wait_until(handles)


def whole_lines(file: Path) -> list[str]:
    """The lines of a file that another process writes; one that is not whole yet is left out."""
    return file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]


async def turns(count: int = 1) -> None:
    """Let the event loop go round so many times: no time passes, whatever is ready goes on."""
    for _ in range(count):
        await asyncio.sleep(0)
