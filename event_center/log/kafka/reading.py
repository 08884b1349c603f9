"""
Reading a partition on Kafka from one offset to another, outside any group, and where it ends.

Promises: only committed records; a read sees every transaction whose commit had returned when it
began, because it waits for the markers that follow a commit (a bounded time: somebody's stalled
transaction does not stop readers for longer). `watermark` is the offset after the newest committed
*record*: markers, which take offsets too, do not count. The log, its groups and its leases call it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from event_center.errors import LogUnavailable
from event_center.log.gates import Place
from event_center.log.kafka.calling import FAILURES, bounded
from event_center.log.kafka.catalog import Catalog
from event_center.log.kafka.client import Clients, partitions
from event_center.log.kafka.fetching import Fetched, decoded
from event_center.log.kafka.store import Store
from event_center.log.port import Entry
from event_center.model import Record

BATCH = 10_000
"""Records, and entries, that are handed out at once."""
POLL_MS = 2
"""The shortest poll: it is doubled up to `POLL_MAX_MS` while nothing comes."""
POLL_MAX_MS = 64
"""A poll that brings no record lasts to its end, also where it passes markers: so it begins short."""
MARKERS_S = 1.0
"""
How long to wait for the markers of transactions that seem to be open: they are there after some ms,
and what is really open may stay so for a minute.
"""
LOOK_S = 0.005
"""Between two looks for the markers; they come some milliseconds after a commit has returned."""
FREE = 4
"""Consumers kept for the next read; a takeover of many shards needs more, and only for a moment."""


class Reading:
    """Consumers without a group, borrowed for one read each and used again."""

    def __init__(self, clients: Clients, catalog: Catalog) -> None:
        self._clients = clients
        self._catalog = catalog
        self._limit_s = clients.options.call_s
        self._free: list[Any] = []
        self._borrowed: set[Any] = set()
        self._raw: Any = None
        self._stable: Any = None
        self._closed = False

    async def open(self) -> None:
        """Start the two clients that tell where partitions end."""
        self._raw = await self._clients.reader(committed=False, wait_s=LOOK_S)
        self._stable = await self._clients.reader(wait_s=LOOK_S)

    def close(self) -> None:
        """Let go of every client."""
        self._closed = True
        for client in (self._raw, self._stable, *self._free, *self._borrowed):
            if client is not None:
                self._clients.dispose(client)
        self._free.clear()
        self._borrowed.clear()

    async def begins(self, places: Iterable[Place]) -> dict[Place, int]:
        """The offset of the oldest record of each place, or where the next would lie."""
        return await self._offsets(self._raw.beginning_offsets, places)

    async def highs(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where each place ends, open transactions included."""
        return await self._offsets(self._raw.end_offsets, places)

    async def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where what is committed ends, once no transaction seems open, or after a short while."""
        wanted = list(places)
        highs = await self.highs(wanted)
        late = asyncio.get_running_loop().time() + MARKERS_S
        while True:
            stable = await self._offsets(self._stable.end_offsets, wanted)
            if all(stable[place] >= highs[place] for place in wanted):
                return stable
            if asyncio.get_running_loop().time() > late:
                return stable
            await asyncio.sleep(LOOK_S)

    async def _offsets(self, ask: Any, places: Iterable[Place]) -> dict[Place, int]:
        named = {(self._catalog.real(t), q): (t, q) for t, q in places}
        try:
            asked = [one for real, q in named for one in partitions(real, [q])]
            found = await bounded(ask(asked), self._limit_s)
        except FAILURES as error:
            raise self._clients.unavailable(error) from error
        return {named[one.topic, one.partition]: offset for one, offset in found.items()}

    async def watermark(self, place: Place, *, low: int = 0, end: int | None = None) -> int:
        """
        The offset after the newest committed record.

        Args:
            place: topic and partition.
            low: the answer is known to be no less; it is this if there is no record from here on.
            end: where what is committed ends, if that is known.
        """
        stop = (await self.ends([place]))[place] if end is None else end
        floor = max(low, (await self.begins([place]))[place])
        width = 2  # most often a record and the marker of its transaction
        while stop > floor:
            start = max(floor, stop - width)
            newest = -1
            async for records in self.records(place, start, stop):
                newest = records[-1].offset
            if newest >= 0:
                return newest + 1
            if start == floor:
                break
            width *= 16
        return low

    async def records(
        self, place: Place, start: int, stop: int, *, stall_s: float | None = None
    ) -> AsyncIterator[list[Record]]:
        """
        Committed records from `start` (or the oldest there is) to before `stop`.

        Raises:
            LogUnavailable: the cluster does not answer, or the partition stands still.
        """
        async for got, at in self._batches(place, start, stop, stall_s):
            for records in _pieces(got.batches, at, stop):
                yield records

    async def _batches(
        self, place: Place, start: int, stop: int, stall_s: float | None = None
    ) -> AsyncIterator[tuple[Fetched, int]]:
        """The same as batches of the client, each time with the offset from which on they are asked for."""
        if start >= stop:
            return
        limit_s = self._clients.options.stall_s if stall_s is None else stall_s
        consumer = await self._borrow()
        clean = False
        try:
            (partition,) = partitions(self._catalog.real(place[0]), [place[1]])
            consumer.assign([partition])
            consumer.seek(partition, start)
            at, moved, poll_ms = start, asyncio.get_running_loop().time(), POLL_MS
            while at < stop:
                asked = consumer.fetched({partition}, poll_ms / 1000)
                got = (await bounded(asked, self._limit_s)).get(partition)
                now = asyncio.get_running_loop().time()
                if got is not None:
                    yield got, at
                    at, moved, poll_ms = got.position, now, POLL_MS
                    continue
                poll_ms = min(2 * poll_ms, POLL_MAX_MS)
                if now - moved > limit_s:
                    raise LogUnavailable(
                        f"{place[0]}/{place[1]} at {self._clients.options.bootstrap} does not move "
                        f"from offset {at} to {stop}: a transaction is open there for longer than "
                        f"{limit_s:g} s, or the broker stands still"
                    )
            clean = True
        except FAILURES as error:
            raise self._clients.unavailable(error) from error
        finally:
            self._give_back(consumer, clean=clean)

    async def store(self, place: Place, stop: int, prefix: bytes = b"") -> dict[bytes, bytes]:
        """The last value of every key of a compacted partition, as of this offset."""
        store = Store(prefix=prefix)
        await self.fill(store, place, (await self.begins([place]))[place], stop)
        return store.entries

    async def fill(self, store: Store, place: Place, start: int, stop: int) -> None:
        """Bring what is known of a compacted partition as of `start` to what it is as of `stop`."""
        async for got, at in self._batches(place, start, stop):
            store.fetched += got.size
            for batch in got.batches:
                store.take(_between(batch, at, stop))
        store.complete(place[0])

    async def newest(self, place: Place, stop: int, key: bytes) -> bytes | None:
        """
        The last value of one key, as of this offset; None if it has none.

        Looks backwards, each time further: the shard entry, last in every cut, is found at once.
        """
        begin = (await self.begins([place]))[place]
        width, end = 2, stop
        while stop > begin:
            start = max(begin, stop - width)
            newest = None
            async for records in self.records(place, start, stop):
                newest = next((one for one in reversed(records) if one.key == key), newest)
            if newest is not None and newest.headers:
                return (await self.store(place, end, key)).get(key)
            if newest is not None:
                value: bytes | None = newest.value
                return value
            stop, width = start, width * 16
        return None

    async def _borrow(self) -> Any:
        if self._closed:
            raise LogUnavailable("this log is closed; open it again")
        consumer = self._free.pop() if self._free else await self._clients.reader()
        self._borrowed.add(consumer)
        return consumer

    def _give_back(self, consumer: Any, *, clean: bool) -> None:
        if consumer not in self._borrowed:
            return
        self._borrowed.discard(consumer)
        if clean and not self._closed and len(self._free) < FREE:
            consumer.unsubscribe()
            self._free.append(consumer)
        else:
            self._clients.dispose(consumer)


def _pieces(batches: Iterable[Any], start: int, stop: int) -> Iterator[list[Record]]:
    """The records of these batches between two offsets, so many at once."""
    records: list[Record] = []
    for batch in batches:
        records += decoded(batch, start)
        if batch.next_offset > stop:
            records = [one for one in records if one.offset < stop]
        if len(records) >= BATCH:
            yield records
            records = []
    if records:
        yield records


def _between(batch: Any, start: int, stop: int) -> Iterable[Any]:
    """What lies between two offsets of a batch: all of it, but for the first and the last one."""
    if batch.base_offset >= start and batch.next_offset <= stop:
        whole: Iterable[Any] = batch
        return whole
    return [one for one in batch if start <= one.offset < stop]


def pieces(found: dict[bytes, bytes]) -> Iterator[list[Entry]]:
    """
    Entries in pieces of a size that leaves the event loop free in between; in the end nothing is left.

    What was handed out is not held here any more: shards that restore side by side hold less at once.
    """
    keys = list(found)
    keys.reverse()
    while keys:
        piece = keys[: -BATCH - 1 : -1]
        del keys[-BATCH:]
        yield [(key, found.pop(key)) for key in piece]
