"""A log in memory with entries written by hand, as a daemon's cuts would leave it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from event_center.client.app import App
from event_center.log.memory import MemoryBroker, MemoryLog
from event_center.log.partitioner import murmur2
from event_center.log.port import Cut
from event_center.model import Outgoing, Record, Shard, Snapshot, Status
from event_center.wire import letter as letter_wire
from event_center.wire import snapshot as snapshot_wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.entries import SHARD_KEY, ShardEntry, snapshot_key, waiting_key
from event_center.wire.envelope import Envelope, Rules, inbox_envelope
from event_center.wire.history import HistoryWriter

NOW_MS = 1_700_000_000_000
SHARDS = 2


class Shelf:
    """The log, the app on it, and ways to write what a daemon writes."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.log = MemoryLog(self.broker, clock=lambda: NOW_MS)
        self.app = App(
            inbox="app.inbox",
            commands="app.commands",
            history="app.history",
            dead_letters="app.dead-letters",
            envelopes={
                "orders": Envelope("orders", Rules(machine="order")),
                "app.inbox": inbox_envelope("app.inbox"),
            },
            shards=SHARDS,
            home=lambda workflow_id: Shard(murmur2(workflow_id.encode()) % SHARDS),
        )
        own = (self.app.history, self.app.dead_letters)
        self.broker.create(dict.fromkeys([*self.app.consumed(), *own], SHARDS))

    def cut(self, shard: Shard, entries: Mapping[bytes, bytes | None]) -> None:
        """Put entries into a shard's store."""
        self.broker.apply(shard, self.broker.fence(shard), Cut(entries=dict(entries)), NOW_MS)

    def shard_entry(self, shard: int, entry: ShardEntry) -> None:
        """Say what a shard has counted."""
        self.cut(Shard(shard), {SHARD_KEY: entry.encode()})

    def workflow(self, workflow_id: str, state: str = "running", **fields: Any) -> Snapshot:
        """Write a workflow's snapshot."""
        snapshot = Snapshot(workflow_id, fields.pop("machine", "order"), 1, state)
        snapshot.entered_at_ms = NOW_MS
        for name, value in fields.items():
            setattr(snapshot, name, value)
        snapshot.status = Status(snapshot.status)
        value, _ = snapshot_wire.encode(snapshot)
        self.cut(self.app.home(workflow_id), {snapshot_key(workflow_id): value})
        return snapshot

    def waiting(self, workflow_id: str, number: int, value: bytes, topic: str = "orders") -> None:
        """Write an event that waits for a workflow."""
        record = Record(number + 100, NOW_MS, workflow_id.encode(), value)
        home = self.app.home(workflow_id)
        entry = waiting_wire.WaitingEntry(record, topic, home, deferred=False)
        self.cut(home, {waiting_key(workflow_id, number): waiting_wire.encode(entry)})

    async def told(self, kind: str, workflow_id: str, data: dict[str, Any]) -> None:
        """Write a history record."""
        home = self.app.home(workflow_id)
        writer = HistoryWriter(self.app.history, home, "app")
        await self.log.publish([writer.record(kind, workflow_id, "here", NOW_MS, data)])

    async def letter(
        self, key: str, value: bytes | None, origin: str = "orders/0/7", **why: str
    ) -> None:
        """Write a dead letter into partition 0."""
        record = Record(7, NOW_MS, key.encode(), value, (("trace", b"1"),))
        reasons = {"reason": "failed", **why}
        letter = letter_wire.write(self.app.dead_letters, 0, record, origin, why=reasons)
        await self.log.publish([letter])

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, partition after partition."""
        return [r for p in range(SHARDS) for r in self.broker.line((topic, p))]


def outgoing(topic: str, key: str) -> Outgoing:
    """A record of no meaning."""
    return Outgoing(topic, key.encode(), b"{}")
