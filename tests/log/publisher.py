"""A process of its own that publishes to an embedded log: `publisher.py PATH NAME BATCHES SIZE`."""

from __future__ import annotations

import asyncio
import sys

from event_center.log.sqlite import open_sqlite
from event_center.model import Outgoing


async def publish(path: str, name: str, batches: int, size: int) -> None:
    """Publish so many batches; print the number of records that are durable after each."""
    log = await open_sqlite(path, clock=lambda: 1_700_000_000_000)
    for start in range(0, batches * size, size):
        values = [b"%d" % number for number in range(start, start + size)]
        await log.publish([Outgoing("orders", name.encode(), v, partition=0) for v in values])
        print(start + size, flush=True)
    await log.close()


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
