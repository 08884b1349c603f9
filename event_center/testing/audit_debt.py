"""
The runs that a workflow owes, as the audit follows them: from the transition to their end (P3).

`audit_life` makes a debt of each, `audit_runs` compares them with what callbacks wrote down.
"""

from __future__ import annotations

from event_center.model import Owed


class Debt:
    """One run that a transition owed."""

    __slots__ = ("at_ms", "eager", "ended", "name", "seq")

    def __init__(self, owed: Owed, at_ms: int, *, eager: bool) -> None:
        self.name = owed.name
        self.seq = owed.seq
        self.at_ms = at_ms
        """When the cut that owes it was committed, at the earliest."""
        self.eager = eager
        self.ended = ""
        """`done`, `reconciled` (done; who did it, nobody knows), `failed` or `given_up`; or empty."""


def without(owed: tuple[Owed, ...], name: str, seq: object) -> tuple[Owed, ...]:
    """These runs without one."""
    return tuple(one for one in owed if (one.name, one.seq) != (name, seq))
