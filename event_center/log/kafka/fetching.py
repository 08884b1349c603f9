"""
A consumer that hands out what it has fetched as whole batches, still bytes, instead of objects.

aiokafka makes two objects of every record and passes each through a generator: with that, reading took
1.1 us a record. Here the batches of an answer are looked at one by one, and `decoded` makes our records
of them with aiokafka's C parser, right before they are used: 0.45 us. Promises: only committed records;
every batch's checksum is checked; `Fetched.position` passes markers and aborted batches, as the
consumer's own does. `client.py` makes readers; `supply.py` and `reading.py` ask them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException

from event_center.model import Headers, Record

_record = tuple.__new__
"""Makes a named tuple of a tuple without the detour over its constructor."""


class Fetched(NamedTuple):
    """What came of one partition."""

    batches: list[Any]
    """Those with records of committed transactions, or of none, oldest first."""
    position: int
    """Where reading goes on: everything below was looked at, markers included."""
    size: int = 0
    """The bytes of the answer: as they came, compressed or not, with what is in no batch of these."""


class KafkaReader(AIOKafkaConsumer):  # type: ignore[misc]  # it has no types
    """A consumer of partitions that are assigned by hand, without a group."""

    async def fetched(self, places: Collection[Any], wait_s: float) -> dict[Any, Fetched]:
        """
        Wait for something of these partitions, and return it; nothing if the time is over.

        Raises:
            KafkaError: a broker has answered with an error, or with what was damaged on the way.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            if self._closed:
                raise ConsumerStoppedError
            found = self._drained(places)
            left = deadline - loop.time()
            if found or left <= 0:
                return found
            waiter = self._fetcher._create_fetch_waiter()  # noqa: SLF001 - here and below: see PRIVATE
            try:
                await asyncio.wait([waiter], timeout=left)
                if waiter.done():
                    waiter.result()
            finally:
                waiter.cancel()

    def _drained(self, places: Collection[Any]) -> dict[Any, Fetched]:
        """What lies ready of these partitions; the broker is asked for what follows."""
        found: dict[Any, Fetched] = {}
        fetcher = self._fetcher
        ready = fetcher._records  # noqa: SLF001
        for place in [one for one in ready if one in places]:
            if found and isinstance(ready[place], FetchError):
                continue  # raised by the next call
            result = ready.pop(place)
            fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
            if isinstance(result, FetchError):
                result.check_raise()
            elif result.check_assignment(place):
                found[place] = _opened(result, place)
        return found


def _opened(result: Any, place: Any) -> Fetched:
    """The batches of one answer, without those of aborted transactions and without markers."""
    answer = result._partition_records  # noqa: SLF001
    memory, aborted = answer._records, answer._aborted_producers  # noqa: SLF001
    batches = []
    while memory.has_next():
        batch = memory.next_batch()
        if not batch.validate_crc():
            raise CorruptRecordException(f"{place.topic}/{place.partition}: a batch is damaged")
        producer = batch.producer_id
        if producer is not None:
            answer._consume_aborted_up_to(batch.base_offset)  # noqa: SLF001
        answer.next_fetch_offset = batch.next_offset
        if batch.is_control_batch:
            if answer._contains_abort_marker(batch):  # noqa: SLF001
                aborted.discard(producer)
        elif not (batch.is_transactional and producer in aborted):
            batches.append(batch)
    result._update_position()  # noqa: SLF001
    return Fetched(batches, answer.next_fetch_offset, memory.size_in_bytes())


def decoded(batch: Any, start: int) -> Iterator[Record]:
    """
    The records of a batch from this offset on, each made when it is asked for.

    Raises:
        UnsupportedCodecError: the library for the batch's compression is missing.
        CorruptRecordException: these are no records, though the checksum is that of the bytes.
    """
    for one in batch:
        offset = one.offset
        if offset < start:
            continue
        headers = one.headers
        told = _headers(headers) if headers else ()
        yield _record(Record, (offset, one.timestamp, one.key, one.value, told))


def _headers(given: list[tuple[str, bytes | None]]) -> Headers:
    """A record's headers; some producers write a header without a value, which is empty here."""
    return tuple([(name, b"" if value is None else value) for name, value in given])
