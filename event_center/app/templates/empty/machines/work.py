"""The callbacks of work.yaml, beside which this file is found."""

from __future__ import annotations

from event_center import Context, callbacks

work = callbacks("work")


@work.entry("working")
async def do_it(ctx: Context) -> None:
    """Do what is to be done; it runs at least once, always with the same key."""
    ctx.log.info("work.done", payload=ctx.payload, key=ctx.idempotency_key)
