"""
One member of the group that consumes a log in memory.

Promises what `port.Group` says. Records come as slices of the broker's lists: nothing is copied per
record. `log.py` makes groups at `join`, the engine room holds them; `members.py` decides about
shards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from event_center.log.bell import Bell
from event_center.log.gates import Gates
from event_center.log.memory.broker import MemoryBroker
from event_center.log.memory.faults import Faults
from event_center.log.memory.lease import MemoryLease
from event_center.log.port import FETCH_WAIT_S, Assigned, Batch, Change, Lost, Revoked
from event_center.log.right import Right, outdated
from event_center.log.sizes import fitting
from event_center.model import Shard, Token


class MemoryGroup:
    """A member, from `join` to `leave`."""

    def __init__(
        self,
        broker: MemoryBroker,
        topics: Sequence[str],
        shards: int,
        *,
        urgent: Collection[str],
        clock: Callable[[], int],
        faults: Faults,
        fetch_wait_s: float = FETCH_WAIT_S,
    ) -> None:
        self.shards = shards
        self._fetch_wait_s = fetch_wait_s
        self._broker = broker
        self._clock = clock
        self._faults = faults
        self._gates = Gates(
            [(name, broker.infos[name].partitions) for name in topics], shards, urgent
        )
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._changed = 0
        self.left = False
        """It went by its own will, or with its process: nobody lets it in again."""
        self._bell = Bell()
        self._leases: dict[Shard, MemoryLease] = {}
        self._last: list[Batch] = []
        """What a fault may deliver again: of each shard only what came since its gate was opened."""

    async def changes(self) -> Change:
        """Wait for the next change of assignment."""
        return await self._changes.get()

    async def fetch(
        self, ready: Mapping[Shard, Token], limit: int, paused: Collection[Shard] = ()
    ) -> list[Batch]:
        """Wait for records of the ready shards and return them, at most `limit`."""
        await asyncio.sleep(self._faults.fetch_delay_s)
        await self._faults.at("fetch")
        changed = self._changed
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._fetch_wait_s
        while True:
            batches = self._repeated(ready, paused) or self._take(ready, limit, paused)
            if batches:
                self._last = batches
                return batches
            left = deadline - loop.time()
            if left <= 0 or self._changed != changed:
                return []
            await self._bell.wait(left)

    def _take(
        self, ready: Mapping[Shard, Token], limit: int, paused: Collection[Shard]
    ) -> list[Batch]:
        batches = []
        for tap, count in self._gates.portions(ready, self._broker.watermark, limit, paused):
            line = self._broker.line(tap.place)
            batch = Batch(tap.shard, ready[tap.shard], tap.topic, tap.partition, (), len(line))
            first = self._broker.first(tap.place)
            if tap.next < first:
                tap.next = first
                batches.append(batch._replace(after=first))
            else:
                records = line[tap.next : tap.next + count]
                tap.next += count
                fit = fitting(records, self._broker.max_event_bytes)
                batches.append(batch._replace(records=fit))
        return batches

    def _repeated(self, ready: Mapping[Shard, Token], paused: Collection[Shard]) -> list[Batch]:
        if not self._faults.repeats:
            return []
        again = [
            batch
            for batch in self._last
            if ready.get(batch.shard) == batch.token and batch.shard not in paused
        ]
        if again:
            self._faults.repeats -= 1
        return again

    async def lease(self, shard: Shard, token: Token) -> MemoryLease:
        """Become the one writer of the shard."""
        await self._faults.at("lease")
        if not self._broker.members.current(self, shard, token):
            raise outdated(shard, token)
        self._gates.close(shard)
        lease = MemoryLease(
            self._broker,
            shard=shard,
            token=token,
            opened=self._gate_opened,
            clock=self._clock,
            faults=self._faults,
            ended=self._lease_ended,
        )
        self._leases[shard] = lease
        return lease

    async def watermarks(self, shard: Shard) -> Mapping[str, int]:
        """The offset after the newest committed record of each topic of the shard."""
        await self._faults.at("watermarks")
        return {
            name: self._broker.watermark((topic, partition))
            for name, topic, partition in self._gates.topics_of(shard)
        }

    async def look(self) -> bool:
        """Look at the topics anew."""
        await self._faults.at("look")
        for name in self._gates.topics:
            self._broker.line((name, 0))
        counts = [(name, self._broker.infos[name].partitions) for name in self._gates.topics]
        return self._gates.resize(counts)

    async def leave(self) -> None:
        """Leave the group: shards go to the others."""
        await self._faults.at("leave")
        self.vanish()

    def vanish(self) -> None:
        """Leave without another word, as a process that crashed."""
        self.left = True
        self._broker.members.leave(self)
        self.ring()

    def tell(self, change: Change) -> None:
        """Queue a change; a shard that is not ours any more is not read any more."""
        match change:
            case Revoked(shard=shard) | Lost(shard=shard):
                self._gates.close(shard)
            case Assigned():
                pass
        self._changes.put_nowait(change)
        self._changed += 1
        self.ring()

    def writes(self, shard: Shard) -> bool:
        """There is a lease of the shard that can still commit."""
        lease = self._leases.get(shard)
        return lease is not None and lease.right is Right.VALID

    def ring(self) -> None:
        """Wake the fetches."""
        self._bell.ring()

    def _gate_opened(self, lease: MemoryLease, offsets: Mapping[str, int]) -> None:
        self._last = [batch for batch in self._last if batch.shard != lease.shard]
        self._gates.open(lease.shard, lease.token, offsets)
        self._broker.members.ring()

    def _lease_ended(self, lease: MemoryLease) -> None:
        if self._leases.get(lease.shard) is lease:
            self._gates.close(lease.shard)
            self._broker.members.released(self, lease.shard)
