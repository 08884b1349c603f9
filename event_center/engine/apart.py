"""
What is put off until a cut of its own, while the workflow is searched that no cut goes through with.

Whatever happens goes into the next cut together: ends of runs, timers and attempts that are due. Of a
workflow that `isolation` has apart each of these waits here instead, until nothing else is to be cut,
however long its run has lasted; what others end meanwhile waits behind it, and no records are taken in. So
the cut that follows says of this one workflow whether it spoils its cuts. Before that a cut without it has
to go through, or nobody would know whether the log takes any.

Effects, jobs, deciding and the parts ask `put_off`, at the price of one look while nobody is apart; the cut
loop (`cutting`) calls `before_cut`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from typing import Protocol


class NextCut(Protocol):
    """What the next cut will hold: the ledger."""

    @property
    def clean(self) -> bool:
        """Whether that is nothing."""

    def asked(self) -> None:
        """A cut is wanted all the same."""


class Apart:
    """What waits for a cut of its own in one shard, between a takeover and its end."""

    __slots__ = ("_put_off", "_taking", "about", "answered", "resumes", "wake", "whom")

    def __init__(self) -> None:
        self.whom: Container[str] = ()
        """The workflows that are apart."""
        self.about = ""
        """The workflow that the cut under way is about; empty: it has whatever happened."""
        self.resumes = False
        """Whether that is only what the takeover has found of it: durable, it says nothing of the rest."""
        self.answered = False
        """Whether a cut has gone through since the takeover."""
        self.wake: Callable[[], None] = lambda: None
        self._put_off: deque[tuple[str, Callable[[], None], bool]] = deque()
        self._taking = False

    @property
    def waiting(self) -> bool:
        """Whether anything waits for its cut."""
        return bool(self._put_off)

    def put_off(self, workflow_id: str, act: Callable[[], None], *, resumes: bool = False) -> bool:
        """Put this off, if it is of a workflow apart or comes behind one; else it is done now."""
        if self._taking or not (self._put_off or workflow_id in self.whom):
            return False
        self._put_off.append((workflow_id, act, resumes))
        self.wake()
        return True

    def before_cut(self, ledger: NextCut) -> None:
        """A cut is to be built: do what may be in it, up to one that is alone in it."""
        self.about, self.resumes = "", False
        while self._put_off and not self.about:
            workflow_id, act, resumes = self._put_off[0]
            if workflow_id in self.whom:
                if not self.answered:
                    ledger.asked()
                if not ledger.clean:
                    return
            del self._put_off[0]
            self._taking = True
            try:
                act()
            finally:
                self._taking = False
            if workflow_id in self.whom and not ledger.clean:
                self.about, self.resumes = workflow_id, resumes
