"""The callbacks of fulfilment.yaml: a label for the parcel, and the carrier."""

from __future__ import annotations

from event_center import Context, callbacks

fulfilment = callbacks("fulfilment")


@fulfilment.entry("picked")
async def print_label(ctx: Context) -> None:
    """Print the label; the payment may come and go meanwhile."""
    ctx.log.info("fulfilment.label", key=ctx.idempotency_key)


@fulfilment.entry("sent")
async def hand_over(ctx: Context) -> None:
    """Give the parcel to the carrier."""
    ctx.log.info("fulfilment.handed_over", parcel=ctx.data["parcel"])
