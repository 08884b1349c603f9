"""
The right to write one shard of a log on Kafka: a transactional producer whose name is the shard's.

Promises what `port.Lease` says. Whoever started the producer of that name last is the only one who can
commit; the brokers see to it, whatever the group believes. After any end of a commit but a clean
return the producer is discarded, and the next lease reads from the log what is true. `group.py` makes
leases, the engine room holds them; `packing.py`, `delivery.py` and `transaction.py` have the next steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from event_center.errors import Fenced, LogUnavailable, NotCommitted, Unknown, UnknownTopic
from event_center.log.gates import Place
from event_center.log.kafka.ahead import truncated
from event_center.log.kafka.client import Clients
from event_center.log.kafka.delivery import AtLeastOnce, Delivery, ExactlyOnce, only_while_certain
from event_center.log.kafka.heap import Heap
from event_center.log.kafka.note import Notes
from event_center.log.kafka.packing import Packer, Parcel
from event_center.log.kafka.reading import Reading, pieces
from event_center.log.kafka.store import JOURNAL, Store
from event_center.log.kafka.transaction import Landed
from event_center.log.port import Cut, Entry, Kept
from event_center.log.right import Right, check, unanswered
from event_center.model import Shard, Token

KEPT_S = 3_600.0
"""Older marks are not used: compaction forgets what was removed, after a day unless told otherwise."""


class Mark(NamedTuple):
    """Everything below this offset of the snapshots is known; and when that was so."""

    offset: int
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """What the leases and groups of one open log share."""

    clients: Clients
    packer: Packer
    reading: Reading
    notes: Notes
    heap: Heap

    def delivery(
        self,
        producer: Any,
        confirm: Callable[[], Awaitable[float]],
        certain_until: Callable[[], float],
    ) -> Delivery:
        """How this log's leases write."""
        options = self.clients.options
        if options.at_least_once:
            only_while_certain(producer.client, certain_until)
            return AtLeastOnce(producer, self.packer, options, confirm)
        return ExactlyOnce(producer, options.topic_prefix, options.call_s)


class KafkaLease:
    """One producer's right to write one shard."""

    def __init__(
        self,
        cluster: Cluster,
        producer: Any,
        *,
        shard: Shard,
        token: Token,
        places: Callable[[], Mapping[str, Place]],
        confirm: Callable[[], Awaitable[float]],
        certain_until: Callable[[], float],
        opened: Callable[[KafkaLease, Mapping[str, int], Mapping[Place, int]], None],
        committed: Callable[[KafkaLease, Mapping[str, int]], None],
        ended: Callable[[KafkaLease], None],
    ) -> None:
        self.shard = shard
        self.token = token
        self.right = Right.VALID
        self._clients = cluster.clients
        self._packer = cluster.packer
        self._reading = cluster.reading
        self._heap = cluster.heap
        self._producer = producer
        self._delivery = cluster.delivery(producer, confirm, certain_until)
        self._confirm = confirm
        """Makes sure that the shard is still ours, where no broker sees to it."""
        self._certain_until = certain_until
        """Says until when it surely is, by the clock of the event loop."""
        self._places = places
        """Says the shard's partitions by the names of their offsets."""
        self._opened = opened
        self._committed = committed
        self._ended = ended
        self._own = (cluster.clients.options.snapshots, int(shard))
        self._wide: dict[bytes, int] = {}
        """Of how many parts the values are that do not fit one record."""
        self.mark: Mark | None = None
        self.ending: asyncio.Task[None] | None = None
        """The producer is being stopped: what it still has may be written until this is done."""
        self._unheard = False
        """A commit was begun, and its caller has not heard how it ended."""

    async def restore(self, kept: Kept | None = None) -> AsyncIterator[list[Entry]]:
        """
        Batches of exactly the last committed entries.

        The producer has fenced the former owner, so the partition grows no more: what lies below its
        end now, open transactions included, is all there will be.
        """
        self._check()
        place = self._own
        begin = (await self._reading.begins([place]))[place]
        stop = (await self._reading.highs([place]))[place]
        store = Store()
        if kept is not None and self._continues(kept.mark, begin, stop):
            store = Store(kept.entries)
            begin = kept.mark.offset
        await self._reading.fill(store, place, begin, stop)
        self._wide = store.wide
        if store.unwritten:
            await self._confirm()
            self._check()
            await self._write(store.unwritten | {JOURNAL: None}, [])
        for piece in pieces(store.entries):
            self._check()
            yield piece
        self._heap.restored(store.fetched)
        self._check()
        self.mark = Mark(stop, asyncio.get_running_loop().time())

    @staticmethod
    def _continues(mark: object, begin: int, stop: int) -> TypeGuard[Mark]:
        """Whether the partition tells everything that was written since."""
        if not isinstance(mark, Mark) or not begin <= mark.offset <= stop:
            return False
        return asyncio.get_running_loop().time() - mark.at < KEPT_S

    async def open_gate(self, offsets: Mapping[str, int]) -> None:
        """Let `fetch` deliver the shard's records from these offsets on."""
        self._check()
        places = self._places()
        begins = await self._reading.begins(places.values())
        highs = await self._reading.highs(places.values())
        self._check()
        for name, place in places.items():
            if offsets.get(name, 0) > highs[place]:
                raise truncated(place, offsets[name], highs[place])
        self._opened(self, offsets, begins)

    async def commit(self, cut: Cut) -> None:
        """Make the whole cut durable and visible, or nothing of it."""
        self._check()
        packer, producer = self._packer, self._producer
        try:
            places = await packer.places(cut.records)
            await self._confirm()
        except (UnknownTopic, LogUnavailable) as error:
            raise NotCommitted(
                f"nothing of the cut of shard {self.shard} was written: {error}",
                topic=error.topic,
            ) from error
        self._check()
        records = packer.pack(producer, cut.records, places)
        if cut.entries or records:
            await self._write(cut.entries, records)
        self._committed(self, cut.offsets)

    async def _write(
        self, entries: Mapping[bytes, bytes | None], records: Sequence[Parcel]
    ) -> None:
        """Write entries, and batches of records; after any end but a clean one the lease is over."""
        packed, changed = self._packer.pack_entries(self._producer, self._own, entries, self._wide)
        self._unheard = True
        try:
            landed = await self._delivery.write(self._own, entries, packed, records)
        except Fenced as error:
            self._end(Right.FENCED)
            raise Fenced(f"shard {self.shard} was leased again: {error}") from error
        except Unknown as error:
            self._end(Right.UNKNOWN)
            said = self._clients.said(error.__cause__ or error)
            raise unanswered(self.shard, f" ({said})", topic=error.topic) from error
        self._unheard = False
        for key, count in changed.items():
            self._wide[key] = count
            if count == 1:
                del self._wide[key]
        self._advance(landed)

    def _advance(self, landed: Sequence[Landed]) -> None:
        """Where our last cut begins: to read it once more does no harm, it says the same again."""
        own = [offset for place, _, offset in landed if place == self._own]
        if own and self.mark is not None:
            self.mark = Mark(min(own), asyncio.get_running_loop().time())

    async def release(self) -> None:
        """Give the right up; the gate closes."""
        self._end(Right.RELEASED)

    def supersede(self) -> None:
        """The shard is leased anew by this process: this lease can write no more."""
        if self._unheard:
            self._end(Right.UNKNOWN)
        else:
            self._end(Right.FENCED)

    def _check(self) -> None:
        check(self.shard, self.right, unheard=self._unheard)

    def _end(self, right: Right) -> None:
        if self.right is Right.VALID:
            self.right = right
            self.ending = self._clients.stopping(self._producer, self._certain_until())
            self._ended(self)
