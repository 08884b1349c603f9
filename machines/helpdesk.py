"""
The callbacks of helpdesk.yaml: what the desk asks of others.

Found because it lies beside the YAML. Each asks once per time that its ticket enters the state.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from event_center import Context, callbacks

helpdesk = callbacks("helpdesk")


@helpdesk.entry("upgrade")
async def request_upgrade(ctx: Context) -> None:
    """Ask operations for the upgrade that this ticket needs."""
    show(ctx, "request_upgrade")


@helpdesk.entry("anomaly")
async def report_anomaly(ctx: Context) -> None:
    """Report the software's anomaly to its developers."""
    show(ctx, "report_anomaly")


@helpdesk.entry("scheduled")
async def plan_visit(ctx: Context) -> None:
    """Put the visit into the technicians' calendar."""
    show(ctx, "plan_visit")


def show(ctx: Context, name: str) -> None:
    """Make the effect: a line in $EVENT_CENTER_DEMO_DIR/helpdesk.jsonl or, if unset, the log."""
    folder = os.environ.get("EVENT_CENTER_DEMO_DIR")
    if folder is None:
        ctx.log.info("helpdesk.effect", callback=name, key=ctx.idempotency_key)
        return
    effect = {
        "workflow_id": ctx.workflow_id,
        "name": name,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
    }
    with Path(folder, "helpdesk.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(effect) + "\n")
