"""An app half-way on one log in memory, and an empty one that it can move to."""

from __future__ import annotations

from typing import Any

from event_center.client.app import App
from event_center.client.migration import Moved, Tell, migrate
from event_center.client.survey import Cargo, Side
from event_center.log.memory import MemoryBroker, MemoryLog
from event_center.log.partitioner import murmur2
from event_center.model import Event, Outgoing, Owed, Record, Shard, Snapshot, Status, Timer
from event_center.wire import letter as letter_wire
from event_center.wire import snapshot as snapshot_wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.command import Command, Verb
from event_center.wire.entries import (
    SHARD_KEY,
    ShardEntry,
    is_snapshot,
    snapshot_key,
    waiting_key,
    workflow_of,
)
from event_center.wire.envelope import Envelope, Rules, inbox_envelope, inbox_record
from event_center.wire.history import HistoryWriter
from tests.client.shelf import NOW_MS

WORKFLOWS = 23
ALL = frozenset(Cargo)
SOURCE_SHARDS = 3


def app_with(shards: int) -> App:
    """The app on a log with so many shards."""
    return App(
        inbox="app.inbox",
        commands="app.commands",
        history="app.history",
        dead_letters="app.dead-letters",
        envelopes={
            "orders": Envelope("orders", Rules(machine="order")),
            "app.inbox": inbox_envelope("app.inbox"),
        },
        shards=shards,
        home=lambda workflow_id: Shard(murmur2(workflow_id.encode()) % shards),
    )


class Memory:
    """A broker with the topics of the app."""

    def __init__(self, shards: int) -> None:
        self.app = app_with(shards)
        self.broker = MemoryBroker()
        topics = [*self.app.consumed(), self.app.history, self.app.dead_letters]
        self.broker.create(dict.fromkeys(topics, shards))
        self.log = self.opened()

    def opened(self) -> MemoryLog:
        """One more process opens the log."""
        return MemoryLog(self.broker, clock=lambda: NOW_MS)

    @property
    def side(self) -> Side:
        """As a migration sees it."""
        return Side(self.log, self.app, "murmur2")

    def put(self, shard: int, key: bytes, value: bytes) -> None:
        """One entry, past any lease."""
        self.broker._stores.setdefault(Shard(shard), {})[key] = value

    def store(self) -> dict[bytes, tuple[int, bytes]]:
        """All entries of workflows, with their shards."""
        return {
            key: (shard, value)
            for shard in range(self.app.shards)
            for key, value in self.broker.store(Shard(shard)).items()
            if key[1:2] == b":"
        }

    def counted(self) -> list[ShardEntry]:
        """The shard entries."""
        stores = [self.broker.store(Shard(shard)) for shard in range(self.app.shards)]
        return [ShardEntry.decode(store[SHARD_KEY]) for store in stores]

    def lines(self, topic: str) -> list[list[Record]]:
        """The records of a topic by partition."""
        return [list(self.broker.line((topic, q))) for q in range(self.app.shards)]

    def everything(self) -> Any:
        """All that a migration writes, to be compared."""
        topics = ["orders", "app.inbox", "app.commands", "app.history", "app.dead-letters"]
        entries = [entry.encode() for entry in self.counted()]
        return self.store(), entries, {topic: self.lines(topic) for topic in topics}


class HalfWay(Memory):
    """The source: workflows in every condition, letters, history, and records that nobody has read."""

    def __init__(self) -> None:
        super().__init__(SOURCE_SHARDS)
        self.entries = [ShardEntry() for _ in range(SOURCE_SHARDS)]
        for number in range(WORKFLOWS):
            self._workflow(number)
        self._records()
        for shard, entry in enumerate(self.entries):
            entry.cut, entry.partitioner, entry.shards = 7 + shard, "murmur2", SOURCE_SHARDS
            entry.transitions, entry.timers, entry.runs, entry.redelivered = 40 + shard, 3, 9, shard
            entry.outcomes["applied"], entry.outcomes["rejected"] = 30 + shard, 2
            entry.read = sum(entry.outcomes.values()) + sum(entry.waiting.values())
            entry.machines = {"order@1": "abc"}
            self.put(shard, SHARD_KEY, entry.encode())

    def read_everything(self) -> None:
        """Nothing is unread any more; no cut says so."""
        for shard, entry in enumerate(self.entries):
            for topic in self.app.consumed():
                entry.offsets[topic] = len(self.lines(topic)[shard])
            self.put(shard, SHARD_KEY, entry.encode())

    def _workflow(self, number: int) -> None:
        workflow_id = f"o-{number}"
        home = self.app.home(workflow_id)
        snapshot = Snapshot(workflow_id, "order", 1, "running")
        snapshot.seq, snapshot.entered_at_ms, snapshot.ids = number, NOW_MS, (2**64 - 1, number)
        snapshot.seen = {"orders": 100 + number}
        snapshot.timers = (Timer("@after/24h", 1, NOW_MS + number),) if number % 2 else ()
        cause = "queued"
        if number % 3 == 0:
            snapshot.owed = (Owed("charge", number, attempt=1),)
        if number % 7 == 0:
            snapshot.jobs = (Owed("watch", number), Owed("wash", number))
            snapshot.earlier = {number: Event("begin")}
            self.entries[home].jobs += 2
        if number % 4 == 0:
            snapshot.status, snapshot.parked, cause = Status.PARKED, "failed", "parked"
            snapshot.letters_last = 2
        if number % 5 == 0:
            snapshot.waiting = snapshot.waiting_next = 2
            for place in range(2):
                record = Record(50 + place, NOW_MS, b"k", b'{"event": "x"}', (("h", b"\xff"),))
                deferred = place == 1
                entry = waiting_wire.WaitingEntry(record, "orders", home, deferred)
                self.put(home, waiting_key(workflow_id, place), waiting_wire.encode(entry))
                why = "deferred" if deferred and cause == "queued" else cause
                self.entries[home].waiting[why] += 1
        value, where = snapshot_wire.encode(snapshot)
        counts = self.entries[home].counts
        counts[where] = counts.get(where, 0) + 1
        self.put(home, snapshot_key(workflow_id), value)

    def _records(self) -> None:
        writers = [HistoryWriter("app.history", q, "/app") for q in range(SOURCE_SHARDS)]
        records = []
        for number in range(WORKFLOWS):
            workflow_id = f"o-{number}"
            home = self.app.home(workflow_id)
            body = b'{"workflow_id": "%b", "event": "go"}' % workflow_id.encode()
            records.append(Outgoing("orders", workflow_id.encode(), body, (("t", b"1"),), home, 5))
            records.append(writers[home].record("created", workflow_id, f"x/{number}", 5, {}))
            if number % 4 == 0:
                why = {"reason": "failed", "workflow_id": workflow_id, "number": "1"}
                origin = Record(9, 5, b"k", body)
                records.append(
                    letter_wire.write("app.dead-letters", home, origin, "o/0/9", why=why)
                )
        stray = letter_wire.write(
            "app.dead-letters",
            2,
            Record(8, 5, None, None),
            "orders/2/8",
            why={"reason": "undecodable"},
        )
        event = records[0]._replace(key=None, value=b"no event", partition=1)
        pause = Command("c-1", Verb.PAUSE, "o-1").encode()
        command = Outgoing("app.commands", b"o-1", pause, (), self.app.home("o-1"))
        self.broker.append([*records, stray, event, command, self._sent("o-7")], NOW_MS)
        self.entries[0].offsets["orders"] = 2

    def _sent(self, workflow_id: str) -> Outgoing:
        from_orders = self.app.envelopes["orders"].read(
            Record(0, 5, b"k", b'{"workflow_id": "%b", "event": "sent"}' % workflow_id.encode()), 0
        )
        return inbox_record(
            "app.inbox", self.app.home(workflow_id), workflow_id, "order", from_orders[2]
        )


def silent(_step: str, _done: int, _total: int) -> None:
    """Hear how far it is, and do nothing."""


async def moved(
    source: Memory, target: Memory, kinds: frozenset[Cargo] = ALL, tell: Tell = silent
) -> Moved:
    """Migrate, in many cuts, so that a crash can come between any two."""
    return await migrate(source.side, target.side, kinds, tell, cut_parts=3)


def snapshots(memory: Memory) -> dict[str, tuple[int, Snapshot]]:
    """All workflows, with their shards."""
    return {
        workflow_of(key): (shard, snapshot_wire.decode(workflow_of(key), value))
        for key, (shard, value) in memory.store().items()
        if is_snapshot(key)
    }


async def crashing(source: Memory, target: Memory, at: int) -> bool:
    """Migrate with a process that is killed at its so-manieth wait for the target; whether it was."""
    log, count = target.log, 0

    async def kill(_place: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            log.crash()
            raise KeyboardInterrupt

    log.faults.on_await = kill
    try:
        await moved(source, target)
    except KeyboardInterrupt:
        return True
    finally:
        log.faults.on_await = None
        target.log = target.opened()
    return False
