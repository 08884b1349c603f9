"""
The records of a member's open gates: read ahead from Kafka, handed out in turns.

One asyncio task reads into a buffer per partition; `take` hands out of these without waiting, so that
a fetch that is cancelled loses nothing. Which partitions are read is ours to say: the consumer in here
is in no group. Promises: only of gates that are open with the token asked for; a buffer is bounded;
what came for a gate that was closed meanwhile is dropped; a partition that can not be read on stops no
other. `group.py` calls it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any

import anyio
import structlog
from aiokafka.errors import OffsetOutOfRangeError, UnsupportedCodecError

from event_center.errors import LogUnavailable
from event_center.log.bell import Bell
from event_center.log.gates import Gates, Place, Tap
from event_center.log.kafka.ahead import Reached, ReadAhead, Stuck, packed, truncated
from event_center.log.kafka.catalog import Catalog
from event_center.log.kafka.client import FAILURES, Clients, bounded, partitions
from event_center.log.kafka.options import MAX_EVENT_BYTES
from event_center.log.kafka.packing import size_of
from event_center.log.port import TOO_LARGE, Batch
from event_center.model import Headers, Record, Shard, Token

log = structlog.get_logger(__name__)

_SIZE, _HEADERS = attrgetter("serialized_value_size"), attrgetter("headers")

AHEAD = 4_000
"""
Records of one partition that may lie ready before it is read no further: four fetches of the engine.
This is what bounds the memory of the intake, with `MAX_EVENT_BYTES` for each record at the worst.
"""
NEAR_BYTES = MAX_EVENT_BYTES - 100_000
"""
A value above this is looked at with its key and headers: 100,000 bytes of these are more than
enough.
"""
POLL_S = 1.0
"""How long one read waits where nothing is; a change of what is to be read cuts it short."""
ANSWER_S = 0.1
"""How long a broker may hold an answer back; a partition that is new waits for it."""
RETRY_S = 0.2
"""After trouble: much less than the second that a fetch waits, so that it seldom brings nothing."""
FIRST_LOOK_S = 0.25
"""How long a fetch waits for the first answer about a gate that was just opened: two held ones."""
LOOK_S = 0.005
"""Between two looks for it: short beside a read on loopback, and of no weight for so short a while."""
TELL_S = 30.0
"""Between two fetches that say that a partition is stuck: what they would bring for others waits."""


def _fitting(record: Record) -> Record:
    """The record, or a note of its size in its place: a cut could not hold it."""
    size = size_of(record.key, record.value, record.headers)
    if size <= MAX_EVENT_BYTES:
        return record
    return record._replace(value=b"\xff", headers=((TOO_LARGE, b"%d" % size),))


def headers_of(record: Any) -> Headers:
    """A record's headers; some producers write a header without a value, which is empty here."""
    if not record.headers:
        return ()
    return tuple([(name, b"" if value is None else value) for name, value in record.headers])


class Intake:
    """Reads for one member."""

    def __init__(self, clients: Clients, catalog: Catalog, gates: Gates, bell: Bell) -> None:
        self.gates = gates
        self._clients = clients
        self._catalog = catalog
        self._bell = bell
        self._reads: dict[Place, ReadAhead] = {}
        self._stuck: dict[Place, Stuck] = {}
        """Those of them that are read no further."""
        self._consumer: Any = None
        self._unseen: dict[Place, float] = {}
        """Partitions of which no broker has told anything since their gate was opened, and when."""
        self._stale = False
        """The consumer reads other partitions than it should."""
        self._waiting: anyio.CancelScope | None = None
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def start(self, broken: Callable[[BaseException], None]) -> None:
        """Begin to read; a mistake, after which nothing is read, is told to `broken`."""
        self._pump = self._clients.aside(self._run(), "intake", broken)

    def stop(self) -> None:
        """Read no more."""
        if self._pump is not None:
            self._pump.cancel()
        self._drop_consumer()

    def open(
        self, shard: Shard, token: Token, offsets: Mapping[str, int], begins: Mapping[Place, int]
    ) -> None:
        """Read this shard from these offsets on, from `begins` where none is named."""
        self.gates.open(shard, token, offsets)
        for name, topic, q in self.gates.topics_of(shard):
            start = offsets.get(name, 0)
            self._stuck.pop((topic, q), None)
            self._reads[topic, q] = ReadAhead(start, max(start, begins[topic, q]))
            self._unseen[topic, q] = asyncio.get_running_loop().time()
        self._changed()

    def close(self, shard: Shard) -> None:
        """Read this shard no more; what lies ready of it is dropped."""
        self.gates.close(shard)
        places = [(topic, q) for _, topic, q in self.gates.topics_of(shard)]
        gone = [self._reads.pop(place, None) for place in places]
        for place in places:
            self._stuck.pop(place, None)
        if any(gone):
            self._changed()

    def complain(self, ready: Mapping[Shard, Token]) -> None:
        """
        Say, now and then, of a partition of these shards that it is stuck; else do nothing.

        Raises:
            LogUnavailable, DataLost: as `port.Group.fetch` says.
        """
        now_s = asyncio.get_running_loop().time()
        for place, stuck in self._stuck.items():
            if place[1] % self.gates.shards in ready and now_s >= stuck.due_s:
                stuck.due_s = now_s + TELL_S
                raise stuck.error

    async def look(self) -> None:
        """
        Wait, a short while, until something is known of every gate that was just opened.

        Without it, a backlog that was read first would be handed out before anybody else's turn.
        """
        while self._unseen:
            late = asyncio.get_running_loop().time() - FIRST_LOOK_S
            for place, opened in list(self._unseen.items()):
                if opened < late or self._told(place):
                    del self._unseen[place]
            if self._unseen:
                await self._bell.wait(LOOK_S)

    def _told(self, place: Place) -> bool:
        line = self._reads.get(place)
        if line is None or line.ready or line.gap or place in self._stuck:
            return True
        if self._stale or self._consumer is None:
            return False
        end = self._consumer.last_stable_offset(self._named(place))
        return end is not None and end <= line.cursor

    def take(
        self, ready: Mapping[Shard, Token], limit: int, paused: Collection[Shard]
    ) -> list[Batch]:
        """What lies ready of these shards, in turns."""
        return [
            self._batch(tap, count, ready[tap.shard])
            for tap, count in self.gates.portions(ready, self._tail, limit, paused)
        ]

    async def reached(self, place: Place) -> Reached | None:
        """How far a partition was read; None if it is not being read."""
        line = self._reads.get(place)
        if line is None or self._consumer is None or self._stale or place in self._stuck:
            return None
        (partition,) = partitions(self._catalog.real(place[0]), [place[1]])
        position = await bounded(self._consumer.position(partition), POLL_S)
        return Reached(position, line.after)

    def _tail(self, place: Place) -> int:
        line = self._reads[place]
        return line.given + len(line.ready) + (line.gap > 0)

    def _batch(self, tap: Tap, count: int, token: Token) -> Batch:
        line = self._reads[tap.place]
        ready = line.ready
        if line.gap:
            count = min(count, sum(record.offset < line.gap for record in ready))
            if not count:
                return self._gap(tap, line, token)
        if len(ready) >= AHEAD > len(ready) - count:
            self._interrupt()
        if count >= len(ready):
            records = list(ready)
            ready.clear()
        else:
            records = list(islice(ready, count))
            for _ in range(count):
                ready.popleft()
        tap.next = line.given = records[-1].offset + 1
        return Batch(tap.shard, token, tap.topic, tap.partition, records, line.watermark())

    @staticmethod
    def _gap(tap: Tap, line: ReadAhead, token: Token) -> Batch:
        """What retention has removed, told by a batch without records."""
        gap, line.gap = line.gap, 0
        tap.next = line.given = gap
        line.after = max(line.after, gap)
        return Batch(tap.shard, token, tap.topic, tap.partition, (), line.watermark(), gap)

    def _changed(self) -> None:
        self._stale = True
        self._interrupt()

    def _interrupt(self) -> None:
        """What the read under way waits for is not what it should wait for now."""
        self._wake.set()
        if self._waiting is not None:
            self._waiting.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except (LogUnavailable, *FAILURES) as error:
                log.warning("log.intake_trouble", error=self._clients.said(error))
                self._drop_consumer()
                await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        if self._consumer is None:
            self._consumer = await self._clients.reader(wait_s=ANSWER_S)
            self._stale = True
        if self._stale:
            self._point()
        self._wake.clear()
        wanted = [
            self._named(place)
            for place, line in self._reads.items()
            if len(line.ready) < AHEAD and place not in self._stuck
        ]
        if not wanted:
            await self._wake.wait()
            return
        got: Mapping[Any, list[Any]] = {}
        try:
            with anyio.CancelScope() as self._waiting:
                got = await self._asked(wanted, AHEAD)
        except OffsetOutOfRangeError:
            await self._overtaken()
        except UnsupportedCodecError:
            await self._single_out()
        finally:
            self._waiting = None
        # Records that came for other gates than are open now are read again by those.
        if got and not self._stale:
            await self._lay_ready(got)

    async def _asked(self, wanted: Sequence[Any], most: int) -> Mapping[Any, list[Any]]:
        asked = self._consumer.getmany(*wanted, timeout_ms=round(POLL_S * 1000), max_records=most)
        got: Mapping[Any, list[Any]] = await bounded(asked, self._clients.options.call_s)
        return got

    async def _overtaken(self) -> None:
        """What was to be read next is not there: retention was faster, or the log has lost its end."""
        lines = {self._named(place): (place, line) for place, line in self._reads.items()}
        begins = await bounded(self._consumer.beginning_offsets(list(lines)), POLL_S)
        ends = await bounded(self._consumer.end_offsets(list(lines)), POLL_S)
        for partition, (place, line) in lines.items():
            if line.cursor > ends[partition]:
                self._stuck[place] = Stuck(truncated(place, line.cursor, ends[partition]))
            elif line.cursor < begins[partition]:
                line.gap = line.cursor = begins[partition]
        self._changed()
        self._bell.ring()

    async def _single_out(self) -> None:
        """
        Find the partition whose records can not be unpacked: the error does not say which it is.

        Each is read alone, and the one in question record by record up to what can not be read.
        """
        self._point()
        named = {self._named(p): p for p in self._reads if p not in self._stuck}
        ends = await bounded(self._consumer.end_offsets(list(named)), POLL_S)
        for partition, place in named.items():
            if self._stale:
                return
            line = self._reads[place]
            self._consumer.assign([partition])
            try:
                await self._alone(partition, line, ends[partition], AHEAD)
            except UnsupportedCodecError:
                try:
                    await self._alone(partition, line, ends[partition], 1)
                except UnsupportedCodecError as error:
                    self._stuck[place] = Stuck(packed(place, line.cursor, error))
        self._changed()
        self._bell.ring()

    async def _alone(self, partition: Any, line: ReadAhead, end: int, most: int) -> None:
        """Read one partition to its end, or as far ahead as may be, so many records at a time."""
        self._consumer.seek(partition, line.cursor)
        while line.seen < end and len(line.ready) < AHEAD:
            got = await self._asked([partition], most)
            if not got or self._stale:
                return
            await self._lay_ready(got)

    def _point(self) -> None:
        """Let the consumer read exactly the open partitions, each from where it was read to."""
        self._stale = False
        named = {
            self._named(place): line
            for place, line in self._reads.items()
            if place not in self._stuck
        }
        if not named:
            self._consumer.unsubscribe()
            return
        self._consumer.assign(list(named))
        for partition, line in named.items():
            self._consumer.seek(partition, line.cursor)

    async def _lay_ready(self, got: Mapping[Any, list[Any]]) -> None:
        prefix = len(self._clients.options.topic_prefix)
        new, record_type = tuple.__new__, Record
        for partition, records in got.items():
            line = self._reads[partition.topic[prefix:], partition.partition]
            come = (
                new(record_type, (r.offset, r.timestamp, r.key, r.value, headers_of(r)))
                for r in records
            )
            # Of most topics no record has headers, and none is near the limit: that is seen at once.
            plain = max(map(_SIZE, records)) < NEAR_BYTES and not any(map(_HEADERS, records))
            line.ready.extend(come if plain else map(_fitting, come))
            line.after = line.cursor = records[-1].offset + 1
            line.end = max(line.after, self._consumer.last_stable_offset(partition) or 0)
            line.seen = await bounded(self._consumer.position(partition), POLL_S)
        self._bell.ring()

    def _named(self, place: Place) -> Any:
        (partition,) = partitions(self._catalog.real(place[0]), [place[1]])
        return partition

    def _drop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            self._clients.dispose(consumer)
