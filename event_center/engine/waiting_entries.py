"""
The waiting entries of one shard: what the next cut writes and removes of them, and how much waits, by why.

A record that waits is in memory and in the log: an entry beside its workflow's snapshot, numbered in the
order in which records came. The ledger tells of each that waits, is set aside or waits no more, and asks
for all of it as it builds a cut; a takeover tells of those that it has found.
"""

from __future__ import annotations

from collections.abc import Iterable

from event_center.engine.workflow import Waiting
from event_center.model import Snapshot, Status
from event_center.wire import waiting as wire
from event_center.wire.entries import ShardEntry, waiting_key
from event_center.wire.snapshot import STOPPED


class WaitingEntries:
    """What waits in one shard, as its log and its counters have it."""

    __slots__ = ("_entry", "_removed", "_unwritten", "weights")

    def __init__(self, entry: ShardEntry) -> None:
        self._entry = entry
        self.weights = dict.fromkeys(entry.waiting, 0)
        """What the records that wait weigh, by why they wait; all of them are in memory."""
        self._unwritten: list[tuple[Snapshot, Waiting]] = []
        """Those that have no entry yet, or another than the log has."""
        self._removed: list[bytes] = []

    def found(self, snapshot: Snapshot, item: Waiting) -> None:
        """A takeover has found this one waiting: the shard entry counts it already."""
        self.weights[cause_of(snapshot, item)] += item.weight

    def add(self, snapshot: Snapshot, item: Waiting) -> None:
        """This one waits from now on; the next cut writes it if it still does."""
        self._count(snapshot, item, 1)
        self._unwritten.append((snapshot, item))

    def remove(self, snapshot: Snapshot, item: Waiting) -> None:
        """This one waits no more."""
        self._count(snapshot, item, -1)
        item.gone = True
        if item.number >= 0:
            self._removed.append(waiting_key(snapshot.workflow_id, item.number))
            snapshot.waiting -= 1

    def defer(self, snapshot: Snapshot, item: Waiting) -> None:
        """This one is set aside: its entry says so from the next cut on."""
        self._count(snapshot, item, -1)
        item.deferred = True
        self.add(snapshot, item)

    def status(self, snapshot: Snapshot, status: Status, items: Iterable[Waiting]) -> None:
        """Change the status of a workflow: what waits for it is counted under its new cause."""
        records = [item for item in items if item.record is not None and not item.gone]
        for item in records:
            self._count(snapshot, item, -1)
        snapshot.status = status
        for item in records:
            self._count(snapshot, item, 1)

    def number(self) -> None:
        """Number those that have no entry yet, in the order in which they came."""
        for snapshot, item in self._unwritten:
            if not item.gone and item.number < 0:
                if not snapshot.waiting:
                    snapshot.waiting_next = 0
                item.number = snapshot.waiting_next
                snapshot.waiting_next += 1
                snapshot.waiting += 1

    def write(self, entries: dict[bytes, bytes | None]) -> None:
        """Add all that is new to the entries of a cut; the next one begins empty."""
        entries.update(dict.fromkeys(self._removed))
        for snapshot, item in self._unwritten:
            if not item.gone and item.record is not None:
                parts = item.record, item.topic, item.partition, item.deferred, item.due_ms
                entries[waiting_key(snapshot.workflow_id, item.number)] = wire.encode(parts)
        self._unwritten, self._removed = [], []

    def _count(self, snapshot: Snapshot, item: Waiting, by: int) -> None:
        """It waits no more for this reason, or it does from now on."""
        cause = cause_of(snapshot, item)
        self._entry.waiting[cause] += by
        self.weights[cause] += by * item.weight


def cause_of(snapshot: Snapshot, item: Waiting) -> str:
    """Why a record waits, as the shard entry counts it."""
    if snapshot.status in STOPPED:
        return "held" if snapshot.status is Status.EXPECTED else "parked"
    return "deferred" if item.deferred else "queued"
