"""
The ownership of one shard: take it over, serve it, release it, and begin again when the lease is lost.

The steps of a takeover are numbered in `takeover`, which also has the order in which a shard goes on
after one. Serving is three things side by side: the member hands in batches (`take`), the cut loop
(`cutting`) makes durable what happened, the timekeeper (`timekeeping`) fires what is due. The steps of a
cut are numbered in `ledger`. The member (`member`) makes an owner for each shard that it is assigned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import anyio
import structlog

from event_center.engine.cutting import Cutting
from event_center.engine.kept import KeptShards
from event_center.engine.limits import Reached, of_shard, untaken
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.run import Runners
from event_center.engine.stopping import Stop
from event_center.engine.takeover import Takeovers
from event_center.engine.tenure import Tenure
from event_center.engine.timekeeping import Timekeeper
from event_center.errors import Fenced, LogUnavailable, NotCommitted, Unknown
from event_center.log.port import Batch, Cut, Group, Lease, Log
from event_center.model import Shard, Token

log = structlog.get_logger()

FENCED_S = 1.0
"""After a lost lease: how long the group has to tell us that the shard is not ours any more."""


class Owner:
    """This process's ownership of one shard, from its assignment to its end."""

    def __init__(
        self,
        *,
        shard: Shard,
        token: Token,
        log: Log,
        group: Group,
        plan: Plan,
        runners: Runners,
        job_runners: Runners,
        kept: KeptShards,
        on_room: Callable[[], None],
        on_cut: Callable[[Cut], None] | None = None,
    ) -> None:
        self.shard = shard
        self.token = token
        self.tenure = Tenure.RESTORING
        self._log = log
        self._group = group
        self._plan = plan
        self._runners = runners
        self._job_runners = job_runners
        self._kept = kept
        self._on_room = on_room
        """Called when the shard may be able to take records again."""
        self._parts: Parts | None = None
        self._lease: Lease | None = None
        self._gone = asyncio.Event()
        self._lost: Exception | None = None
        self._trouble = ""
        """Why the shard is to be taken over again; empty while it is served."""
        self._stop = Stop()
        self._keep = False
        self._takeovers = Takeovers(shard, log, plan=plan, kept=kept, wake=self._stop.wake)
        self._cutting = Cutting(
            log,
            self._stop,
            plan=plan,
            takeovers=self._takeovers,
            on_room=on_room,
            on_cut=on_cut,
        )
        self._timekeeper = Timekeeper(shard, group, plan, self._stop)

    # -- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Own the shard until it is stopped or abandoned."""
        try:
            while not self._over:
                try:
                    with self._stop.limit():  # a log that does not answer keeps no stop waiting
                        await self._take_over()
                    await self._serve()
                except (Fenced, Unknown, NotCommitted, LogUnavailable) as error:
                    self._lost = error
                if self._lost is None:
                    return
                if not self._over:
                    await self._begin_again(self._lost)
            if self._lease is not None:
                # A stop came before the shard was served again: what this process has of it goes to others.
                await self._release(self._lease)
        finally:
            self._end()

    def stop(self, grace_s: float, *, keep: bool = False) -> None:
        """Take no more, wait so long at most for what runs, cut, release (see `gone`), keep the rest."""
        if self.tenure in {Tenure.DRAINING, Tenure.GONE}:
            return
        self._keep = keep
        self._stop.within(grace_s)
        self._takeovers.cancel()
        self._timekeeper.wake()
        if self._parts is not None:
            self._parts.drain()
        if self.tenure is Tenure.SERVING:
            self._move(Tenure.DRAINING)

    def abandon(self) -> None:
        """The shard is somebody else's already: forget it."""
        self._stop.within(0.0)
        self._takeovers.cancel()
        self._timekeeper.wake()
        self._end()

    def widen(self) -> None:
        """A topic has more partitions: open the gate again, between two cuts."""
        self._cutting.wider = True
        self._stop.wake()

    async def gone(self) -> None:
        """Wait until this ownership has ended."""
        await self._gone.wait()

    @property
    def _over(self) -> bool:
        """Whether the shard is not to be taken over again: stopped, or abandoned while we waited."""
        return self._stop.asked or self.tenure is Tenure.GONE

    def _move(self, tenure: Tenure) -> None:
        self.tenure = self.tenure.to(tenure, self.shard)

    def _end(self) -> None:
        if self.tenure is not Tenure.GONE:
            self._discard()
            self._move(Tenure.GONE)
        self._gone.set()

    def _discard(self) -> None:
        """Whatever is in memory counts for nothing any more; callbacks under way are cancelled."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.end()

    async def _begin_again(self, error: Exception) -> None:
        """After a lost lease, or a takeover that failed: a new one reads from the log what is true."""
        delay = max(self._takeovers.pause_s(), FENCED_S if isinstance(error, Fenced) else 0.0)
        told = {"kind": type(error).__name__, "again_in_s": delay}
        log.warning("shard.lease_lost", shard=self.shard, error=str(error), **told)
        self._trouble = str(error)
        self._discard()
        self._lost = None
        self._move(Tenure.RESTORING)
        await self._stop.asked_within(delay)

    async def _release(self, lease: Lease) -> None:
        """Give the lease back, so that the next owner need not wait; it can take it in any case."""
        with anyio.CancelScope(shield=True):
            try:
                await lease.release()
            except (LogUnavailable, NotCommitted, Unknown) as error:
                log.warning("shard.release_failed", shard=self.shard, error=str(error))

    # -- takeover ------------------------------------------------------------------------------

    async def _take_over(self) -> None:
        self._lease = lease = await self._takeovers.fence(self._group, self.token)
        parts = Parts(
            self.shard,
            self._plan,
            self._runners,
            self._job_runners,
            where=self._log.where,
            wake=self._stop.wake,
            earlier=self._timekeeper.wake,
        )
        if not self._over:
            await self._takeovers.restore(lease, parts)
        if self._over:
            return
        self._parts, self._trouble = parts, ""
        self._move(Tenure.SERVING)
        log.info("shard.serving", shard=self.shard, workflows=len(parts.workflows.by_id))
        self._takeovers.begin(parts)
        self._stop.wake()
        self._on_room()

    # -- serving -------------------------------------------------------------------------------

    @property
    def restored(self) -> int:
        """Workflows restored so far, for a progress bar."""
        return self._takeovers.restored

    @property
    def ready(self) -> bool:
        """Whether records can be handed in."""
        return self.tenure is Tenure.SERVING

    @property
    def full(self) -> bool:
        """Whether only commands should be handed in until a cut or a callback has made room."""
        parts, limits = self._parts, self._plan.limits
        return parts is not None and (
            self._takeovers.isolation.full
            or parts.workflows.apart.waiting
            or parts.ledger.taken >= limits.cut_records
            or parts.ledger.cut_bytes >= limits.cut_bytes
            or parts.waiting_bytes >= limits.waiting_bytes
        )

    @property
    def waiting(self) -> int:
        """Events that wait for their turn; what waits for a command or another event left out."""
        return 0 if self._parts is None else self._parts.entry.waiting["queued"]

    @property
    def waiting_bytes(self) -> int:
        """What the same events weigh."""
        return 0 if self._parts is None else self._parts.ledger.waiting.weights["queued"]

    @property
    def lag(self) -> int:
        """Records between what was taken in and the last watermarks seen."""
        return 0 if self._parts is None else self._parts.lag()

    def reached(self) -> list[Reached]:
        """The limits of this shard that are reached now."""
        if self._parts is None:
            return [untaken(self.shard, self._trouble)] if self._trouble else []
        refused = self._cutting.refused or self._takeovers.why_no_cut(self._parts)
        return of_shard(self._plan.limits, self._parts, refused)

    def totals(self) -> dict[str, int]:
        """Records by outcome, and `read` and `waiting`, as of now."""
        return {} if self._parts is None else self._parts.totals()

    def take(self, batch: Batch) -> None:
        """Take a batch in; one of an older assignment is dropped."""
        parts = self._parts
        if parts is None or batch.token != self.token or self.tenure is not Tenure.SERVING:
            return
        self._takeovers.take(parts, batch, cutting=self._cutting.under_way)
        self._stop.wake()

    async def quiet(self, *, jobs: bool = True) -> bool:
        """
        Whether everything that the log holds is decided and durable, and no callback runs.

        Nor a job; if `jobs` is False, these may go on.
        """
        parts = self._parts
        if parts is None or self.tenure is not Tenure.SERVING or self._cutting.under_way:
            return False
        if not parts.idle(jobs=jobs):
            return False
        try:
            watermarks = await self._group.watermarks(self.shard)
        except (LogUnavailable, NotCommitted):
            return False
        if self._cutting.under_way or not parts.idle(jobs=jobs):
            return False
        offsets = parts.entry.offsets
        return all(offsets.get(source, 0) >= end for source, end in watermarks.items())

    async def _serve(self) -> None:
        parts, lease = self._parts, self._lease
        if lease is None:
            return
        whole = False
        try:
            if parts is not None:
                async with anyio.create_task_group() as tasks:
                    name = f"timekeeper {self.shard}"
                    tasks.start_soon(self._timekeeper.keep, parts, name=name)
                    whole = await self._ended_well(self._cutting.until_stopped(parts, lease))
                    tasks.cancel_scope.cancel()
                if whole and not parts.workflows.gone:
                    whole = await self._ended_well(self._cutting.last(parts, lease))
        finally:
            if self._stop.asked and self._lost is None:
                mark = lease.mark
                await self._release(lease)
                if parts is not None and whole and self._keep:
                    self._kept.keep(parts, mark)  # after the release: no other process waits for it

    async def _ended_well(self, cutting: Coroutine[None, None, None]) -> bool:
        """Cut, and note how that ended; whether another cut may follow."""
        try:
            await cutting
        except (Fenced, Unknown, LogUnavailable) as error:
            self._lost = error
        except NotCommitted as error:
            log.warning("shard.last_cut_failed", shard=self.shard, error=str(error))
        else:
            return True
        return False
