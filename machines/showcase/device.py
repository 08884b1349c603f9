"""The callback of device.yaml: somebody has to come."""

from __future__ import annotations

from event_center import Context, callbacks

device = callbacks("device")


@device.entry("broken")
async def call_service(ctx: Context) -> None:
    """Call for somebody who can repair it."""
    ctx.log.info("device.service", faults=ctx.data["faults"])
