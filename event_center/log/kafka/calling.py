"""
One call of a client: how long it may take, and what of its errors is a failure of the cluster.

aiokafka has no limits of its own, and some of its answers look like our cancellation or like a mistake of
ours. Promises: no await on a client lasts longer than it may; what comes out of one is in `FAILURES`, a
cancellation of ours, or a mistake. Every module of this room awaits clients through here; `client.py`
makes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from traceback import walk_tb
from typing import Any, TypeVar

from aiokafka.errors import IllegalOperation, KafkaError

ResultT = TypeVar("ResultT")

FAILURES = (KafkaError, IllegalOperation, OSError, TimeoutError)
"""
What a client of a cluster in trouble raises; `bounded` makes one of these of what else it raises. Any
other error is a mistake of ours, and ends the daemon.
"""


async def bounded(waited: Awaitable[ResultT], limit_s: float) -> ResultT:
    """
    Await this for so long at most, else TimeoutError.

    A client may end what it was asked by a cancellation of its own. That is a failure: only who
    awaits this here can be cancelled. Its assertions are as well: "Did we not perform bootstrap?" and
    "Invalid state transition" are ordinary answers of a broker that has just come up, or of a producer
    that was fenced. So is the RuntimeError with which uvloop answers to a write into a connection that
    was cut a moment ago.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await waited
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise KafkaError("the client has given up what it was asked") from error
    except (AssertionError, RuntimeError, ValueError) as error:
        if isinstance(error, KafkaError) or not is_of_the_client(error):
            raise
        raise KafkaError(f"{type(error).__name__}: {error}") from error


def is_of_the_client(error: BaseException) -> bool:
    """Whether aiokafka raised it, or what that calls: not we, nor what it called of ours."""
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    rooms = [name.partition(".")[0] for name in names]
    return [room for room in rooms if room in {"aiokafka", "event_center"}][-1:] == ["aiokafka"]


def look_at_end(future: asyncio.Future[Any]) -> None:
    """Look at the end of a future that nobody may wait for any more."""
    future.add_done_callback(_look)


def _look(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
