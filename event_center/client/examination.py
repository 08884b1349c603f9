"""
Is what a log holds whole? Every entry of every shard is read, and counted anew.

Promises: it only reads, also beside a daemon, and each shard as of one moment; whatever is wrong is a
line of its own, and the rest is examined all the same. `check --log` calls this, after the log's own
check of its file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from event_center.client.app import App
from event_center.errors import FormatError
from event_center.log.port import Log
from event_center.model import Shard, Snapshot, Status
from event_center.wire import migration as note_wire
from event_center.wire import snapshot as snapshot_wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.entries import (
    SHARD_KEY,
    Counted,
    ShardEntry,
    is_snapshot,
    is_waiting,
    waiting_of,
    workflow_of,
)
from event_center.wire.migration import MIGRATION_KEY


@dataclass(slots=True)
class Examination:
    """What was found."""

    problems: list[str] = field(default_factory=list)
    shards: int = 0
    workflows: int = 0
    waiting: int = 0


async def examine(log: Log, app: App) -> Examination:
    """Read everything; what can not be read is a problem and no error."""
    found = Examination()
    for number in range(app.shards):
        one = _Shard(f"shard {number}", found)
        async for batch in log.entries(Shard(number)):
            for key, value in batch:
                one.take(key, value)
        one.close()
    return found


class _Shard:
    """One shard, while its entries come in."""

    def __init__(self, name: str, found: Examination) -> None:
        self._name = name
        self._found = found
        self._entry: ShardEntry | None = None
        self._counts: Counter[Counted] = Counter()
        self._waiting: Counter[str] = Counter()
        self._said: dict[str, int] = {}
        self._empty = True
        found.shards += 1

    def take(self, key: bytes, value: bytes) -> None:
        """One entry."""
        self._empty = False
        try:
            if key == SHARD_KEY:
                self._entry = ShardEntry.decode(value)
            elif is_snapshot(key):
                self._snapshot(snapshot_wire.decode(workflow_of(key), value))
            elif is_waiting(key):
                waiting_wire.decode(value)
                self._waiting[waiting_of(key)[0]] += 1
                self._found.waiting += 1
            elif key == MIGRATION_KEY:
                note_wire.check_whole(value)
            else:
                self._problem(f"the key {key[:80]!r} is none of this release")
        except (FormatError, ValueError) as error:
            self._problem(f"{key[:80]!r}: {error}")

    def close(self) -> None:
        """All of it has come in: does it add up?"""
        entry = self._entry
        if entry is None:
            if not self._empty:
                self._problem("there are entries, but no shard entry that can be read")
            return
        outcomes, waiting = sum(entry.outcomes.values()), sum(entry.waiting.values())
        if entry.read != outcomes + waiting:
            self._problem(
                f"it has read {entry.read} records, of which {outcomes} have an outcome and {waiting} wait"
            )
        if self._waiting.total() != waiting:
            self._problem(f"{self._waiting.total()} events wait, but it counts {waiting}")
        for workflow_id in sorted(self._waiting.keys() | self._said.keys()):
            there, said = self._waiting[workflow_id], self._said.get(workflow_id, 0)
            if there != said:
                self._problem(f"{there} events wait for {workflow_id!r}, which says {said}")
        for place in sorted({*entry.counts, *self._counts}):
            there, said = self._counts[place], entry.counts.get(place, 0)
            if there != said:
                where = f"of {place.machine}@{place.version} in {place.state!r}, {place.status}"
                self._problem(f"there are {there} workflows {where}, but it counts {said}")

    def _snapshot(self, snapshot: Snapshot) -> None:
        self._counts[snapshot.counted] += 1
        self._found.workflows += snapshot.status is not Status.EXPECTED
        if snapshot.waiting:
            self._said[snapshot.workflow_id] = snapshot.waiting

    def _problem(self, text: str) -> None:
        self._found.problems.append(f"{self._name}: {text}")
