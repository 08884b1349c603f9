"""The callbacks of deadly.yaml: each writes down that it was started, then does what it is called for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sqlite3
import threading
import time
from pathlib import Path

from event_center import Context, callbacks
from event_center.wire.entries import waiting_prefix
from tests.waiting import until

deadly = callbacks("deadly")

ROOM_BYTES = 64 * 1024**2
CODE = 9


def limit_memory() -> None:
    """Leave this process only so much more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def is_kept(workflow_id: str) -> bool:
    """Whether an event that waits for this workflow is an entry of the log."""
    log = Path(os.environ["EVENT_CENTER_DEMO_DIR"]) / "log.db"
    first = waiting_prefix(workflow_id)
    query = "SELECT 1 FROM entries WHERE key BETWEEN ? AND ?"
    with contextlib.closing(sqlite3.connect(f"{log.as_uri()}?mode=ro", uri=True)) as file:
        return file.execute(query, (first, first + b"\xff")).fetchone() is not None


def note(ctx: Context, name: str) -> None:
    """Write down that a callback was started, durably."""
    line = {
        "workflow_id": ctx.workflow_id,
        "name": name,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
        "time_ns": time.time_ns(),
    }
    file = os.open(os.environ["CRASH_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)


@deadly.action("leave")
async def leave(ctx: Context) -> None:
    """A C library that crashes."""
    note(ctx, "leave")
    os._exit(CODE)


@deadly.action("leave_first")
async def leave_first(ctx: Context) -> None:
    """The same, before the transition is decided, and once its event is an entry."""
    await until(lambda: is_kept(ctx.workflow_id))
    note(ctx, "leave_first")
    os._exit(CODE)


@deadly.job("leave_beside")
async def leave_beside(ctx: Context) -> None:
    """The same, as a job."""
    note(ctx, "leave_beside")
    os._exit(CODE)


@deadly.action("hoard")
async def hoard(ctx: Context) -> None:
    """Takes memory until there is none, and the process is ended for it, as the kernel does."""
    note(ctx, "hoard")
    limit_memory()
    taken = []
    try:
        while True:
            taken.append(bytearray(ROOM_BYTES // 64))
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)


@deadly.action("block")
async def block(ctx: Context) -> None:
    """Keeps the event loop for itself, until somebody ends the process."""
    note(ctx, "block")
    threading.Event().wait()


@deadly.action("work")
async def work(ctx: Context) -> None:
    """Does no harm."""
    note(ctx, "work")


@deadly.action("hang")
async def hang(ctx: Context) -> None:
    """Waits for somebody who never answers."""
    note(ctx, "hang")
    await asyncio.Event().wait()
