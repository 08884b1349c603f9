"""
Is the memory of a shard exactly what a takeover would restore, and does everything in it go on?

The world asks this after every cut, at the moment at which the cut became durable: memory is compared
with a fresh restore field by field, and whatever waits needs something that will wake it (promise P8).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from event_center.engine.kept import entries_of
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.restoring import Read, restore, restore_one
from event_center.engine.waiting_entries import cause_of
from event_center.engine.workflow import Mailbox, Workflow, value_of
from event_center.log.memory.broker import KeptCut, MemoryBroker
from event_center.log.port import Entry, TopicInfo
from event_center.model import Shard, Snapshot
from event_center.testing.simulation_process import Process
from event_center.wire import entries
from event_center.wire import snapshot as wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.entries import ShardEntry
from event_center.wire.snapshot import STOPPED

WHOLLY = 16
"""
Of so many cuts one is compared with all that a restore reads, beside the last ones of each life: it costs
ten times what the others do, and sees no workflow that they do not see.
"""
MEMORY = frozenset({"counted", "relieved", "size"})
"""What of a snapshot is not in its bytes."""
BEGUN_ANEW = ("waiting_next", "deciding_event")
"""What says nothing while nothing waits, or is tried again."""
PLAIN = tuple(one for one in Snapshot.__slots__ if one not in MEMORY and one not in BEGUN_ANEW)
FACTS = (*PLAIN, *BEGUN_ANEW)
ENTRY = ShardEntry.__slots__
_fields = attrgetter(*PLAIN)
_entry_facts = attrgetter(*ENTRY)
T = TypeVar("T")
Facts = tuple[Any, ...]
Waits = tuple[list[tuple[str, int, int, int]], list[tuple[str, int, int, int]]]
"""Of a mailbox its queue, and what is deferred: topic, partition, offset, and the number of its entry."""
PLACES = ("queue", "deferred")
NOTHING: Waits = [], []


class Mirror:
    """Holds the memory of the shards of one log against what their cuts would restore."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.cuts = 0
        """So many were looked at."""
        self._broker = broker
        self._standbys: dict[Shard, Standby] = {}
        self._read = cache(waiting_wire.decode)

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
            standby = self._standbys[parts.shard] = Standby(parts, plan, self._read)
        standby.follow(self._broker.cuts)
        self.cuts += 1
        draining = parts.workflows.draining
        found = workflows_otherwise(parts, standby)
        if self.cuts % WHOLLY == 0 or draining or parts.entry.encode() != standby.entry:
            found += self.compared_wholly(parts, plan)
        if not draining:
            found += stuck(parts)
        return found

    def compared_wholly(self, parts: Parts, plan: Plan) -> list[str]:
        """The same with all that a takeover would read and do, and with all that would be kept."""
        store = self._broker.store(parts.shard)
        fresh = restored(parts, plan, store, self._broker.infos, read=self._read)
        return kept_otherwise(parts, store) + differences(parts, fresh)

    def at_rest(self, process: Process) -> list[str]:
        """What is otherwise in the workflows of a process when all of it is durable."""
        served = [owner._parts for owner in process.member.owners.values()]  # noqa: SLF001 - as above
        found = []
        for parts in served:
            if parts is not None and parts.ledger.clean:
                store, topics = self._broker.store(parts.shard), self._broker.infos
                fresh = restored(parts, process.plan, store, topics, read=self._read)
                # The shard entry has counted a takeover that no cut may have followed.
                found += workflows_otherwise(parts, fresh)
        return [f"at rest, {story}" for story in found]


def restored(
    parts: Parts,
    plan: Plan,
    store: Mapping[bytes, bytes],
    topics: Mapping[str, TopicInfo],
    *,
    read: Read = waiting_wire.decode,
) -> Standby:
    """A standby that was filled from all entries of a shard at once."""
    fresh = Standby(parts, plan, read)
    fresh.fill(list(store.items()), plan, topics)
    return fresh


class Standby:
    """
    What a takeover of one shard would restore at this moment, kept up with every cut of it.

    Workflows know nothing of each other in a restore, so that after a cut only those which it touches are
    restored anew, from all that the log holds of them; the others are what they were. The shard entry
    is kept as its bytes: only where all entries are filled in is it restored as well.
    """

    def __init__(self, parts: Parts, plan: Plan, read: Read) -> None:
        # Its clock stands still: whoever looks at a world changes nothing of it.
        self._plan = replace(plan, clock=lambda: 0, machines={}, older={})
        runners = parts.effects._runners  # noqa: SLF001 - any will do: nothing is run here
        self.parts = Parts(
            parts.shard,
            self._plan,
            runners,
            runners,
            where="",
            wake=lambda: None,
            earlier=lambda: None,
        )
        self.entry = b""
        """The bytes of the shard entry."""
        self._read = read
        self._snapshots: dict[str, bytes] = {}
        self._waiting: dict[str, dict[int, bytes]] = {}
        """The waiting entries of each workflow, by their numbers."""
        self._followed = 0
        """How many cuts of the log, of all shards, are in here."""
        self._facts: dict[str, Facts] = {}
        self._waits: dict[str, Waits] = {}

    def follow(self, cuts: Sequence[KeptCut]) -> None:
        """Restore what the cuts since the last call touch."""
        parts, snapshots, waiting = self.parts, self._snapshots, self._waiting
        for workflow_id in self._touched(cuts):
            self._forget(workflow_id)
            found = list(waiting.get(workflow_id, {}).items())
            restore_one(workflow_id, snapshots.get(workflow_id), found, parts, read=self._read)

    def _forget(self, workflow_id: str) -> None:
        """As if the workflow had never been restored."""
        workflows, weights = self.parts.workflows, self.parts.ledger.waiting.weights
        mailbox = workflows.mailboxes.pop(workflow_id, None)
        workflow = workflows.by_id.pop(workflow_id, None)
        if mailbox is not None and isinstance(workflow, Snapshot):
            for one in mailbox.items():
                weights[cause_of(workflow, one)] -= one.weight
        workflows.unreadable.pop(workflow_id, None)
        self._facts.pop(workflow_id, None)
        self._waits.pop(workflow_id, None)

    def fill(self, found: list[Entry], plan: Plan, topics: Mapping[str, TopicInfo]) -> None:
        """What a takeover does with entries, without an event loop: nothing of it ever waits."""
        batches = restore(_one_batch(found), self.parts, topics, plan, read=self._read)
        while True:
            try:
                batches.__anext__().send(None)  # type: ignore[attr-defined]  # an awaitable of a generator
            except StopIteration:
                continue
            except StopAsyncIteration:
                self.parts.entry.takeovers -= 1  # this look is none
                return

    def facts(self, workflow_id: str, workflow: Workflow) -> Facts:
        """The facts of a workflow in here, worked out once."""
        known = self._facts.get(workflow_id)
        if known is None:
            known = self._facts[workflow_id] = _facts(workflow_id, workflow)
        return known

    def waits(self, workflow_id: str) -> Waits:
        """What waits for a workflow in here, worked out once."""
        known = self._waits.get(workflow_id)
        if known is None:
            mailbox = self.parts.workflows.mailboxes.get(workflow_id)
            known = self._waits[workflow_id] = NOTHING if mailbox is None else _waits(mailbox)
        return known

    def _touched(self, cuts: Sequence[KeptCut]) -> dict[str, None]:
        """Take in the entries of the cuts; returns the workflows that they are of, in their order."""
        touched: dict[str, None] = {}
        for cut in cuts[self._followed :]:
            if cut.shard != self.parts.shard:
                continue
            for key, value in cut.entries.items():
                if entries.is_snapshot(key):
                    workflow_id = entries.workflow_of(key)
                    _put(self._snapshots, workflow_id, value)
                elif entries.is_waiting(key):
                    workflow_id, number = entries.waiting_of(key)
                    _put(self._waiting.setdefault(workflow_id, {}), number, value)
                else:
                    if key == entries.SHARD_KEY:
                        self.entry = value or b""
                    continue
                touched[workflow_id] = None
        self._followed = len(cuts)
        return touched


def _put(store: dict[T, bytes], key: T, value: bytes | None) -> None:
    if value is None:
        store.pop(key, None)
    else:
        store[key] = value


async def _one_batch(found: list[Entry]) -> AsyncIterator[list[Entry]]:
    """What a takeover reads of a lease, from entries that are at hand."""
    yield found


def differences(memory: Parts, fresh: Standby) -> list[str]:
    """Everything in which memory is not what a takeover would restore, which was filled in at once."""
    entry = _differing("shard entry", _entry(memory.entry), _entry(fresh.parts.entry))
    return entry + workflows_otherwise(memory, fresh)


def workflows_otherwise(memory: Parts, fresh: Standby) -> list[str]:
    """The same, but for the shard entry: every field of every workflow, and all that waits."""
    found = _differing(
        "bytes that wait", memory.ledger.waiting.weights, fresh.parts.ledger.waiting.weights
    )
    mine, theirs = memory.workflows, fresh.parts.workflows
    if mine.by_id.keys() != theirs.by_id.keys():
        found += _differing("workflows", sorted(mine.by_id), sorted(theirs.by_id))
    for workflow_id, workflow in mine.by_id.items():
        other = theirs.by_id.get(workflow_id)
        if other is None or workflow == other:
            continue
        now, then = _facts(workflow_id, workflow), fresh.facts(workflow_id, other)
        if now != then:
            named = dict(zip(FACTS, now, strict=True)), dict(zip(FACTS, then, strict=True))
            found += _differing(workflow_id, *named)
    for workflow_id in mine.mailboxes.keys() | theirs.mailboxes.keys():
        mailbox = mine.mailboxes.get(workflow_id)
        now = NOTHING if mailbox is None else _waits(mailbox)
        if now != (then := fresh.waits(workflow_id)):
            named = dict(zip(PLACES, now, strict=True)), dict(zip(PLACES, then, strict=True))
            found += _differing(f"mailbox of {workflow_id}", *named)
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
    """What waits in memory without anything that would wake it, and who is live without anything to do."""
    if not parts.resumed:
        return []
    found = []
    workflows = parts.workflows
    resting = ChainMap(workflows.warm, workflows.large, workflows._cooling)  # noqa: SLF001 - as above
    advanced_again = {snapshot.workflow_id for snapshot in parts.turn.again}
    advanced_again |= {one[0] for one in workflows.apart._put_off}  # noqa: SLF001 - what waits for its cut
    for workflow_id, workflow in workflows.by_id.items():
        if not isinstance(workflow, Snapshot):
            continue
        mailbox = workflows.mailboxes.get(workflow_id)
        moves = (
            workflow.status in STOPPED
            or workflow_id in workflows.runs
            or workflow_id in advanced_again
            or workflow.deciding_due_ms > 0
        )
        runs = parts.ledger.promised(workflow_id) or (workflow.owed and workflow.owed[0].due_ms)
        if workflow.owed and not (moves or runs):
            found.append(f"{workflow_id} owes {workflow.owed[0]} and nobody runs it")
        elif mailbox and mailbox.queue and not (moves or workflow.owed):
            found.append(f"{workflow_id} has {len(mailbox.queue)} events that nobody decides")
        elif not (workflow.owed or workflow_id in resting or mailbox):
            found.append(f"{workflow_id} stays live in {workflow.state}, and has nothing to do")
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


def _facts(workflow_id: str, workflow: Workflow) -> Facts:
    """All fields of a snapshot that its bytes have; what begins anew with the next entry or attempt not."""
    snapshot = workflow
    if not isinstance(snapshot, Snapshot):
        snapshot = wire.decode(workflow_id, value_of(snapshot))
    return (
        *_fields(snapshot),
        snapshot.waiting_next if snapshot.waiting else 0,
        snapshot.deciding_event if snapshot.deciding_attempt else "",
    )


def _waits(mailbox: Mailbox) -> Waits:
    """The records that wait, in their order; what was set aside and is tried again is still set aside."""
    if not (mailbox.queue or mailbox.deferred or mailbox.deciding):
        return NOTHING
    queue: list[tuple[str, int, int, int]] = []
    deferred: list[tuple[str, int, int, int]] = []
    for item in mailbox.items():
        record = item.record
        if record is not None and not item.gone:
            where = item.topic, item.partition, record.offset, item.number
            (deferred if item.deferred else queue).append(where)
    return queue, sorted(deferred)
