"""
The callbacks of order.yaml: the one effect of an order, its payment.

Found because it lies beside the YAML. The payment provider is played by a line in a log or a file;
what matters is the idempotency key, which is the same however often an attempt is repeated.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from event_center import Context, Event, callbacks

order = callbacks("order")


@order.entry("running")
async def start_processing(ctx: Context) -> str | Event:
    """Charge the card of the order and say how that went, as an event of the same order."""
    card = (ctx.payload or {}).get("card")
    if card == "declined":
        return Event("process_error", {"message": "the card was declined"})
    charge(ctx)
    return "process_complete"


def charge(ctx: Context) -> None:
    """Charge the card: a line in $EVENT_CENTER_DEMO_DIR/order.jsonl or, if unset, the log."""
    folder = os.environ.get("EVENT_CENTER_DEMO_DIR")
    if folder is None:
        ctx.log.info("order.charged", key=ctx.idempotency_key)
        return
    effect = {
        "workflow_id": ctx.workflow_id,
        "name": "start_processing",
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
    }
    with Path(folder, "order.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(effect) + "\n")
