"""
Workflows as the log has them: a list by state and status, and everything known of one.

`list_workflows` reads first lines and decodes only what it returns; `show` reads one snapshot and
what waits for it. Both read committed entries without a lease, and say which cut they are of. The
CLI's `list` and `show` print them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from event_center.client.active import NONE, Machines
from event_center.client.app import App
from event_center.client.stats import shard_entry
from event_center.errors import FormatError, Undecodable
from event_center.log.port import Entry, Log
from event_center.machine.spelling import nearest
from event_center.model import Event, Owed, Shard, Snapshot, Snapshotted, Status
from event_center.wire import snapshot as wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.entries import (
    SNAPSHOTS,
    snapshot_key,
    waiting_of,
    waiting_prefix,
    workflow_of,
)
from event_center.wire.history import rfc3339

FIRST_WAITING = 10
"""Waiting events that `show` names; their number is always told."""
COMPARED = 100_000
"""Ids that are compared with one that nobody has: somebody waits for the answer."""
UNREADABLE = "unreadable"
"""Stands for the status of a workflow whose snapshot this release can not read."""

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which workflows to list; None does not ask."""

    machine: str | None = None
    state: str | None = None
    """One of the states that the workflow is in, or several of them, joined by `|`."""
    machines: Machines = NONE
    """Those at hand, which know the states around those that the log names."""
    status: str | None = None
    """None asks for workflows, and not for those that events are held for."""
    entered_before_ms: int | None = None
    """Only those that have been in their state since before this time."""
    error: str | None = None
    """Only those whose callback failed with this in the error's class or message."""

    @property
    def reads_all(self) -> bool:
        """Whether more than a first line has to be looked at."""
        return self.entered_before_ms is not None or self.error is not None

    def fits_whole(self, snapshot: Snapshot) -> bool:
        """Whether the rest of a snapshot fits, whose first line does."""
        before, failure = self.entered_before_ms, snapshot.failure
        if before is not None and snapshot.entered_at_ms >= before:
            return False
        if self.error is None:
            return True
        return failure is not None and self.error in f"{failure.type}: {failure.message}"

    def fits(self, head: Snapshotted) -> bool:
        """Whether a snapshot's first line fits."""
        return (
            self.machine in {None, head.machine}
            and (self.status == head.status if self.status else head.status != Status.EXPECTED)
            and (
                self.state is None
                or self.machines.in_state(self.state, head.machine, head.version, head.state)
            )
        )


async def list_workflows(log: Log, app: App, wanted: Wanted, limit: int) -> tuple[list[Row], int]:
    """The first workflows that fit, shard by shard, and how many fit in all."""
    rows: list[Row] = []
    total = 0
    for shard in map(Shard, range(app.shards)):
        async for batch in log.entries(shard, SNAPSHOTS):
            for entry in batch:
                snapshot = _wanted(entry, wanted, len(rows) >= limit)
                if snapshot is None:
                    continue
                total += 1
                if len(rows) < limit:
                    rows.append(_row(_shown(entry[0]), snapshot))
    return rows, total


def _wanted(entry: Entry, wanted: Wanted, full: bool) -> Snapshot | Snapshotted | None:
    """What is known of the workflow if it fits: only its first line if it will not be shown."""
    key, value = entry
    try:
        workflow_id = workflow_of(key)
        head = wire.peek(value)
        if not wanted.fits(head):
            return None
        if full and not wanted.reads_all:
            return head
        snapshot = wire.decode(workflow_id, value)
    except (FormatError, UnicodeDecodeError):
        unreadable = Snapshotted(0, "", 0, "", UNREADABLE, 0, "")
        return unreadable if wanted.fits(unreadable) else None
    return snapshot if wanted.fits_whole(snapshot) else None


def _shown(key: bytes) -> str:
    """The workflow_id in a snapshot's key; bytes that are not UTF-8, as nobody has them, are escaped."""
    return key[len(SNAPSHOTS) :].decode("utf-8", "backslashreplace")


def _row(workflow_id: str, snapshot: Snapshot | Snapshotted) -> Row:
    row: Row = {
        "workflow_id": workflow_id,
        "machine": snapshot.machine,
        "version": snapshot.version,
        "state": snapshot.state,
        "status": str(snapshot.status),
    }
    if isinstance(snapshot, Snapshot):
        row |= {
            "seq": snapshot.seq,
            "entered_at": _time(snapshot.entered_at_ms),
            "waiting": snapshot.waiting,
            "result": snapshot.result,
        }
    return row


async def nearest_workflow(log: Log, app: App, workflow_id: str) -> str | None:
    """The workflow whose id is most like this one, among the first `COMPARED`; None: none is."""
    alike: list[str] = []
    seen = 0
    for shard in map(Shard, range(app.shards)):
        async for batch in log.entries(shard, SNAPSHOTS):
            alike += [
                name for name in (_shown(key) for key, _ in batch) if _alike(name, workflow_id)
            ]
            seen += len(batch)
            if seen >= COMPARED:
                return nearest(workflow_id, alike)
    return nearest(workflow_id, alike)


def _alike(one: str, other: str) -> bool:
    """Whether it is worth a closer look: the same length or nearly, and half of it the same."""
    if abs(len(one) - len(other)) > 2:  # noqa: PLR2004 - a letter too many, or two
        return False
    pairs = zip(one.casefold(), other.casefold(), strict=False)
    return 2 * sum(a == b for a, b in pairs) >= len(other)


async def snapshot_of(log: Log, app: App, workflow_id: str) -> Snapshot | None:
    """
    The snapshot of a workflow, or None if the app has no such workflow.

    Raises:
        FormatError: it can not be read.
    """
    shard = app.home(workflow_id)
    value = await log.entry(shard, snapshot_key(workflow_id))
    try:
        return None if value is None else wire.decode(workflow_id, value)
    except FormatError as error:
        raise FormatError(f"shard {shard} of {log.where}: {error}") from error


async def show(log: Log, app: App, workflow_id: str) -> dict[str, Any] | None:
    """
    Everything known of one workflow, ready to be written as JSON; None if there is none.

    Raises:
        FormatError: its snapshot, or an event that waits for it, can not be read.
    """
    shard = app.home(workflow_id)
    entry = await shard_entry(log, shard)
    snapshot = await snapshot_of(log, app, workflow_id)
    waiting = await _waiting(log, shard, workflow_id)
    try:
        if len(waiting) != (snapshot.waiting if snapshot else 0):
            await _check(log, app, workflow_id)
        first = [_waiting_one(app, *entry) for entry in waiting[:FIRST_WAITING]]
    except FormatError as error:
        raise FormatError(f"shard {shard} of {log.where}: {error}") from error
    if snapshot is None:
        return None
    shown = _row(workflow_id, snapshot)
    del shown["waiting"]
    shown |= _condition(snapshot)
    shown |= {
        "data": snapshot.data,
        "timers": [
            {"id": timer.id, "seq": timer.seq, "due": _time(timer.due_ms)}
            for timer in snapshot.timers
        ],
        "owed": _runs(snapshot.owed),
        "jobs": _runs(snapshot.jobs),
        "cause": None if snapshot.cause is None else _event(snapshot.cause),
        "waiting": {"count": snapshot.waiting, "first": first},
        "seen": snapshot.seen,
        "as_of": {"shard": shard, "cut": entry.cut, "offsets": entry.offsets},
    }
    return shown


def _runs(owed: tuple[Owed, ...]) -> list[dict[str, Any]]:
    return [
        {"callback": o.name, "seq": o.seq, "attempt": o.attempt, "due": _time(o.due_ms)}
        for o in owed
    ]


def _condition(snapshot: Snapshot) -> dict[str, Any]:
    """What holds the workflow up, and what went wrong."""
    failure = snapshot.failure
    deciding = None
    if snapshot.deciding_attempt:
        deciding = {
            "attempt": snapshot.deciding_attempt,
            "due": _time(snapshot.deciding_due_ms),
        }
    return {
        "closed_at": _time(snapshot.closed_at_ms),
        "parked": snapshot.parked,
        "deciding": deciding,
        "failure": failure
        and {
            "callback": failure.callback,
            "type": failure.type,
            "message": failure.message,
            "at": _time(failure.at_ms),
            "attempt": failure.attempt,
            "traceback": failure.traceback,
        },
        "refusals": [
            {"at": _time(one.at_ms), "event": one.event, "reason": one.reason, "detail": one.detail}
            for one in snapshot.refusals
        ],
        "letters": {
            "open": snapshot.letters_last - snapshot.letters_next,
            "next": snapshot.letters_next,
            "last": snapshot.letters_last,
        },
    }


def _event(event: Event) -> dict[str, Any]:
    return {"event": event.name, "id": event.id, "origin": event.origin, "payload": event.payload}


async def _check(log: Log, app: App, workflow_id: str) -> None:
    """
    Is it damage, or was a cut made between two looks? Then the next look finds another seq or count.

    Raises:
        FormatError: the waiting entries are not those of which the snapshot speaks.
    """
    key, shard = snapshot_key(workflow_id), app.home(workflow_id)
    before = await log.entry(shard, key)
    found = len(await _waiting(log, shard, workflow_id))
    if before == await log.entry(shard, key):
        said = None if before is None else wire.decode(workflow_id, before).waiting
        waiting_wire.check_count(workflow_id, found, said)


async def _waiting(log: Log, shard: Shard, workflow_id: str) -> list[Entry]:
    """The waiting entries of a workflow, in their order."""
    found: list[Entry] = []
    async for batch in log.entries(shard, waiting_prefix(workflow_id)):
        found += batch
    return sorted(found)


def _waiting_one(app: App, key: bytes, value: bytes) -> dict[str, Any]:
    entry = waiting_wire.decode(value)
    name: str | None = None
    envelope = app.envelopes.get(entry.topic)
    if envelope is not None:
        try:
            name = envelope.read(entry.record, entry.partition)[2].name
        except Undecodable:
            name = None  # the topic's rules have changed since; the engine will make it a letter
    return {
        "number": waiting_of(key)[1],
        "event": name,
        "at": _time(entry.record.timestamp_ms),
        "deferred": entry.deferred,
        "held_until": _time(entry.due_ms),
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": entry.record.offset,
    }


def _time(at_ms: int) -> str | None:
    """A time as RFC 3339; 0 is no time."""
    return rfc3339(at_ms) if at_ms else None
