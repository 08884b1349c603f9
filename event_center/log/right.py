"""
The right that a lease gives: whether it can still write its shard, and the errors that say it can not.

Pure, and shared by every engine of the log, so that a lost lease sounds the same on all of them.
Promises: of a lease that is not valid any more `check` never returns. The leases of the engines call
this before each step; `port.py` says what the errors ask of whoever holds the lease.
"""

from __future__ import annotations

from enum import Enum

from event_center.errors import Fenced, Unknown
from event_center.model import Shard, Token


class Right(Enum):
    """Whether a lease can still write. Only a valid one becomes another."""

    VALID = "valid"
    RELEASED = "released"
    FENCED = "fenced"
    UNKNOWN = "unknown"


def check(shard: Shard, right: Right, *, unheard: bool) -> None:
    """
    May this lease write?

    Args:
        shard: whose lease it is.
        right: what is known of it.
        unheard: a commit was begun, and its caller has not heard how it ended.

    Raises:
        Unknown: nobody knows how its last commit ended.
        Fenced: it was released, or the shard was leased again.
    """
    if right is Right.UNKNOWN or (right is Right.VALID and unheard):
        raise unanswered(shard)
    if right is not Right.VALID:
        raise Fenced(
            f"the lease of shard {shard} is {right.value}: discard what this process holds of the "
            "shard and wait for the next Assigned"
        )


def unanswered(shard: Shard, why: str = "", *, topic: str = "") -> Unknown:
    """The error for a lease whose last commit may have been written, or may not."""
    return Unknown(
        f"nobody knows whether the last cut of shard {shard} was written: lease the shard again and "
        f"restore it{why}",
        topic=topic,
    )


def outdated(shard: Shard, token: Token) -> Fenced:
    """The error for a lease that is asked for under an assignment that does not stand any more."""
    return Fenced(
        f"assignment {token} of shard {shard} is not the current one: wait for the next Assigned"
    )
