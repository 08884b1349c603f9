"""
The cut loop of one shard: makes durable what happened, for as long as the shard is served.

A cut follows as soon as something happened and the one before is settled; under load cuts are large
by themselves. The owner (`shard`) runs this beside the timekeeper. The steps of a cut are numbered in
`ledger`, which builds it; the lease has the next ones; `takeover` has what the end of a cut says.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from event_center.engine.backoff import Backoff
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.stopping import Stop
from event_center.engine.takeover import CutKind, Takeovers
from event_center.errors import LogError, NotCommitted, Unknown
from event_center.failpoint import Step, reach
from event_center.log.port import Cut, Lease, Log


class Cutting:
    """Cuts for one shard."""

    def __init__(
        self,
        log: Log,
        stop: Stop,
        *,
        plan: Plan,
        takeovers: Takeovers,
        on_room: Callable[[], None],
        on_cut: Callable[[Cut], None] | None = None,
    ) -> None:
        self._log = log
        self._stop = stop
        self._plan = plan
        self._takeovers = takeovers
        self._on_room = on_room
        """Called when the shard may be able to take records again."""
        self._on_cut = on_cut
        """Called with each cut that is durable; None: nobody listens."""
        self.under_way = False
        """A cut is built and nobody has heard yet how its commit ended."""
        self.refused = ""
        """Why the log did not take the cut that is under way; empty: nothing is wrong."""
        self.wider = False
        """A topic has more partitions than the gate was opened for."""

    async def until_stopped(self, parts: Parts, lease: Lease) -> None:
        """Cut whenever something happened."""
        self.refused = ""  # it was of an earlier lease, whose last cut has been looked for since
        while not self._finished(parts):
            await self._stop.something()
            if parts.workflows.gone:
                return
            if self.wider:
                self.wider = False
                self._takeovers.isolation.forget_records()
                await lease.open_gate(parts.entry.offsets)
                self._on_room()
            await self._cut(parts, lease)
            distance_s = self._log.cut_distance_s  # it grows with the shards that are busy
            if distance_s and not self._stop.asked:
                await anyio.sleep(distance_s)

    async def last(self, parts: Parts, lease: Lease) -> None:
        """What still runs ends without a result; nobody is left who could change anything."""
        parts.end()
        parts.starts.take_back()
        await self._cut(parts, lease)

    def _finished(self, parts: Parts) -> bool:
        if not self._stop.asked:
            return False
        under_way = parts.workflows.runs or parts.workflows.jobs
        return self._stop.late or (not under_way and parts.ledger.clean)

    async def _cut(self, parts: Parts, lease: Lease) -> None:
        ledger = parts.ledger
        parts.workflows.apart.before_cut(ledger)
        if ledger.clean:
            self._takeovers.take_more(parts)
            return
        cut = ledger.build()
        kind = self._takeovers.kind(parts)
        self.under_way = True
        try:
            await self._commit(parts, lease, cut, kind)
        finally:
            self.under_way = False
        if self._on_cut is not None:
            self._on_cut(cut)
        start = parts.effects.start
        for snapshot in ledger.committed():
            start(snapshot)
        reach(Step.CUT_SETTLED)
        self._takeovers.durable(parts, cut, kind)
        if parts.workflows.gone:
            return
        if parts.timers.behind and not self._stop.asked:
            parts.fire_released()
            self._stop.wake()
        self._on_room()

    async def _commit(self, parts: Parts, lease: Lease, cut: Cut, kind: CutKind) -> None:
        """
        Commit this cut, and the same one again for as long as it certainly was not.

        Raises:
            NotCommitted: it was not, and the time for stopping is over: the next owner begins before it.
            Unknown: the memory of the shard is of no use any more; also after a cut that certainly was
                not committed, if a topic that callbacks publish to does not take what is in it.
        """
        backoff = Backoff()
        while True:
            try:
                await lease.commit(cut)
            except Unknown as error:
                if not self._close(error):
                    self._takeovers.unknown(parts, cut, kind)
                raise
            except NotCommitted as error:
                if self._stop.late:
                    raise
                if self._close(error):
                    raise Unknown(str(error), topic=error.topic) from error
                self.refused = str(error)
                await backoff.wait("cut.not_committed", error, shard=parts.shard)
            else:
                self.refused = ""
                self._plan.closed_topics.written(cut)
                return

    def _close(self, error: LogError) -> bool:
        """Close the topic that a cut has failed on, if callbacks publish to it; whether that was why."""
        if error.topic not in self._plan.publishable:
            return False
        self._plan.closed_topics.close(error.topic, str(error), self._plan.clock())
        return True
