"""
Is the machine fit that a daemon would run on? Its disk, its clock, and how fast its event loop turns.

`doctor` asks. What is measured takes less than a second, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from event_center.app.finding import Finding, error, ok, warning
from event_center.app.settings import Settings
from event_center.app.wiring import wall_clock_ms
from event_center.machine.trial import START_MS
from event_center.wire.history import rfc3339

FULL_BYTES = 100 * 1024**2
"""With less the next busy hour fills the disk, and the center stands still."""
LOW_BYTES = 1024**3
"""With less it is time to make room: days of history of a busy center."""
WRITES = 5
"""Writes that are timed; the one in the middle counts."""
SLOW_WRITE_S = 0.05
"""How long a write to the disk may take: each cut waits for one, so 20 a second remain."""
TURNS = 5_000
"""Turns of the event loop that are timed: a tenth of a second on a usual machine."""
SLOW_TURN_S = 0.0001
"""How long a turn may take: ten times what a usual machine needs; an event costs several."""
LOOKS = 20
"""Times that the loop sleeps a moment, to see how late it wakes."""
LOOK_S = 0.005
"""How long it sleeps each time: short, so that all of them take a tenth of a second."""
LATE_S = 0.1
"""How late a loop may wake: a machine with room wakes it within a millisecond."""


async def of_host(settings: Settings) -> AsyncIterator[Finding]:
    """What there is to say of this machine."""
    if settings.log.kind == "sqlite":
        folder = settings.under_root(settings.log.path).parent
        if folder.is_dir():
            for finding in of_disk(folder):
                yield finding
    for finding in (*_of_clock(), *of_limits(settings)):
        yield finding
    turn_s, late_s = await _loop()
    said = (
        f"an event loop turns in {turn_s * 1e6:.0f} us, and wakes up to {late_s * 1000:.1f} ms late"
    )
    if turn_s > SLOW_TURN_S or late_s > LATE_S:
        yield warning(
            "loop", said, "this machine is slow or has much else to do: give the daemon a core"
        )
    else:
        yield ok("loop", said)


def of_disk(folder: Path) -> Iterator[Finding]:
    """Room, and how long a write takes that is to last."""
    usage = shutil.disk_usage(folder)
    yield of_room(usage.free, f"of {usage.total / 1024**3:.1f} are free at {folder}")
    try:
        took_s = _write_s(folder)
    except OSError as wrong:
        yield error(
            "disk", f"{folder} can not be written: {wrong.strerror}", "look at it, and at the disk"
        )
        return
    yield of_write(took_s)


def of_room(free: int, where: str) -> Finding:
    """Whether so many bytes are enough."""
    said = f"{free / 1024**3:.1f} GiB {where}"
    if free >= LOW_BYTES:
        return ok("disk", said)
    found = error if free < FULL_BYTES else warning
    return found("disk", said, "make room, or keep less: [log.retention]")


def of_write(took_s: float) -> Finding:
    """Whether a disk is fast enough of which a write takes so long."""
    said = f"a write that lasts takes {took_s * 1000:.1f} ms"
    if took_s > SLOW_WRITE_S:
        return warning("disk", said, "each cut waits for one: take a faster disk")
    return ok("disk", said)


def _write_s(folder: Path) -> float:
    """How long it takes until some bytes are on the disk."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(WRITES):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[WRITES // 2]


def _of_clock() -> Iterator[Finding]:
    now_ms = wall_clock_ms()
    if now_ms < START_MS - 365 * 86_400_000:
        yield error("clock", f"it says {rfc3339(now_ms)}", "set it: timers go by it")
    else:
        yield ok("clock", f"it says {rfc3339(now_ms)}")


def of_limits(settings: Settings) -> Iterator[Finding]:
    """What the system lets one process have."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < settings.engine.callbacks:
        yield warning(
            "limits",
            f"a process may have {files} files and connections open, and {settings.engine.callbacks} "
            "callbacks run at once",
            "raise it (`ulimit -n`, LimitNOFILE= of systemd), or lower [engine] callbacks",
        )
    cores = _cores()
    if settings.engine.processes > cores:
        yield warning(
            "limits",
            f"{settings.engine.processes} processes are to share {cores} cores",
            "lower [engine] processes",
        )


def _cores() -> int:
    """The cores that this process may use; all of the machine's where the system does not say which."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def _loop() -> tuple[float, float]:
    """How long a turn of the event loop takes, and how late it wakes at the worst."""
    began = time.perf_counter()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    turn_s = (time.perf_counter() - began) / TURNS
    late_s = 0.0
    for _ in range(LOOKS):
        began = time.perf_counter()
        await asyncio.sleep(LOOK_S)
        late_s = max(late_s, time.perf_counter() - began - LOOK_S)
    return turn_s, late_s
