"""
The workflows of one shard in memory: idle ones as the bytes of their snapshots, busy ones live.

A workflow that nobody touches costs its bytes and nothing more. It becomes a live `Snapshot` when an
event comes, and bytes again in the next cut, unless it owes a run or has a `Mailbox`: the events that
wait for it. The intake and the turn look workflows up here; the ledger puts them back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from event_center.engine.apart import Apart
from event_center.engine.run import Run
from event_center.engine.standing import Standing
from event_center.errors import FormatError
from event_center.model import Event, Record, Refusal, Snapshot, Status, Timer, size_of
from event_center.wire import snapshot as wire

Workflow = bytes | Standing | Snapshot

LARGE_BYTES = 10_000
"""Bytes of a snapshot that is not kept decoded, with nothing to do: `warm` is a number of workflows."""
ENTRY_BYTES = 500
"""What a waiting record takes in memory beside its bytes: some objects, and the key of its entry."""
REFUSALS = 8
"""Refused events that a snapshot keeps for `show`: history has all of them."""
REFUSAL_TEXT = 300
"""Characters of the name and of the detail of one: every snapshot of the workflow has them."""


class Waiting:
    """One thing that waits for its turn: a record's event, a due timer, or the result of a run."""

    __slots__ = (
        "asks",
        "deferred",
        "due_ms",
        "ends",
        "event",
        "gone",
        "number",
        "partition",
        "record",
        "timer",
        "topic",
        "weight",
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
        self.weight = 0
        """The bytes of a record, and something for waiting; nothing else is weighed."""
        if record is not None:
            self.weight = size_of(record.key, record.value, record.headers) + ENTRY_BYTES
        self.topic = topic
        self.partition = partition
        self.timer: Timer | None = None
        self.ends: Callable[[], None] | None = None
        """
        What ends with this event, in the same block right before its outcome: of a run's result the run
        (`effect`), of an `on_error` the event that failed (`failing`), of a replay its letter (`commands`).
        """
        self.asks: Callable[[Snapshot], bool] | None = None
        """Of a job's end (`jobs`): asked when its turn has come, whether there is anything to decide."""
        self.number = -1
        """Of its waiting entry; -1 while it has none."""
        self.deferred = False
        self.due_ms = 0
        """Until when it is held for a workflow that does not exist yet; 0: it is not."""
        self.gone = False
        """Decided: no cut needs to write it any more."""

    def is_before(self, other: Waiting) -> bool:
        """Whether this came first: as their entries are numbered, or lie in a partition without these."""
        if self.number < 0 and other.number < 0 and self.record and other.record:
            same = (self.topic, self.partition) == (other.topic, other.partition)
            return same and self.record.offset < other.record.offset
        return other.number < 0 or 0 <= self.number < other.number


class Mailbox:
    """What waits for one workflow."""

    __slots__ = ("deciding", "deferred", "looked_at", "queue", "recheck", "unfinished")

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
        self.unfinished: Callable[[], None] | None = None
        """
        What goes on before all that waits, through `finish`: the end of a run that came while its workflow
        was stopped (`effect`, `deciding`), or an event to be tried again that no queue holds (`failing`).
        """

    def finish(self) -> bool:
        """Go on with what is unfinished; whether anything was."""
        unfinished, self.unfinished = self.unfinished, None
        if unfinished is None:
            return False
        unfinished()
        return True

    def remove(self, item: Waiting) -> None:
        """Take out the first of the queue, or one that is deferred."""
        if self.queue and self.queue[0] is item:
            self.queue.popleft()
            return
        place = self.deferred.index(item)
        del self.deferred[place]
        self.looked_at -= place < self.looked_at

    def entered(self) -> None:
        """The state is another: deferred events are looked at anew, one that was to be tried again too."""
        self.recheck = True
        if self.queue and self.queue[0].deferred:
            self.put_back(self.queue.popleft())

    def put_back(self, item: Waiting) -> None:
        """What was taken out and is not decided waits where it was: a deferred one among its like."""
        if not item.deferred:
            self.queue.appendleft(item)
            return
        later = (place for place, one in enumerate(self.deferred) if item.is_before(one))
        self.deferred.insert(next(later, len(self.deferred)), item)
        self.recheck = True

    def items(self) -> list[Waiting]:
        """Everything that waits here."""
        head = () if self.deciding is None else (self.deciding,)
        return [*head, *self.queue, *self.deferred]


class Workflows:
    """All workflows of one shard, by workflow_id."""

    __slots__ = (
        "_cooling",
        "_where",
        "apart",
        "by_id",
        "draining",
        "gone",
        "jobs",
        "large",
        "mailboxes",
        "runs",
        "unreadable",
        "warm",
    )

    def __init__(self, where: str) -> None:
        self._where = where
        """What messages call the shard and its log."""
        self.by_id: dict[str, Workflow] = {}
        self.warm: dict[str, bytes] = {}
        """
        Live ones with their bytes of the last cut, who may have nothing to do: those woken since, and those
        that have nothing to do and may be busy again soon.
        """
        self.large: dict[str, bytes] = {}
        """The same of those woken that are too large to stay warm: until the next cut."""
        self._cooling: dict[str, bytes] = {}
        """Those of `warm` from before the last `cool`."""
        self.mailboxes: dict[str, Mailbox] = {}
        self.runs: dict[str, Run] = {}
        """The run under way of each workflow that has one."""
        self.jobs: dict[tuple[str, str], Run] = {}
        """The jobs under way, by workflow and name; also those that were asked to end and have not yet."""
        self.gone = False
        """The shard was given up: whatever still ends here counts for nothing."""
        self.draining = False
        """The shard is drained or was given up: what runs may end, and nothing more begins."""
        self.apart = Apart()
        """What is kept for a cut of its own: next to always nothing."""
        self.unreadable: dict[str, str] = {}
        """Workflows that can not be read, with the reason: their bytes stay as they are."""

    def live(self, workflow_id: str) -> Snapshot | None:
        """
        The workflow's snapshot, decoded and kept; None if there is no such workflow.

        Raises:
            FormatError: its snapshot can not be read.
        """
        workflow = self.by_id.get(workflow_id)
        if workflow is None or isinstance(workflow, Snapshot):
            return workflow
        return self.wake(workflow_id, workflow)

    def wake(self, workflow_id: str, workflow: bytes | Standing) -> Snapshot:
        """Decode an idle workflow; it stays live while it is busy or warm."""
        value = workflow if isinstance(workflow, bytes) else workflow.encode()
        if workflow_id in self.unreadable:
            # Also one whose waiting events could not be restored: nothing may overtake them.
            raise FormatError(self.unreadable[workflow_id])
        try:
            snapshot = wire.decode(workflow_id, value)
        except FormatError as error:
            raise self.damaged(workflow_id, error) from error
        self.by_id[workflow_id] = snapshot
        snapshot.size = size = len(value)
        (self.large if size >= LARGE_BYTES else self.warm)[workflow_id] = value
        return snapshot

    def put_back(self, workflow_id: str, value: bytes) -> None:
        """It was woken for nothing, a moment ago: it is these bytes again, which it was."""
        self.by_id[workflow_id] = value
        for store in (self.warm, self.large):
            store.pop(workflow_id, None)

    def remove(self, workflow_id: str) -> None:
        """There is no such workflow any more."""
        self.by_id.pop(workflow_id, None)
        for store in (self.warm, self.large, self._cooling):
            store.pop(workflow_id, None)
        self.mailboxes.pop(workflow_id, None)
        self.runs.pop(workflow_id, None)

    def cool(self) -> None:
        """
        Those that had nothing to do since the call before this one become bytes again.

        The ledger calls it right after a dump, when no live workflow has changes that are not in its
        bytes: who was dumped meanwhile is in `warm` again, or is busy.
        """
        self._rest(self._cooling)
        self._cooling, self.warm = self.warm, {}

    def keep_as(self, workflow_id: str, standing: Standing) -> None:
        """Right after its dump: it is not live any more, and no older bytes of it are kept either."""
        for store in (self.warm, self.large, self._cooling):
            store.pop(workflow_id, None)
        self.by_id[workflow_id] = standing

    def cool_at_once(self, values: dict[str, bytes]) -> None:
        """These are too large to stay warm: right after their dump, as in `cool`, they become bytes."""
        for workflow_id in values:
            self.warm.pop(workflow_id, None)
            self._cooling.pop(workflow_id, None)
        self._rest(values)

    def _rest(self, values: dict[str, bytes]) -> None:
        by_id, warm, mailboxes, runs = self.by_id, self.warm, self.mailboxes, self.runs
        for workflow_id, value in values.items():
            snapshot = by_id.get(workflow_id)
            if (
                isinstance(snapshot, Snapshot)
                and not snapshot.owed
                and workflow_id not in warm
                and workflow_id not in mailboxes
                and workflow_id not in runs
            ):
                by_id[workflow_id] = value

    def damaged(self, workflow_id: str, error: FormatError) -> FormatError:
        """Note that a workflow can not be read, and why: it stands still, and nothing overtakes it."""
        self.unreadable[workflow_id] = told = f"{self._where}: {error}"
        return FormatError(told)

    def mailbox(self, workflow_id: str) -> Mailbox:
        """The workflow's mailbox, made if it has none."""
        mailbox = self.mailboxes.get(workflow_id)
        if mailbox is None:
            mailbox = self.mailboxes[workflow_id] = Mailbox()
        return mailbox


def value_of(workflow: Workflow) -> bytes:
    """The value of a workflow's snapshot as of now."""
    if isinstance(workflow, bytes):
        return workflow
    return workflow.encode() if isinstance(workflow, Standing) else wire.encode(workflow)[0]


def forget(snapshot: Snapshot) -> None:
    """Drop the events that no run needs any more; to be called when one is owed no longer."""
    if not snapshot.owed:
        snapshot.cause = None
    if snapshot.earlier is not None:
        needed = {one.seq for one in (*snapshot.owed, *snapshot.jobs)}
        earlier = {seq: event for seq, event in snapshot.earlier.items() if seq in needed}
        snapshot.earlier = earlier or None


def refused(snapshot: Snapshot, refusal: Refusal) -> None:
    """Note a refused event among the last ones, with no more of its texts than `show` needs."""
    event, detail = refusal.event[:REFUSAL_TEXT], refusal.detail[:REFUSAL_TEXT]
    noted = refusal._replace(event=event, detail=detail)
    snapshot.refusals = (*snapshot.refusals[1 - REFUSALS :], noted)


def undecided(snapshot: Snapshot) -> None:
    """Attempts to decide the event at the head count no more: it is over, or begins anew."""
    snapshot.deciding_attempt = snapshot.deciding_due_ms = snapshot.deciding_starts = 0


def unstopped(snapshot: Snapshot) -> Status:
    """The status that a workflow has when nobody has stopped it."""
    if snapshot.deciding_due_ms or (snapshot.owed and snapshot.owed[0].due_ms):
        return Status.RETRYING
    return Status.ACTIVE if snapshot.result is None else Status.FINAL
