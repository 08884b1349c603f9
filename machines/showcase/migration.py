"""
The callbacks of migration.yaml: one that vetoes, and one whose failure undoes nothing.

The hosts are played by their names: `full` has no room, and the line to `far` is cut.
"""

from __future__ import annotations

from event_center import Context, PermanentError, callbacks

migration = callbacks("migration")


@migration.action
async def find_room(ctx: Context) -> None:
    """Refuse a host that has no room: the transition does not happen."""
    if ctx.payload["host"] == "full":
        raise PermanentError("host 'full' has no room")


@migration.entry("migrating")
async def copy_memory(ctx: Context) -> None:
    """Copy; the machine has said already that it is migrating, whatever becomes of this."""
    if ctx.data["wanted"] == "far":
        raise ConnectionError("the line to host 'far' is cut")
    ctx.log.info("migration.copied", host=ctx.data["wanted"], key=ctx.idempotency_key)
