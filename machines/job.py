"""
The callbacks of job.yaml: a job that may fail, and the simpler way to do it.

Found because it lies beside the YAML. The input says how the job goes: `{"fail": 2}` fails twice
and then works, `{"fail": 9}` uses up its three attempts and ends in the fallback,
`{"broken": true}` can never work, and with `{"fallback": "broken"}` the fallback cannot either.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from event_center import Context, Event, PermanentError, callbacks

job = callbacks("job")


@job.entry("running")
async def run_job(ctx: Context) -> Event:
    """Do the job; an exception uses one attempt, a PermanentError all of them."""
    task = wanted(ctx)
    show(ctx, "run_job")
    if task.get("broken"):
        raise PermanentError("the input of this job is broken")
    fail = task.get("fail", 0)
    if ctx.attempt <= fail:
        raise ConnectionError(f"attempt {ctx.attempt} of {fail} that fail")
    return Event("job_done", {"result": "whole"})


@job.entry("fallback")
async def run_fallback(ctx: Context) -> Event:
    """Do the part of the job that can always be done."""
    show(ctx, "run_fallback")
    if wanted(ctx).get("fallback") == "broken":
        raise PermanentError("the fallback is broken, too")
    return Event("fallback_done", {"result": "part"})


def wanted(ctx: Context) -> dict[str, Any]:
    """What the job was asked to do: kept in its data by the event that started it."""
    return ctx.data["input"] or {}


def show(ctx: Context, name: str) -> None:
    """Make the effect: a line in $EVENT_CENTER_DEMO_DIR/job.jsonl or, if unset, the log."""
    folder = os.environ.get("EVENT_CENTER_DEMO_DIR")
    if folder is None:
        ctx.log.info("job.effect", callback=name, key=ctx.idempotency_key)
        return
    effect = {
        "workflow_id": ctx.workflow_id,
        "name": name,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
    }
    with Path(folder, "job.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(effect) + "\n")
