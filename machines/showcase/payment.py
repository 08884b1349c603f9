"""The callbacks of payment.yaml: a reminder, and money that goes back."""

from __future__ import annotations

from event_center import Context, callbacks

payment = callbacks("payment")


@payment.action
async def remind(ctx: Context) -> None:
    """Ask for what is missing."""
    ctx.log.info("payment.reminded", missing=ctx.data["wanted"] - ctx.data["paid"])


@payment.action
async def pay_back(ctx: Context) -> None:
    """Pay back what came too late, or too little of it; the key keeps it from being paid back twice."""
    ctx.log.info("payment.paid_back", key=ctx.idempotency_key)
