"""
How a cut is written: in one transaction, or without one for clusters that have none.

Promises: returns only if all of it is written. `AtLeastOnce` keeps entries whole without a transaction:
a batch is whole by itself, and a cut whose entries do not fit one goes into the journal first (`store`),
from which a restore writes on. Its records can be there twice after a crash, never without their cut
being decided again. Leases call `write`; `transaction.py` sends.

Numbered steps of a cut without a transaction:
    1. history, emitted events and letters
    2. the journal, if the entries do not fit one batch
    3. the entries, in the cut's order
    4. the journal is removed
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka.errors import KafkaError
from aiokafka.protocol.produce import ProduceRequest

from event_center.errors import LogUnavailable, Unknown
from event_center.failpoint import Step, reach
from event_center.log.gates import Place
from event_center.log.kafka.calling import FAILURES, bounded
from event_center.log.kafka.options import KafkaOptions
from event_center.log.kafka.packing import Packer, Parcel
from event_center.log.kafka.store import JOURNAL, journal
from event_center.log.kafka.transaction import Landed, send, transact


class Delivery(Protocol):
    """Writes cuts by the producer of one lease."""

    async def write(
        self,
        own: Place,
        entries: Mapping[bytes, bytes | None],
        packed: Sequence[Parcel],
        records: Sequence[Parcel],
    ) -> list[Landed]:
        """
        Write entries of the shard's own place, whose batches are `packed`, and those of its records.

        Raises:
            Fenced: somebody else has started a producer of the same name; nothing was written.
            Unknown: it may have been, or may still be, written.
        """
        ...


class ExactlyOnce:
    """All of a cut in one transaction."""

    def __init__(self, producer: Any, prefix: str, limit_s: float) -> None:
        self._producer = producer
        self._prefix = prefix
        self._limit_s = limit_s

    async def write(
        self,
        own: Place,
        entries: Mapping[bytes, bytes | None],
        packed: Sequence[Parcel],
        records: Sequence[Parcel],
    ) -> list[Landed]:
        """Write everything and commit."""
        del own, entries
        both = [*packed, *records]
        return await transact(self._producer, both, self._prefix, self._limit_s)


def only_while_certain(client: Any, certain_until: Callable[[], float]) -> None:
    """Let this client send batches only until then: its process may have stood still since it got them."""
    send = client.send
    loop = asyncio.get_running_loop()

    async def in_time(node: int, request: Any, **more: Any) -> Any:
        if isinstance(request, ProduceRequest):
            await client.ready(node)  # so that nothing is awaited between this look and the write
            if certain_until() <= loop.time():
                raise KafkaError("it is not certain any more that nobody else has the shard")
        return await send(node, request, **more)

    client.send = in_time


class AtLeastOnce:
    """
    Step after step, each awaited, by a producer that is idempotent and fences nobody.

    No broker refuses what a former owner writes. So each step begins, and ends, while it is certain that
    nobody else has the shard; one that would last longer is given up. And the producer looks once more,
    at the moment at which a batch goes into its connection (`only_while_certain`).
    """

    def __init__(
        self,
        producer: Any,
        packer: Packer,
        options: KafkaOptions,
        confirm: Callable[[], Awaitable[float]],
    ) -> None:
        self._producer = producer
        self._packer = packer
        self._options = options
        self._confirm = confirm
        """Makes sure that nobody else has the shard, and says until when, by the event loop's clock."""

    async def write(
        self,
        own: Place,
        entries: Mapping[bytes, bytes | None],
        packed: Sequence[Parcel],
        records: Sequence[Parcel],
    ) -> list[Landed]:
        """Write records first and the entries last, which makes them count."""
        reach(Step.LOG_BEGUN)
        landed = await self._sent(records)
        if len(packed) > 1:
            landed += await self._sent(self._packed(own, journal(entries)))
        landed += await self._sent(packed)
        if len(packed) > 1:
            landed += await self._sent(self._packed(own, None))
        reach(Step.LOG_COMMITTED)
        return landed

    def _packed(self, own: Place, value: bytes | None) -> list[Parcel]:
        """The batches of a journal."""
        return self._packer.pack_entries(self._producer, own, {JOURNAL: value}, {})[0]

    async def _sent(self, packed: Sequence[Parcel]) -> list[Landed]:
        if not packed:
            return []
        try:
            until = await self._confirm()
            left_s = min(until - asyncio.get_running_loop().time(), self._options.call_s)
            if left_s <= 0:
                raise TimeoutError("it is not certain any more that nobody else has the shard")
            sending = send(self._producer, packed, self._options.topic_prefix, left_s)
            landed = await bounded(sending, left_s)
        except (LogUnavailable, *FAILURES) as error:
            raise Unknown(f"{type(error).__name__}: {error}") from error
        reach(Step.LOG_WRITTEN)
        return landed
