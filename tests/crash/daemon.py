"""
A daemon that a crash test runs as a real process, and that ends itself where it is told to.

    python -m tests.crash.daemon SETTINGS [--step STEP --nth N] [--await NAME]... [--stood FILE]
                                          [--read N] [--halt] [--lasting] [--twin NAME]

Without `--step` it runs until nothing is left to do, retries and short timers included, and prints
one line of JSON: when it was idle, and its totals. With `--step` it kills itself (SIGKILL, no clean-up)
when it reaches the step for the nth time, and with `--read` not before so many records were read;
`--await` kills it where it waits first at an await of such a name (`awaits`), and `--stood` has all
at which it waited then written down;
`--halt` stops it there instead (SIGSTOP), for another daemon to take it for dead. With `--lasting` it
comes to no end by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import anyio

from event_center import Center
from event_center.app.settings import load_settings
from event_center.failpoint import Step, install
from tests.crash.awaits import Watch, all_standing
from tests.crash.twins import TWINS
from tests.waiting import until_true

SOON_MS = 10_000
"""Timers that are due so soon are waited for."""


def armed(arguments: argparse.Namespace, center: Center) -> Callable[[Step], None]:
    """The hook that ends this process at its step."""
    wanted = Step(arguments.step)
    counts = itertools.count(1)
    ending = signal.SIGSTOP if arguments.halt else signal.SIGKILL

    def hook(step: Step) -> None:
        if step is not wanted or center.totals["read"] < arguments.read:
            return
        if next(counts) == arguments.nth:
            os.kill(os.getpid(), ending)

    return hook


def die(stood: str) -> None:
    """End this process, and say before at which awaits it stood."""
    if stood:
        Path(stood).write_text("\n".join(all_standing()), encoding="utf-8")
    os.kill(os.getpid(), signal.SIGKILL)


async def settled(center: Center) -> None:
    """Wait until nothing is left to do, now or soon."""
    member = center._member

    async def nothing_soon() -> bool:
        await member.until_idle()
        dues = [owner._parts.timers.next_ms() for owner in member.owners.values() if owner._parts]
        soon = time.time_ns() // 1_000_000 + SOON_MS
        return not any(due is not None and due < soon for due in dues)

    await until_true(nothing_soon)


async def run(arguments: argparse.Namespace) -> None:
    """Run a center to its end, or to this process's."""
    if arguments.waits_at:
        Watch(arguments.waits_at, partial(die, arguments.stood))
    async with Center.open(load_settings(Path(arguments.settings))) as center:
        if arguments.step:
            install(armed(arguments, center))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(center.run)
            if arguments.lasting:
                await anyio.sleep_forever()
            await settled(center)
            idle_ms = time.time_ns() // 1_000_000
            totals = center.totals
            await center.stop()
    print(json.dumps({"idle_ms": idle_ms, "totals": totals}))


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("settings")
    parser.add_argument("--step", default="")
    parser.add_argument("--await", dest="waits_at", action="append", default=[])
    parser.add_argument("--stood", default="")
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--read", type=int, default=0)
    parser.add_argument("--halt", action="store_true")
    parser.add_argument("--lasting", action="store_true")
    parser.add_argument("--twin", action="append", default=[])
    arguments = parser.parse_args(words)
    for name in arguments.twin:
        TWINS[name]()
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
