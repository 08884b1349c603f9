"""Callbacks that never come to an end, so that a log holds what is under way."""

from __future__ import annotations

from event_center import PermanentError, RetryLater, callbacks

life = callbacks("life")


@life.action("never")
async def never() -> None:
    """Tried again in a year, at every attempt."""
    raise RetryLater(366 * 86_400)


@life.action("refuse")
async def refuse() -> None:
    """Fails for good, so that its workflow is parked."""
    raise PermanentError("never")
