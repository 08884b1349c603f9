"""
The end of a workflow's snapshot: the retention of finished ones, and what `forget` removes.

A finished workflow is kept, so that its late events are refused as such, until all of it has been over
for the time that the settings say. Then a tombstone takes the place of its snapshot, and history says
so; an event that comes later finds no workflow. The shard's `parts` ask here what is due, the ledger
says when all is over, and `commands` removes what an operator wants to be forgotten.
"""

from __future__ import annotations

from event_center.engine.ledger import Ledger
from event_center.engine.plan import Plan
from event_center.engine.timers import Timers
from event_center.model import Snapshot, Status
from event_center.wire import history


class Removal:
    """Removes workflows of one shard."""

    def __init__(self, plan: Plan, ledger: Ledger, timers: Timers) -> None:
        self._keep_ms = plan.limits.keep_finished_ms
        self._ledger = ledger
        self._timers = timers
        ledger.on_end = self.arm

    def arm(self, snapshot: Snapshot) -> None:
        """All of this workflow is over: it is to be looked at when its time has passed."""
        self.restored(snapshot.workflow_id, snapshot.over_ms)

    def restored(self, workflow_id: str, over_ms: int) -> None:
        """The same of one that a takeover found, whose bytes nobody has to decode for it."""
        if self._keep_ms is not None:
            self._timers.look_at(workflow_id, over_ms + self._keep_ms)

    def again(self, snapshot: Snapshot, now_ms: int) -> None:
        """It was looked at, perhaps for an earlier timer of it: when it is to go is known again."""
        if snapshot.over_ms and not self.outlived(snapshot, now_ms):
            self.arm(snapshot)

    def outlived(self, snapshot: Snapshot, now_ms: int) -> bool:
        """Whether this workflow has been kept for long enough."""
        if not snapshot.over_ms or self._keep_ms is None:
            return False
        return snapshot.over_ms + self._keep_ms <= now_ms

    def remove(self, snapshot: Snapshot, why: str) -> None:
        """There is no such workflow any more, and history says why; nothing of it is owed or waits."""
        ledger = self._ledger
        if snapshot.status is Status.EXPECTED:
            ledger.remove(snapshot)  # there was none
            return
        data = {
            "machine": snapshot.machine,
            "version": snapshot.version,
            "seq": snapshot.seq,
            "state": snapshot.state,
            "reason": why,
        }
        # The time makes it unlike the removal of another workflow that had the same id.
        origin = f"removed/{ledger.now_ms}"
        ledger.tell(history.REMOVED, snapshot.workflow_id, origin, data)
        ledger.remove(snapshot)
