"""
The ownership of one shard: take it over, serve it, release it, and begin again when the lease is lost.

Numbered steps of a takeover:
    1. assigned: the group says that the shard is ours
    2. fenced: the lease is ours, the former owner can write no more
    3. restored: memory is exactly the last committed entries
    4. opened: records are delivered from the offsets of the shard entry; what was owed starts again

Serving is three things side by side: the member hands in batches (`take`), the cut loop (`cutting`)
makes durable what happened, the timekeeper (`timekeeping`) fires what is due. The steps of a cut are
numbered in `ledger`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import anyio
import anyio.lowlevel
import structlog

from event_center.engine.backoff import Backoff
from event_center.engine.cutting import Cutting
from event_center.engine.isolation import Isolation
from event_center.engine.kept import KeptShards
from event_center.engine.limits import Reached, of_shard, untaken
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.restoring import restore
from event_center.engine.run import Runners
from event_center.engine.stopping import Stop
from event_center.engine.tenure import Tenure
from event_center.engine.timekeeping import Timekeeper
from event_center.errors import (
    Fenced,
    FormatError,
    LogUnavailable,
    NotCommitted,
    Unknown,
)
from event_center.failpoint import Step, reach
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
        self.restored = 0
        """Workflows restored so far, for a progress bar."""
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
        self._restoring = anyio.CancelScope()
        """The restore under way: nobody waits for the end of one that came to nothing."""
        self._gone = asyncio.Event()
        self._lost: Exception | None = None
        self._served = False
        """Whether it was taken over before: then whoever ran what is owed is this process, and lives."""
        self._trouble = ""
        """Why the shard is to be taken over again; empty while it is served."""
        self._takeovers = Backoff()
        """Between takeovers; a settled cut of more than what was found makes it short again."""
        self._stop = Stop()
        self._keep = False
        self._isolation = Isolation(shard)
        self._cutting = Cutting(
            log,
            self._stop,
            plan=plan,
            isolation=self._isolation,
            on_settled=self._settled,
            on_bare=self._resume,
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
                # A stop came before the shard was served again: what is held of it goes to others.
                await self._release(self._lease)
        finally:
            self._end()

    def stop(self, grace_s: float, *, keep: bool = False) -> None:
        """Take no more, wait so long at most for what runs, cut, release (see `gone`), keep the rest."""
        if self.tenure in {Tenure.DRAINING, Tenure.GONE}:
            return
        self._keep = keep
        self._stop.within(grace_s)
        self._restoring.cancel()
        self._timekeeper.wake()
        if self._parts is not None:
            self._parts.close()
        if self.tenure is Tenure.SERVING:
            self._move(Tenure.DRAINING)

    def abandon(self) -> None:
        """The shard is somebody else's already: forget it."""
        self._stop.within(0.0)
        self._restoring.cancel()
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
        delay = max(self._takeovers.next_s(), FENCED_S if isinstance(error, Fenced) else 0.0)
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
        reach(Step.TAKEOVER_ASSIGNED)
        self._lease = lease = await self._group.lease(self.shard, self.token)
        reach(Step.TAKEOVER_FENCED)
        parts = Parts(
            self.shard,
            self._plan,
            self._runners,
            self._job_runners,
            where=self._log.where,
            wake=self._stop.wake,
            earlier=self._timekeeper.wake,
        )
        self.restored = 0
        if not self._over:
            with anyio.CancelScope() as self._restoring:
                await self._restore(lease, parts)
        if self._over:
            return
        self._parts, self._trouble = parts, ""
        self._move(Tenure.SERVING)
        log.info("shard.serving", shard=self.shard, workflows=len(parts.workflows.by_id))
        self._isolation.begun()
        if self._isolation.most is None:
            self._resume(parts)
        else:
            self._isolation.park(parts)
        self._stop.wake()
        self._on_room()

    def _resume(self, parts: Parts) -> None:
        """What was owed and what waits goes on."""
        parts.resume(crashed=not self._served, apart=self._isolation.apart)
        self._served = True
        self._take_piece(parts)

    async def _restore(self, lease: Lease, parts: Parts) -> None:
        batches = lease.restore(self._kept.take(self.shard))
        try:
            async for count in restore(batches, parts, await self._log.topics(), self._plan):
                self.restored += count
                await anyio.lowlevel.checkpoint()  # for heartbeats, and for shards that serve
        except FormatError as error:
            raise FormatError(f"shard {self.shard} of {self._log.where}: {error}") from error
        reach(Step.TAKEOVER_RESTORED)
        await lease.open_gate(parts.entry.offsets)
        reach(Step.TAKEOVER_OPENED)

    # -- serving -------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether records can be handed in."""
        return self.tenure is Tenure.SERVING

    @property
    def full(self) -> bool:
        """Whether only commands should be handed in until a cut or a callback has made room."""
        parts, limits = self._parts, self._plan.limits
        return parts is not None and (
            self._isolation.full
            or parts.ledger.taken >= limits.cut_records
            or parts.ledger.heavy >= limits.cut_bytes
            or parts.ledger.waiting_bytes >= limits.waiting_bytes
        )

    @property
    def waiting(self) -> int:
        """Events that wait for their turn; what waits for a command or another event left out."""
        return 0 if self._parts is None else self._parts.entry.waiting["queued"]

    @property
    def lag(self) -> int:
        """Records between what was taken in and the last watermarks seen."""
        return 0 if self._parts is None else self._parts.lag()

    def reached(self) -> list[Reached]:
        """The limits of this shard that are reached now."""
        if self._parts is None:
            return [untaken(self.shard, self._trouble)] if self._trouble else []
        return of_shard(
            self._plan.limits, self._parts, self._cutting.refused or self._isolation.why
        )

    def totals(self) -> dict[str, int]:
        """Records by outcome, and `read` and `waiting`, as of now."""
        return {} if self._parts is None else self._parts.totals()

    def take(self, batch: Batch) -> None:
        """Take a batch in; one of an older assignment is dropped."""
        parts = self._parts
        if parts is None or batch.token != self.token or self.tenure is not Tenure.SERVING:
            return
        if self._isolation.most is None:
            parts.take(batch)
        else:
            self._isolation.hold(batch)
            if parts.ledger.clean and not self._cutting.under_way:
                self._take_piece(parts)
        self._stop.wake()

    def _take_piece(self, parts: Parts) -> None:
        """Of a shard that is served in pieces: the next one."""
        if self._isolation.apart and parts.quarantine.active:
            return
        piece = self._isolation.piece()
        if piece is not None:
            parts.take(piece)
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
                    self._kept.keep(parts, mark)  # after the release: nobody waits for it

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

    def _settled(self, parts: Parts) -> None:
        """A cut is durable: go on with what had more to do than are decided in a row."""
        if not parts.quarantine.active:  # else the cut may only have counted what was found
            self._takeovers.reset()
        if not parts.workflows.gone:
            parts.turn_again()
            if self._served:  # else what goes on comes first
                self._take_piece(parts)
            self._on_room()
