"""
Is the memory of a shard exactly what a takeover would restore, and does everything in it go on?

The world asks this after every cut, at the moment at which the cut became durable: memory is compared
with a fresh restore field by field, and whatever waits needs something that will wake it (promise P8).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from event_center.engine.kept import entries_of
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.restoring import restore
from event_center.engine.workflow import Mailbox, Waiting, cause_of
from event_center.log.memory.broker import KeptCut, MemoryBroker
from event_center.log.port import Entry, TopicInfo
from event_center.model import Shard, Snapshot
from event_center.testing.simulation_process import Process
from event_center.wire import entries
from event_center.wire import snapshot as wire
from event_center.wire.entries import ShardEntry
from event_center.wire.snapshot import STOPPED

WHOLLY = 8
"""Of so many cuts one is compared with all that a restore reads: it costs ten times what the others do."""
MEMORY = frozenset({"counted", "size"})
"""What of a snapshot is not in its bytes."""
BEGUN_ANEW = ("waiting_next", "deciding_event")
"""What says nothing while nothing waits, or is tried again."""
PLAIN = tuple(one for one in Snapshot.__slots__ if one not in MEMORY and one not in BEGUN_ANEW)
FACTS = (*PLAIN, *BEGUN_ANEW)
ENTRY = ShardEntry.__slots__
_fields = attrgetter(*PLAIN)
_entry_facts = attrgetter(*ENTRY)
NOTHING = Mailbox()


class Mirror:
    """Holds the memory of the shards of one log against what their cuts would restore."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.cuts = 0
        """So many were looked at."""
        self._broker = broker
        self._standbys: dict[Shard, Standby] = {}

    def looked_at(self, process: object) -> list[str]:
        """What is otherwise in the memory of this process, which has just made the last cut durable."""
        if not isinstance(process, Process):
            return []
        cut = self._broker.cuts[-1]
        owner = process.owner(cut.shard)
        if owner is None or getattr(owner._lease, "epoch", None) != cut.epoch:  # noqa: SLF001 - what nobody else may see
            return []
        parts = owner._parts  # noqa: SLF001 - as above
        if parts is None or not parts.ledger.clean:
            return []
        found = self.compared(parts, process.plan)
        return [f"at cut {cut.number}, {story}" for story in found]

    def compared(self, parts: Parts, plan: Plan) -> list[str]:
        """What is otherwise in the memory of a shard than after a takeover now; its last cut is durable."""
        standby = self._standbys.get(parts.shard)
        if standby is None:
            standby = self._standbys[parts.shard] = Standby(parts, plan)
        topics = self._broker.infos
        standby.follow(self._broker.cuts, plan, topics)
        self.cuts += 1
        found = differences(parts, standby.parts)
        if self.cuts % WHOLLY == 0:
            store = self._broker.store(parts.shard)
            found += kept_otherwise(parts, store)
            found += differences(parts, restored(parts, plan, store, topics))
        if not parts.workflows.draining:
            found += stuck(parts)
        return found


def restored(
    parts: Parts, plan: Plan, store: Mapping[bytes, bytes], topics: Mapping[str, TopicInfo]
) -> Parts:
    """Fresh parts, filled from all entries of a shard."""
    fresh = _fresh(parts, plan)
    _restore(list(store.items()), fresh, plan, topics)
    return fresh


class Standby:
    """
    What a takeover of one shard would restore at this moment, kept up with every cut of it.

    Workflows know nothing of each other in a restore, so that after a cut only those which it touches are
    restored anew, from all that the log holds of them; the others are what they were.
    """

    def __init__(self, parts: Parts, plan: Plan) -> None:
        self.parts = _fresh(parts, plan)
        self._stored: dict[str, dict[bytes, bytes]] = {}
        """All entries, by their workflow; those of none by an empty name."""
        self._followed = 0
        """How many cuts of the log, of all shards, are in here."""

    def follow(self, cuts: Sequence[KeptCut], plan: Plan, topics: Mapping[str, TopicInfo]) -> None:
        """Restore what the cuts since the last call touch."""
        touched = self._touched(cuts)
        workflows, ledger = self.parts.workflows, self.parts.ledger
        for workflow_id in touched:
            mailbox = workflows.mailboxes.pop(workflow_id, None)
            workflow = workflows.by_id.pop(workflow_id, None)
            if mailbox is not None and isinstance(workflow, Snapshot):
                for one in mailbox.items():
                    ledger.weights[cause_of(workflow, one)] -= one.weight
            workflows.unreadable.pop(workflow_id, None)
        found = [item for one in touched for item in self._stored.get(one, {}).items()]
        _restore(found, self.parts, plan, topics)

    def _touched(self, cuts: Sequence[KeptCut]) -> dict[str, None]:
        """Take in the entries of the cuts; returns the workflows that they are of, in their order."""
        touched: dict[str, None] = {}
        for cut in cuts[self._followed :]:
            if cut.shard != self.parts.shard:
                continue
            for key, value in cut.entries.items():
                workflow_id = _workflow_of(key)
                touched[workflow_id] = None
                stored = self._stored.setdefault(workflow_id, {})
                if value is None:
                    stored.pop(key, None)
                else:
                    stored[key] = value
        self._followed = len(cuts)
        return touched


def _fresh(parts: Parts, plan: Plan) -> Parts:
    runners = parts.effects._runners  # noqa: SLF001 - any will do: nothing is run here
    return Parts(
        parts.shard, plan, runners, runners, where="", wake=lambda: None, earlier=lambda: None
    )


def _restore(found: list[Entry], parts: Parts, plan: Plan, topics: Mapping[str, TopicInfo]) -> None:
    """What a takeover does with entries, without an event loop: nothing of it ever waits."""
    batches = restore(_one_batch(found), parts, topics, plan)
    while True:
        try:
            batches.__anext__().send(None)  # type: ignore[attr-defined]  # an awaitable of a generator
        except StopIteration:
            continue
        except StopAsyncIteration:
            parts.entry.takeovers -= 1  # this look is none
            return


async def _one_batch(found: list[Entry]) -> AsyncIterator[list[Entry]]:
    """What a takeover reads of a lease, from entries that are at hand."""
    yield found


def _workflow_of(key: bytes) -> str:
    if entries.is_snapshot(key):
        return entries.workflow_of(key)
    return entries.waiting_of(key)[0] if entries.is_waiting(key) else ""


def differences(memory: Parts, fresh: Parts) -> list[str]:
    """Everything in which memory is not what a takeover would restore."""
    found = _differing("shard entry", _entry(memory.entry), _entry(fresh.entry))
    weights = memory.ledger.weights, fresh.ledger.weights
    found += _differing("bytes that wait", *weights)
    mine, theirs = memory.workflows, fresh.workflows
    if mine.by_id.keys() != theirs.by_id.keys():
        found += _differing("workflows", sorted(mine.by_id), sorted(theirs.by_id))
    for workflow_id, workflow in mine.by_id.items():
        other = theirs.by_id.get(workflow_id)
        if other is None or workflow == other:
            continue
        now, then = _facts(workflow_id, workflow), _facts(workflow_id, other)
        if now != then:
            named = dict(zip(FACTS, now, strict=True)), dict(zip(FACTS, then, strict=True))
            found += _differing(workflow_id, *named)
    for workflow_id in mine.mailboxes.keys() | theirs.mailboxes.keys():
        mailbox = mine.mailboxes.get(workflow_id, NOTHING)
        other_mailbox = theirs.mailboxes.get(workflow_id, NOTHING)
        found += _differing(f"mailbox of {workflow_id}", _waits(mailbox), _waits(other_mailbox))
    return sorted(found)


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
    advanced_again |= {one[0] for one in workflows.apart._put_off}  # noqa: SLF001 - what waits for its cut
    for workflow_id, workflow in workflows.by_id.items():
        if isinstance(workflow, bytes):
            continue
        mailbox = workflows.mailboxes.get(workflow_id, NOTHING)
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
    facts = dict(zip(ENTRY, _entry_facts(entry), strict=True))
    facts["counts"] = {place: count for place, count in entry.counts.items() if count}
    return facts


def _facts(workflow_id: str, workflow: bytes | Snapshot) -> tuple[Any, ...]:
    """All fields of a snapshot that its bytes have; what begins anew with the next entry or attempt not."""
    snapshot = wire.decode(workflow_id, workflow) if isinstance(workflow, bytes) else workflow
    return (
        *_fields(snapshot),
        snapshot.waiting_next if snapshot.waiting else 0,
        snapshot.deciding_event if snapshot.deciding_attempt else "",
    )


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
