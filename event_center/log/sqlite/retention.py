"""
Retention of the embedded log: which old records go, and when.

Promises: a record of a topic that a group consumes goes only after every shard that reads it has
committed an offset beyond it; a topic without a rule keeps everything; offsets and watermarks never
go back. Records go oldest first, a small batch in a transaction, so that nobody waits long for the
file's lock; the room they leave in the file is used again. The writer's thread runs this between
errands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from event_center.log.sqlite.transaction import Transaction

log = structlog.get_logger(__name__)

MS_PER_S = 1_000


class Rule(NamedTuple):
    """What a topic may keep; None is no limit."""

    max_age_s: float | None = None
    """Records older than this may go."""
    max_bytes: int | None = None
    """While the keys and values of all its partitions are more than this, the oldest may go."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """The rules by topic; a topic without one keeps everything."""

    topics: Mapping[str, Rule] = field(default_factory=dict)
    consumed: Collection[str] = ()
    """Topics that a group will read although none has joined yet: nothing of them is done with."""
    every_s: float = 60.0
    """The time between two looks, when the last look left nothing to do."""
    batch: int = 500
    """Records removed in one transaction at most: some milliseconds of the file's lock."""
    pause_s: float = 0.02
    """The time between two batches, which belongs to whoever else writes."""


class Expired(NamedTuple):
    """One partition with a rule: what of it may go."""

    topic: int
    partition: int
    first: int
    stop: int
    """Records from here on stay, whatever the rule says."""
    excess: int
    """So many bytes may go whatever their age."""
    horizon_ms: int
    """Older records may go."""


class Sweep:
    """The work of retention, a batch at a time."""

    def __init__(self, retention: Retention, clock: Callable[[], int], path: str) -> None:
        self.due_s = time.monotonic() + retention.every_s
        self._retention = retention
        self._clock = clock
        self._path = path

    def run(self, transaction: Transaction) -> None:
        """Remove one batch of one partition, if there is any that may go."""
        removed = any(self._remove(transaction, part) for part in self._parts(transaction))
        self._again(self._retention.pause_s if removed else self._retention.every_s)

    def failed(self, error: Exception) -> None:
        """Nothing was removed: say so, and try again at the next look."""
        log.warning("log.retention_failed", path=self._path, error=str(error))
        self._again(self._retention.every_s)

    def _again(self, after_s: float) -> None:
        self.due_s = time.monotonic() + after_s

    def _parts(self, transaction: Transaction) -> list[Expired]:
        execute = transaction.connection.execute
        now_ms = self._clock()
        parts = []
        for name, (max_age_s, max_bytes) in self._retention.topics.items():
            rows = execute(
                "SELECT p.topic, p.partition, p.first, p.next, p.bytes, t.joined FROM partitions p "
                "JOIN topics t ON t.id = p.topic WHERE t.name = ? ORDER BY p.bytes DESC",
                (name,),
            ).fetchall()
            size = sum(row[4] for row in rows)
            excess = 0 if max_bytes is None else max(0, size - max_bytes)
            horizon_ms = 0 if max_age_s is None else now_ms - int(max_age_s * MS_PER_S)
            consumed = _consumed(transaction, name)
            for topic, partition, first, upto, _, joined in rows:
                read = joined or name in self._retention.consumed
                stop = min(upto, consumed.get(partition, 0)) if read else upto
                if first < stop and (excess or max_age_s is not None):
                    parts.append(Expired(topic, partition, first, stop, excess, horizon_ms))
        return parts

    def _remove(self, transaction: Transaction, part: Expired) -> bool:
        execute = transaction.connection.execute
        rows = execute(
            "SELECT offset, timestamp, coalesce(length(key), 0) + coalesce(length(value), 0) "
            "FROM records WHERE topic = ? AND partition = ? AND offset < ? ORDER BY offset LIMIT ?",
            (part.topic, part.partition, part.stop, self._retention.batch),
        ).fetchall()
        stop, freed = part.first, 0
        for offset, timestamp, size in rows:
            if timestamp >= part.horizon_ms and freed >= part.excess:
                break
            stop, freed = offset + 1, freed + size
        if stop == part.first:
            return False
        place = (part.topic, part.partition)
        execute(
            "DELETE FROM records WHERE topic = ? AND partition = ? AND offset < ?", (*place, stop)
        )
        execute(
            "UPDATE partitions SET first = ?, bytes = bytes - ? WHERE topic = ? AND partition = ?",
            (stop, freed, *place),
        )
        transaction.distrust()
        return True


def _consumed(transaction: Transaction, name: str) -> dict[int, int]:
    """The offset below which a topic's partitions are consumed, by partition."""
    rows = transaction.connection.execute(
        "SELECT shard, topic, next FROM offsets WHERE topic = ? OR topic GLOB ?",
        (name, f"{name}/*"),
    ).fetchall()
    return {int(key[len(name) + 1 :] or shard): offset for shard, key, offset in rows}
