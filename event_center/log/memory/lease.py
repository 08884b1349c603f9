"""
The right to write one shard of a log in memory.

Promises what `port.Lease` says. A cut becomes durable in one synchronous pass, between the
failpoints "begun" and "written"; the faults decide how the caller hears of it. `group.py` makes
leases, the engine room holds them, `broker.py` has the next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from event_center.errors import Fenced, NotCommitted
from event_center.failpoint import Step, reach
from event_center.log.memory.broker import InFlight, MemoryBroker
from event_center.log.memory.faults import Ending, Faults
from event_center.log.port import Cut, Entry, Kept
from event_center.log.right import Right, check, unanswered
from event_center.model import Shard, Token

BATCH = 10_000
"""Entries in one batch of a restore: as on Kafka, so that tests see several."""


class MemoryLease:
    """The lease with one epoch of one shard."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        shard: Shard,
        token: Token,
        opened: Callable[[MemoryLease, Mapping[str, int]], None],
        clock: Callable[[], int],
        faults: Faults,
        ended: Callable[[MemoryLease], None],
    ) -> None:
        self.shard = shard
        self.token = token
        self.epoch = broker.fence(shard)
        self.right = Right.VALID
        self._broker = broker
        self._opened = opened
        self._clock = clock
        self._faults = faults
        self._ended = ended
        self._unheard = False
        """A cut was written, but its caller was cancelled before it heard of it."""
        self.mark: int | None = None
        """How many cuts there were after this lease's last one, if they are kept."""

    async def restore(self, kept: Kept | None = None) -> AsyncIterator[list[Entry]]:
        """Batches of exactly the last committed entries."""
        self._check()
        entries = list(self._entries(kept).items())
        self._remember()
        for start in range(0, len(entries), BATCH):
            await self._faults.at("restore")
            await asyncio.sleep(0)
            self._check()
            yield entries[start : start + BATCH]
        await self._faults.at("restored")
        self._check()

    def _remember(self) -> None:
        if self._broker.keeps_cuts:
            self.mark = len(self._broker.cuts)

    def _entries(self, kept: Kept | None) -> Mapping[bytes, bytes]:
        """As a log does that reads only what was written since."""
        if kept is None or not isinstance(kept.mark, int):
            return self._broker.store(self.shard)
        found = dict(kept.entries)
        for cut in self._broker.cuts[kept.mark :]:
            if cut.shard != self.shard:
                continue
            for key, value in cut.entries.items():
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value
        return found

    async def open_gate(self, offsets: Mapping[str, int]) -> None:
        """Let `fetch` deliver the shard's records from these offsets on."""
        await self._faults.at("open_gate")
        self._check()
        self._opened(self, offsets)

    async def commit(self, cut: Cut) -> None:
        """Make the whole cut durable and visible, or nothing of it."""
        await self._faults.at("commit.begun")
        self._check()
        self._broker.check_sizes(cut.records)
        reach(Step.LOG_BEGUN)
        ending = self._faults.next_commit()
        refusing = self._faults.refusing
        topics = (one[0] for one in cut.records) if refusing else ()
        refused = next((topic for topic in topics if topic in refusing), "")
        if refused:
            ending = refusing[refused]
        elif self._faults.spoiled is not None and self._faults.spoiled(cut):
            ending = Ending.LOST
        if ending is None:
            self._apply(cut)
        else:
            self._fail(cut, ending, refused)
        reach(Step.LOG_WRITTEN)
        self._unheard = True
        await asyncio.sleep(0)
        await self._faults.at("commit.written")
        self._unheard = False
        reach(Step.LOG_COMMITTED)

    async def release(self) -> None:
        """Give the right up; the gate closes."""
        try:
            await self._faults.at("release")
        finally:
            self._end(Right.RELEASED)

    def _apply(self, cut: Cut) -> None:
        try:
            self._broker.apply(self.shard, self.epoch, cut, self._clock())
            self._remember()
        except Fenced:
            self._end(Right.FENCED)
            raise

    def _fail(self, cut: Cut, ending: Ending, topic: str) -> None:
        if ending is Ending.NOT_COMMITTED:
            raise NotCommitted(
                f"nothing of the cut of shard {self.shard} was written, as the faults of this log "
                "in memory asked: try it again",
                topic=topic,
            )
        if ending is Ending.WRITTEN:
            self._apply(cut)
        elif ending is not Ending.LOST:
            written = ending is Ending.WRITTEN_LATER
            flight = InFlight(cut, self.epoch, self._clock(), written)
            self._broker.leave_in_flight(self.shard, flight)
        self._end(Right.UNKNOWN)
        raise unanswered(self.shard, topic=topic)

    def _check(self) -> None:
        check(self.shard, self.right, unheard=self._unheard)
        try:
            self._broker.check(self.shard, self.epoch)
        except Fenced:
            self._end(Right.FENCED)
            raise

    def _end(self, right: Right) -> None:
        if self.right in {Right.VALID, Right.UNKNOWN}:
            self.right = right
            self._ended(self)
