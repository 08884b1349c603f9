"""
Where the ownership of a shard stands, and how it may go on from there.

Promises: a move that is not in the table is a mistake of ours, and is said as one. `shard.py` moves.
"""

from __future__ import annotations

from enum import StrEnum

from event_center.errors import InvariantError
from event_center.model import Shard


class Tenure(StrEnum):
    """Where an ownership stands."""

    RESTORING = "restoring"
    SERVING = "serving"
    DRAINING = "draining"
    GONE = "gone"

    def to(self, following: Tenure, shard: Shard) -> Tenure:
        """
        Move on.

        Raises:
            InvariantError: there is no way from here to there.
        """
        if following not in _MOVES[self]:
            raise InvariantError(f"shard {shard} can not go from {self} to {following}")
        return following


_MOVES = {
    Tenure.RESTORING: {Tenure.RESTORING, Tenure.SERVING, Tenure.DRAINING, Tenure.GONE},
    Tenure.SERVING: {Tenure.RESTORING, Tenure.DRAINING, Tenure.GONE},
    Tenure.DRAINING: {Tenure.GONE},
    Tenure.GONE: set[Tenure](),
}
