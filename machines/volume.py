"""
The jobs of volume.yaml: a storage that needs some steps for everything, and sometimes fails.

Found because it lies beside the YAML. The payload of an event says how its job goes: `{"fail": 2}`
fails twice and then works, `{"fail": 9}` uses up its three attempts, `{"full": true}` finds no space
for the extension, and `{"steps": 50}` takes 50 steps, each a tenth of a second.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from event_center import JobContext, PermanentError, callbacks

volume = callbacks("volume")

STEP_S = 0.1


class NoSpace(PermanentError):
    """No attempt can help: the storage is full."""


@volume.job
async def create_volume(ctx: JobContext) -> dict[str, str]:
    """Create it step by step; what it returns is the payload of `on_done`."""
    show(ctx, "create_volume")
    fail_as_told(ctx)
    try:
        await work(ctx)
    except asyncio.CancelledError:
        show(ctx, "undo_create_volume")  # there is time for this: the grace of the machine
        raise
    return {"host": f"host-{len(ctx.workflow_id) % 3}"}


@volume.job
async def extend_volume(ctx: JobContext) -> None:
    """Extend it, if there is space."""
    show(ctx, "extend_volume")
    if (ctx.payload or {}).get("full"):
        raise NoSpace("the storage is full")
    fail_as_told(ctx)
    await work(ctx)


@volume.job
async def delete_volume(ctx: JobContext) -> None:
    """Delete it; a storage that has deleted it before says the same as one that does so now."""
    show(ctx, "delete_volume")
    fail_as_told(ctx)
    await work(ctx)


def fail_as_told(ctx: JobContext) -> None:
    """Fail as often as the event says."""
    fail = (ctx.payload or {}).get("fail", 0)
    if ctx.attempt <= fail:
        raise ConnectionError(f"attempt {ctx.attempt} of {fail} that fail")


async def work(ctx: JobContext) -> None:
    """Take the steps that the event says, and say after each that the job is alive."""
    steps = (ctx.payload or {}).get("steps", 0)
    for step in range(steps):
        ctx.heartbeat(f"step {step} of {steps}")
        await asyncio.sleep(STEP_S)


def show(ctx: JobContext, name: str) -> None:
    """Make the effect: a line in $EVENT_CENTER_DEMO_DIR/volume.jsonl or, if unset, the log."""
    folder = os.environ.get("EVENT_CENTER_DEMO_DIR")
    if folder is None:
        ctx.log.info("volume.effect", callback=name, key=ctx.idempotency_key)
        return
    effect = {
        "workflow_id": ctx.workflow_id,
        "name": name,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
    }
    with Path(folder, "volume.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(effect) + "\n")
