"""
The entries of released shards, kept for the case that they come back: then only what came after is read.

A shard is kept as the entries of its last cut, with the log's mark of that cut; the next lease of it
reads what came after, and hands out the same as if it had read everything. Promises: never more bytes
than the limit: those kept longest make room, but none for a shard that is larger by itself, which is not
kept; nothing of a shard whose lease was lost, or whose last cut nobody knows the end of, is kept. The
owner keeps at a release, and takes at its next takeover.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import chain

from event_center.engine.parts import Parts
from event_center.engine.standing import Standing
from event_center.engine.workflow import value_of
from event_center.log.port import Kept
from event_center.model import Shard
from event_center.wire import entries
from event_center.wire import waiting as waiting_wire

ENTRY_BYTES = 120
"""What an entry takes beside its bytes: its place in the dict, and the heads of its two objects."""


class KeptShards:
    """The released shards of one process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[Shard, tuple[Kept, int]] = {}

    def keep(self, parts: Parts, mark: object | None) -> None:
        """Keep the entries of a shard, if its last cut, which this mark is of, is all of it."""
        # Waiting entries of a workflow that can not be read are in no memory.
        if mark is None or not parts.ledger.clean or parts.workflows.unreadable:
            return
        if _least(parts) > self._limit:
            return  # before anything is built: it would block the event loop for nothing
        kept = Kept(entries_of(parts), mark)
        size = _weight(kept.entries, kept.entries.values())
        if size > self._limit:
            return
        self._kept[parts.shard] = kept, size
        while self.size > self._limit:
            del self._kept[next(iter(self._kept))]

    def take(self, shard: Shard) -> Kept | None:
        """What is kept of a shard; from now on it is not kept any more."""
        kept, _ = self._kept.pop(shard, (None, 0))
        return kept

    @property
    def size(self) -> int:
        """The bytes of all that is kept."""
        return sum(size for _, size in self._kept.values())


def _least(parts: Parts) -> int:
    """The bytes of the workflows of a shard that are bytes already: its entries are at least that."""
    by_id = parts.workflows.by_id
    idle = (one for one in by_id.values() if isinstance(one, bytes))
    standing = (one.data for one in by_id.values() if isinstance(one, Standing))
    return _weight(by_id, chain(idle, standing))


def _weight(keys: Collection[str] | Collection[bytes], values: Iterable[bytes]) -> int:
    """What entries take in memory: keys and values, and what is beside each."""
    return sum(map(len, keys)) + sum(map(len, values)) + ENTRY_BYTES * len(keys)


def entries_of(parts: Parts) -> dict[bytes, bytes]:
    """The entries that a takeover would restore to exactly these parts, whose last cut is durable."""
    found: dict[bytes, bytes] = {}
    for workflow_id, workflow in parts.workflows.by_id.items():
        found[entries.snapshot_key(workflow_id)] = value_of(workflow)
    for workflow_id, mailbox in parts.workflows.mailboxes.items():
        for item in mailbox.items():
            if item.record is None or item.gone or item.number < 0:
                continue
            entry = item.record, item.topic, item.partition, item.deferred, item.due_ms
            found[entries.waiting_key(workflow_id, item.number)] = waiting_wire.encode(entry)
    found[entries.SHARD_KEY] = parts.entry.encode()
    return found
