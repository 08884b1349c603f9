"""
Is the memory of a shard exactly what a takeover would restore, and does everything in it go on?

The world asks this after every cut, at the moment at which the cut became durable: memory is compared
with a fresh restore field by field, and whatever waits needs something that will wake it (promise P8).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from event_center.engine.kept import entries_of
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.restoring import restore
from event_center.engine.workflow import Mailbox, Waiting
from event_center.log.port import Entry, TopicInfo
from event_center.model import Snapshot
from event_center.wire import snapshot as wire
from event_center.wire.entries import ShardEntry
from event_center.wire.snapshot import STOPPED

MEMORY = frozenset({"counted", "size"})
"""What of a snapshot is not in its bytes."""


async def stored(store: Mapping[bytes, bytes]) -> AsyncIterator[list[Entry]]:
    """What a takeover reads of a lease, from entries that are at hand."""
    yield list(store.items())


def restored(
    parts: Parts, plan: Plan, store: Mapping[bytes, bytes], topics: Mapping[str, TopicInfo]
) -> Parts:
    """Fresh parts, filled from the entries without an event loop: nothing of it ever waits."""
    runners = parts.effects._runners  # noqa: SLF001 - any will do: nothing is run here
    fresh = Parts(
        parts.shard, plan, runners, runners, where="", wake=lambda: None, earlier=lambda: None
    )
    batches = restore(stored(store), fresh, topics, plan)
    while True:
        try:
            batches.__anext__().send(None)  # type: ignore[attr-defined]  # an awaitable of a generator
        except StopIteration:
            continue
        except StopAsyncIteration:
            fresh.entry.takeovers -= 1  # this look is none
            return fresh


def differences(memory: Parts, fresh: Parts) -> list[str]:
    """Everything in which memory is not what a takeover would restore."""
    found = _differing("shard entry", _entry(memory.entry), _entry(fresh.entry))
    weights = memory.ledger.waiting_bytes, fresh.ledger.waiting_bytes
    found += _differing("bytes that wait", *weights)
    mine, theirs = memory.workflows, fresh.workflows
    found += _differing("workflows", sorted(mine.by_id), sorted(theirs.by_id))
    for workflow_id in mine.by_id.keys() & theirs.by_id.keys():
        workflow, other = mine.by_id[workflow_id], theirs.by_id[workflow_id]
        if workflow == other:
            continue
        found += _differing(workflow_id, _facts(workflow_id, workflow), _facts(workflow_id, other))
    nothing = Mailbox()
    for workflow_id in mine.mailboxes.keys() | theirs.mailboxes.keys():
        mailbox = mine.mailboxes.get(workflow_id, nothing)
        other_mailbox = theirs.mailboxes.get(workflow_id, nothing)
        found += _differing(f"mailbox of {workflow_id}", _waits(mailbox), _waits(other_mailbox))
    return found


def kept_otherwise(parts: Parts, store: Mapping[bytes, bytes]) -> list[str]:
    """Every entry that would be kept of this shard at a release, and is not what the log holds."""
    if parts.workflows.unreadable:
        return []
    kept = entries_of(parts)
    return [
        f"kept of {key!r}: {kept.get(key)!r}, the log has {store.get(key)!r}"
        for key in kept.keys() | store.keys()
        if kept.get(key) != store.get(key)
    ]


def stuck(parts: Parts) -> list[str]:
    """What waits in memory without anything that would wake it."""
    if not parts.resumed:
        return []
    found = []
    workflows = parts.workflows
    advanced_again = {snapshot.workflow_id for snapshot in parts.turn.again}
    for workflow_id, workflow in workflows.by_id.items():
        if isinstance(workflow, bytes):
            continue
        mailbox = workflows.mailboxes.get(workflow_id, Mailbox())
        moves = (
            workflow.status in STOPPED
            or workflow_id in workflows.runs
            or workflow_id in advanced_again
            or workflow.deciding_due_ms > 0
        )
        runs = parts.ledger.promised(workflow_id) or (workflow.owed and workflow.owed[0].due_ms)
        if workflow.owed and not (moves or runs):
            found.append(f"{workflow_id} owes {workflow.owed[0]} and nobody runs it")
        elif mailbox.queue and not (moves or workflow.owed):
            found.append(f"{workflow_id} has {len(mailbox.queue)} events that nobody decides")
    return found


def _differing(what: str, memory: Any, fresh: Any) -> list[str]:
    if memory == fresh:
        return []
    if isinstance(memory, dict):
        return [
            f"{what}: {key} is {memory[key]!r} in memory, {fresh.get(key)!r} restored"
            for key in memory
            if memory[key] != fresh.get(key)
        ]
    return [f"{what}: {memory!r} in memory, {fresh!r} restored"]


def _entry(entry: ShardEntry) -> dict[str, Any]:
    facts = {name: getattr(entry, name) for name in ShardEntry.__slots__}
    facts["counts"] = {place: count for place, count in entry.counts.items() if count}
    return facts


def _facts(workflow_id: str, workflow: bytes | Snapshot) -> dict[str, Any]:
    """All fields of a snapshot that its bytes have; what begins anew with the next entry or attempt not."""
    snapshot = wire.decode(workflow_id, workflow) if isinstance(workflow, bytes) else workflow
    facts = {name: getattr(snapshot, name) for name in Snapshot.__slots__ if name not in MEMORY}
    if not snapshot.waiting:
        facts["waiting_next"] = 0
    if not snapshot.deciding_attempt:
        facts["deciding_event"] = ""
    return facts


def _waits(mailbox: Mailbox) -> dict[str, Any]:
    """The records that wait, in their order; what was set aside and is tried again is still set aside."""
    items = [item for item in mailbox.items() if item.record is not None and not item.gone]
    return {
        "queue": [_where(item) for item in items if not item.deferred],
        "deferred": sorted(_where(item) for item in items if item.deferred),
    }


def _where(item: Waiting) -> tuple[str, int, int, int]:
    record = item.record
    return item.topic, item.partition, -1 if record is None else record.offset, item.number
