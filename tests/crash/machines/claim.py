"""The callbacks of claim.yaml: they refuse what is marked as bad, and the event becomes a letter."""

from __future__ import annotations

import asyncio
import json
import os
import time

from event_center import Context, PermanentError, callbacks

claim = callbacks("claim")


@claim.action("look")
async def look(ctx: Context) -> None:
    """Look into an event, for a moment."""
    line = {
        "workflow_id": ctx.workflow_id,
        "name": "look",
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
    await asyncio.sleep(0.001)
    if (ctx.payload or {}).get("bad"):
        raise PermanentError("this can not be true")
