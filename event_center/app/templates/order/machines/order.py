"""The callbacks of order.yaml, beside which this file is found."""

from __future__ import annotations

from event_center import Context, Event, callbacks

order = callbacks("order")


@order.entry("paying")
async def charge(ctx: Context) -> str | Event:
    """
    Charge the card, and say how that went, as an event of the same order.

    It runs at least once, always with the same key: give that to whoever moves the money, so that a
    second attempt is known as such. What is raised here is tried again as `retries` says.
    """
    card = (ctx.payload or {}).get("card")
    if card is None:
        return Event("declined", {"message": "there is no card"})
    ctx.log.info("order.charged", key=ctx.idempotency_key)
    return "paid"
