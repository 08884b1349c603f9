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

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from event_center.errors import Unknown
from event_center.failpoint import Step, reach
from event_center.log.gates import Place
from event_center.log.kafka.client import FAILURES
from event_center.log.kafka.packing import Line, Packer, Parcel, parcels
from event_center.log.kafka.store import JOURNAL, journal
from event_center.log.kafka.transaction import Landed, send, transact

Lines = Mapping[Place, Sequence[Line]]


class Delivery(Protocol):
    """Writes cuts by the producer of one lease."""

    async def write(
        self,
        own: Place,
        entries: Mapping[bytes, bytes | None],
        lines: Sequence[Line],
        others: Lines,
    ) -> list[Landed]:
        """
        Write the entries, whose records are `lines`, to the shard's own place, and all other lines.

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
        lines: Sequence[Line],
        others: Lines,
    ) -> list[Landed]:
        """Write everything and commit."""
        del entries
        filled = [(own, lines), *others.items()] if lines else list(others.items())
        packed = parcels(self._producer, filled)
        return await transact(self._producer, packed, self._prefix, self._limit_s)


class AtLeastOnce:
    """Step after step, each awaited, by a producer that is idempotent and fences nobody."""

    def __init__(self, producer: Any, packer: Packer, prefix: str, limit_s: float) -> None:
        self._producer = producer
        self._packer = packer
        self._prefix = prefix
        self._limit_s = limit_s

    async def write(
        self,
        own: Place,
        entries: Mapping[bytes, bytes | None],
        lines: Sequence[Line],
        others: Lines,
    ) -> list[Landed]:
        """Write records first and the entries last, which makes them count."""
        reach(Step.LOG_BEGUN)
        landed = await self._sent(parcels(self._producer, others.items()))
        packed = parcels(self._producer, [(own, lines)] if lines else [])
        if len(packed) > 1:
            noted, _ = self._packer.entries({JOURNAL: journal(entries)}, {})
            landed += await self._sent(parcels(self._producer, [(own, noted)]))
        landed += await self._sent(packed)
        if len(packed) > 1:
            removed, _ = self._packer.entries({JOURNAL: None}, {})
            landed += await self._sent(parcels(self._producer, [(own, removed)]))
        reach(Step.LOG_COMMITTED)
        return landed

    async def _sent(self, packed: Sequence[Parcel]) -> list[Landed]:
        if not packed:
            return []
        try:
            landed = await send(self._producer, packed, self._prefix, self._limit_s)
        except FAILURES as error:
            raise Unknown(f"{type(error).__name__}: {error}") from error
        reach(Step.LOG_WRITTEN)
        return landed
