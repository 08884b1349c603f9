"""What a trip does outside: each thing carries its key, so that a second copy can be told."""

from __future__ import annotations

import asyncio
import os

from event_center import Context, callbacks

trip = callbacks("trip")


@trip.action("tell")
async def tell(ctx: Context) -> None:
    """Send two mails, one to a topic that comes and goes, and an event to the next trip."""
    sent = {"key": ctx.idempotency_key}
    ctx.publish("mail", sent, key=ctx.workflow_id)
    ctx.publish("postcards", sent, key=ctx.workflow_id)
    number = int(ctx.workflow_id.partition("-")[2])
    ctx.emit("heard", sent, workflow_id=f"trip-{(number + 7) % 96}", machine="trip")


@trip.entry("busy")
async def call(ctx: Context) -> str:
    """Have the sink write the key down, for good, before anything goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["CHAOS_SINK"]))
    try:
        writer.write(f"{ctx.idempotency_key}\n".encode())
        if await reader.readline() != b"noted\n":
            raise ConnectionError("the sink did not answer")
    finally:
        writer.close()
    return "called"
