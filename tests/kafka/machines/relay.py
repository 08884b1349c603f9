"""What a relay sends: both say by whose event, so that a second copy can be told."""

from __future__ import annotations

from event_center import Context, callbacks

relay = callbacks("relay")


@relay.action("pass_on")
async def pass_on(ctx: Context) -> None:
    """Send a mail, and an event to the next relay of the ring of a hundred, which may not exist yet."""
    ring, number = divmod(int(ctx.workflow_id.partition("-")[2]), 100)
    sent = {"key": ctx.idempotency_key}
    ctx.publish("mail", sent, key=ctx.workflow_id)
    ctx.emit("pong", sent, workflow_id=f"relay-{ring * 100 + (number + 7) % 100}", machine="relay")
