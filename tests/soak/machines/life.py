"""The one callback of a life: it takes a moment, as callbacks do."""

from __future__ import annotations

import asyncio

from event_center import callbacks

life = callbacks("life")


@life.entry("working")
async def work() -> str:
    """Wait for nobody."""
    await asyncio.sleep(0.005)
    return "worked"
