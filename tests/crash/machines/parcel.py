"""
The callbacks of parcel.yaml: each writes its start down first, then does as its workflow's number says.

What they do depends on nothing but the workflow and the attempt, so that a run that is repeated after
a crash does the same again.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

from event_center import Context, Event, JobContext, PermanentError, RetryLater, callbacks

parcel = callbacks("parcel")


def start(ctx: Context, name: str) -> int:
    """Write the start down, durably; returns the number in the workflow's id."""
    line = {
        "workflow_id": ctx.workflow_id,
        "name": name,
        "key": ctx.idempotency_key,
        "attempt": ctx.attempt,
        "time_ns": time.time_ns(),
    }
    file = os.open(os.environ["CRASH_STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    return int(ctx.workflow_id.rpartition("-")[2])


@parcel.entry("packed")
async def weigh(ctx: Context) -> Event:
    """Weigh it: slowly for some, with failures for others, in vain for a few."""
    number = start(ctx, "weigh")
    if number % 13 == 0:
        raise PermanentError("it does not fit on the scales")
    if number % 10 == 5:
        raise RetryLater(0.2)
    if number % 5 == 0 and ctx.attempt < 3:
        raise ConnectionError("the scales do not answer")
    if number % 2 == 0:
        await asyncio.sleep(0.01)
    return Event("weighed", {"grams": ctx.payload["weight"] * 1000})


@parcel.entry("ready")
async def glance(ctx: Context) -> None:
    """Look at it; eager: nothing comes of looking twice."""
    start(ctx, "glance")


@parcel.action("remind")
async def remind(ctx: Context) -> None:
    """Remind somebody, when its timer says so."""
    start(ctx, "remind")


@parcel.action("book")
async def book(ctx: Context) -> None:
    """Book a place in the van before it is sent: a decide callback, which may fail as well."""
    number = start(ctx, "book")
    if number % 7 == 0 and ctx.attempt < 2:
        raise RetryLater(0.02)
    if number % 17 == 0:
        raise PermanentError("no van goes there")
    if number % 3 == 0:
        await asyncio.sleep(0.01)


@parcel.action("label")
def label(ctx: Context) -> None:
    """Label it, in a thread."""
    start(ctx, "label")


@parcel.action("announce")
async def announce(ctx: Context) -> None:
    """Tell the outside, and the next parcel."""
    number = start(ctx, "announce")
    await asyncio.sleep(0.002)
    ctx.publish("mail", {"parcel": ctx.workflow_id}, key=ctx.workflow_id)
    ctx.emit("note", {"from": ctx.workflow_id}, workflow_id=f"parcel-{number + 1}")


@parcel.job("hand_over")
async def hand_over(ctx: JobContext) -> dict[str, int]:
    """Ring at one door after the other: some take too long, some are in vain, some do not stop."""
    number = start(ctx, "hand_over")
    if number % 11 == 0:
        raise PermanentError("nobody lives there")
    if number % 9 == 0 and ctx.attempt < 3:
        raise ConnectionError("nobody answers")
    stops = number % 5
    try:
        for stop in range(stops):
            ctx.heartbeat(f"stop {stop}")
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        if number % 2:
            return {"stops": -1}  # too late: it counts for nothing
        raise
    return {"stops": stops}


@parcel.job
async def take_picture(ctx: JobContext) -> None:
    """Take a picture, which nobody waits for."""
    start(ctx, "take_picture")
    await asyncio.sleep(0.02)


@parcel.exit("sent")
async def unlabel(ctx: Context) -> None:
    """Take the label off again."""
    start(ctx, "unlabel")
