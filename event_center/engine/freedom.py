"""
What a workflow may do now: the one place that says so. Whoever begins something of one asks here first.

Each question is about one workflow at this moment, and none changes anything. What is due when is not
asked here: what is owed, a timer and a hold say that themselves. A line of the table says what may be
while it is true; where several are, only what all of them allow.

                                    goes_on  decides  timers_ahead  runs  works
    draining: the shard is to end      -        -          -         -      -
    parked, paused or expected         -        -          -         -      -
    a callback is under way           yes       -          -         -     yes
    an event or an end is unfinished  yes       -          -         -     yes
    its event is tried later          yes       -          -        yes    yes
    what it owes is not durable yet   yes      yes        yes        -      -
    it owes a run                     yes       -      if retrying  yes     -
    it owes no run                    yes      yes         -         -     yes

Commands go ahead of all this: they are decided when they are read. The turn asks before each event,
`effect` and `jobs` before each run, the parts when something is due. tests/engine/test_freedom.py holds
the table.
"""

from __future__ import annotations

from event_center.engine.ledger import Ledger
from event_center.engine.workflow import Workflows
from event_center.model import Snapshot, Status
from event_center.wire.snapshot import STOPPED

RETRYING, EXPECTED = Status.RETRYING, Status.EXPECTED
"""Looked up once: to read a member of an enumeration costs as much as a call."""


class Freedom:
    """What the workflows of one shard may do now."""

    __slots__ = ("_ledger", "_workflows")

    def __init__(self, workflows: Workflows, ledger: Ledger) -> None:
        self._workflows = workflows
        self._ledger = ledger

    def goes_on(self, snapshot: Snapshot) -> bool:
        """Whether anything of it may begin: the shard is not to end, and nobody has stopped it."""
        return not (self._workflows.draining or snapshot.status in STOPPED)

    def decides(self, snapshot: Snapshot) -> bool:
        """Whether what waits for it may be decided, the next one first: it is free and owes no run."""
        return not snapshot.owed and self._free(snapshot)

    def timers_ahead(self, snapshot: Snapshot) -> bool:
        """Whether due timers go ahead of what waits: its run is tried later, and it is free meanwhile."""
        return bool(snapshot.owed) and snapshot.status is RETRYING and self._free(snapshot)

    def _free(self, snapshot: Snapshot) -> bool:
        """Whether a turn may begin: it goes on, and nothing runs, is unfinished or is tried later."""
        workflows, workflow_id = self._workflows, snapshot.workflow_id
        mailbox = workflows.mailboxes.get(workflow_id)
        return not (
            workflows.draining
            or snapshot.status in STOPPED
            or snapshot.deciding_due_ms > self._ledger.now_ms
            or workflow_id in workflows.runs
            or (mailbox is not None and mailbox.unfinished is not None)
        )

    def runs(self, snapshot: Snapshot) -> bool:
        """Whether the run that it owes first may start when due: durable, and nothing is under way."""
        workflows, workflow_id = self._workflows, snapshot.workflow_id
        mailboxes = workflows.mailboxes
        return not (
            snapshot.status in STOPPED
            or workflows.draining
            or workflow_id in workflows.runs
            or self._ledger.promised(workflow_id)
            or (workflow_id in mailboxes and mailboxes[workflow_id].unfinished is not None)
        )

    def works(self, snapshot: Snapshot) -> bool:
        """Whether its jobs may start when they are due: durable, and no entry callback comes before."""
        return (
            not snapshot.owed
            and self.goes_on(snapshot)
            and not self._ledger.promised(snapshot.workflow_id)
        )

    def heeds_time(self, snapshot: Snapshot) -> bool:
        """Whether what is due counts: of who is stopped only the holds of an expected one do."""
        return snapshot.status is EXPECTED or snapshot.status not in STOPPED

    def stopped(self, snapshot: Snapshot) -> bool:
        """Whether only a command, or the event that it expects, moves it; an end that comes now is kept."""
        return snapshot.status in STOPPED
