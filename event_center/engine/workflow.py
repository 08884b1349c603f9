"""
The workflows of one shard in memory: idle ones as the bytes of their snapshots, busy ones live.

A workflow that nobody touches costs its bytes and nothing more. It becomes a live `Snapshot` when an
event comes, and bytes again in the next cut, unless it owes a run or has a `Mailbox`: the events that
wait for it. The intake and the turn look workflows up here; the ledger puts them back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from event_center.engine.run import Run
from event_center.errors import FormatError
from event_center.model import Event, Record, Snapshot, Status, Timer
from event_center.wire import snapshot as wire
from event_center.wire.snapshot import STOPPED

__all__ = ["STOPPED", "Held", "Mailbox", "Waiting", "Workflows", "standing"]

Held = bytes | Snapshot


class Waiting:
    """One thing that waits for its turn: a record's event, a due timer, or the result of a run."""

    __slots__ = (
        "deferred",
        "event",
        "first",
        "gone",
        "number",
        "partition",
        "record",
        "timer",
        "topic",
    )

    def __init__(
        self,
        event: Event | None,
        record: Record | None = None,
        topic: str = "",
        partition: int = -1,
    ) -> None:
        self.event = event
        """None: restored from its entry and not parsed yet."""
        self.record = record
        """None: not a record; nothing of it is counted, and it is not written as an entry."""
        self.topic = topic
        self.partition = partition
        self.timer: Timer | None = None
        self.first: Callable[[], None] | None = None
        """Of a run's result: marks the run as done, right before its event is accepted or refused."""
        self.number = -1
        """Of its waiting entry; -1 while it has none."""
        self.deferred = False
        self.gone = False
        """Decided: no cut needs to write it any more."""


class Mailbox:
    """What waits for one workflow."""

    __slots__ = ("deciding", "deferred", "looked_at", "queue", "recheck", "result")

    def __init__(self) -> None:
        self.queue: deque[Waiting] = deque()
        self.deferred: deque[Waiting] = deque()
        """Events that the machine set aside, oldest first."""
        self.deciding: Waiting | None = None
        """The event whose decide callbacks are awaited: the head of all that waits."""
        self.recheck = False
        """The state changed since the deferred events were looked at."""
        self.looked_at = 0
        """How many of the deferred events, from the oldest on, this state has set aside."""
        self.result: Callable[[], None] | None = None
        """What goes on first: the end of a run of a stopped workflow, or what failed to be decided."""

    def items(self) -> list[Waiting]:
        """Everything that waits here."""
        head = () if self.deciding is None else (self.deciding,)
        return [*head, *self.queue, *self.deferred]


class Workflows:
    """All workflows of one shard, by workflow_id."""

    __slots__ = (
        "_cooling",
        "_where",
        "closed",
        "gone",
        "held",
        "mailboxes",
        "runs",
        "unreadable",
        "warm",
    )

    def __init__(self, where: str) -> None:
        self._where = where
        """What messages call the shard and its log."""
        self.held: dict[str, Held] = {}
        self.warm: dict[str, bytes] = {}
        """Live ones with nothing to do, with their bytes of the last cut: they may be busy again soon."""
        self._cooling: dict[str, bytes] = {}
        """Those of `warm` from before the last `cool`."""
        self.mailboxes: dict[str, Mailbox] = {}
        self.runs: dict[str, Run] = {}
        """The run under way of each workflow that has one."""
        self.gone = False
        """The shard was given up: whatever still ends here counts for nothing."""
        self.closed = False
        """The shard is drained or was given up: what runs may end, and nothing more begins."""
        self.unreadable: dict[str, str] = {}
        """Workflows that can not be read, with the reason: their bytes stay as they are."""

    def live(self, workflow_id: str) -> Snapshot | None:
        """
        The workflow's snapshot, decoded and kept; None if there is no such workflow.

        Raises:
            FormatError: its snapshot can not be read.
        """
        held = self.held.get(workflow_id)
        if isinstance(held, bytes):
            return self.wake(workflow_id, held)
        return held

    def wake(self, workflow_id: str, value: bytes) -> Snapshot:
        """Decode an idle workflow; it stays live while it is busy or warm."""
        if workflow_id in self.unreadable:
            # Also one whose waiting events could not be restored: nothing may overtake them.
            raise FormatError(self.unreadable[workflow_id])
        try:
            snapshot = wire.decode(workflow_id, value)
        except FormatError as error:
            raise self.damaged(workflow_id, error) from error
        self.held[workflow_id] = snapshot
        return snapshot

    def cool(self) -> None:
        """
        Those that had nothing to do since the call before this one become bytes again.

        The ledger calls it right after a dump, when no live workflow has changes that are not in its
        bytes: who was dumped meanwhile is in `warm` again, or is busy.
        """
        held, warm, mailboxes, runs = self.held, self.warm, self.mailboxes, self.runs
        for workflow_id, value in self._cooling.items():
            snapshot = held.get(workflow_id)
            if (
                isinstance(snapshot, Snapshot)
                and not snapshot.owed
                and workflow_id not in warm
                and workflow_id not in mailboxes
                and workflow_id not in runs
            ):
                held[workflow_id] = value
        self._cooling, self.warm = warm, {}

    def damaged(self, workflow_id: str, error: FormatError) -> FormatError:
        """Note that a workflow can not be read, and why: it stands still, and nothing overtakes it."""
        self.unreadable[workflow_id] = told = f"{self._where}: {error}"
        return FormatError(told)

    def pending(self, workflow_id: str) -> bool:
        """Whether a result is kept that has to be decided before anything else."""
        mailbox = self.mailboxes.get(workflow_id)
        return mailbox is not None and mailbox.result is not None

    def mailbox(self, workflow_id: str) -> Mailbox:
        """The workflow's mailbox, made if it has none."""
        mailbox = self.mailboxes.get(workflow_id)
        if mailbox is None:
            mailbox = self.mailboxes[workflow_id] = Mailbox()
        return mailbox


def standing(snapshot: Snapshot) -> Status:
    """The status that a workflow has when nobody stopped it."""
    if snapshot.deciding_due_ms or (snapshot.owed and snapshot.owed[0].due_ms):
        return Status.RETRYING
    return Status.ACTIVE if snapshot.result is None else Status.FINAL
