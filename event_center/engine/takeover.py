"""
The takeovers of one shard: what each does, in order, and what its cuts say to the next one.

Numbered steps of a takeover:
    1. assigned: the group says that the shard is ours
    2. fenced: the lease is ours, the former owner can write no more
    3. restored: memory is exactly the last committed entries
    4. opened: records are delivered from the offsets of the shard entry; what was owed starts again

Step 4 has an order of its own. Most takeovers find no run and search for nothing: then only `others` and
`records` are left of it, at once.
    parked: workflows that have been found to spoil cuts (`isolation`)
    bare: in a search, a cut with next to nothing in it shows whether the log takes any; until then time
        stands still as well: no timer fires, and nothing is tried again
    suspects: runs that many takeovers have found, group by group: counted in a cut, then run (`quarantine`)
    others: what else was owed, 10 s later at most: counted in a cut if it was found, then side by side
    apart: in a search, all that was found of a workflow apart, counted too: each in a cut of its own
    records: as they come; in a search a piece of a few, and at pieces of one after all that was found

What a cut says depends on what it is (`CutKind`):

                                          whole  bare  counting  piece  between
    durable: the next takeover is soon     yes    yes*    -        -       -
    durable: who is in it spoils nothing   yes    yes     -       yes     yes
    durable: pieces grow                    -      -      -       yes      -
    durable: what was owed goes on          -     yes     -        -       -
    unknown: one more in a row             yes    yes    yes      yes     yes
    unknown: pieces shrink                  -      -     yes      yes     yes

    * unless the failure before it told nothing new: then the search is at a loss, and each takeover waits
      for longer than the one before

Counters, who counts them, and when they begin anew:

    takeovers in a row   here (`_pauses`)          a durable cut that makes the next takeover soon
    cuts in a row        `isolation`               all that failed are durable; the search ends
    cuts alone           `isolation`               a durable cut has it, parked or not; a bare one fails;
                                                   its command is refused, or its event becomes a letter;
                                                   the search ends
    cuts of its own      `isolation`               one is durable (`apart`), or that it is parked; a bare
                                                   one fails; its event becomes a letter
    starts of a run      `starts`, in snapshots    the attempt ends; the shard is released in order
    pauses of a topic    `closed_topics`           a durable cut has written there

The owner (`shard`) holds one of these for its whole life; `cutting` says how each cut has ended.
tests/engine/test_takeover.py holds the table of cuts, test_counters.py that of counters.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import anyio
import anyio.lowlevel

from event_center.engine.backoff import Backoff
from event_center.engine.isolation import Isolation
from event_center.engine.kept import KeptShards
from event_center.engine.parts import Parts
from event_center.engine.plan import Plan
from event_center.engine.restoring import restore
from event_center.errors import FormatError
from event_center.failpoint import Step, reach
from event_center.log.port import Batch, Cut, Group, Lease, Log
from event_center.model import Shard, Token


class CutKind(Enum):
    """What a cut is, seen from the takeover before it."""

    WHOLE = "whole"
    """No workflow is searched for: everything that has happened."""
    BARE = "bare"
    """The first one in a search: the shard entry, and whom the takeover has parked."""
    COUNTING = "counting"
    """Not all that was found has begun again: it may hold nothing but the counts of that."""
    PIECE = "piece"
    """In a search: what came of a few records."""
    BETWEEN = "between"
    """In a search, without records: what came of runs, timers and jobs."""


class Takeovers:
    """What the takeovers of one shard know of each other."""

    def __init__(
        self, shard: Shard, log: Log, *, plan: Plan, kept: KeptShards, wake: Callable[[], None]
    ) -> None:
        self.isolation = Isolation(shard)
        self.restored = 0
        """Workflows restored so far by the takeover under way, for a progress bar."""
        self._shard = shard
        self._log = log
        self._plan = plan
        self._kept = kept
        self._wake = wake
        self._restoring = anyio.CancelScope()
        """The restore under way: nobody waits for the end of one that came to nothing."""
        self._pauses = Backoff()
        self._lived = False
        """Whether what was owed has gone on here before: then whoever ran it is this process, and lives."""

    def kind(self, parts: Parts) -> CutKind:
        """What the cut is that has just been built."""
        if parts.quarantine.active or parts.workflows.apart.resumes:
            return CutKind.COUNTING
        if not self.isolation.searching:
            return CutKind.WHOLE
        if not parts.resumed:
            return CutKind.BARE
        return CutKind.PIECE if parts.ledger.taken else CutKind.BETWEEN

    # -- taking over -------------------------------------------------------------------------------

    def pause_s(self) -> float:
        """How long to wait before the next takeover: longer each time."""
        return self._pauses.next_s()

    async def fence(self, group: Group, token: Token) -> Lease:
        """Steps 1 and 2: from then on nobody else writes the shard."""
        reach(Step.TAKEOVER_ASSIGNED)
        lease = await group.lease(self._shard, token)
        reach(Step.TAKEOVER_FENCED)
        return lease

    async def restore(self, lease: Lease, parts: Parts) -> None:
        """Steps 3 and 4, until `cancel`: fill the parts and open the gate."""
        self.restored = 0
        with anyio.CancelScope() as self._restoring:
            batches = lease.restore(self._kept.take(self._shard))
            try:
                async for count in restore(batches, parts, await self._log.topics(), self._plan):
                    self.restored += count
                    await anyio.lowlevel.checkpoint()  # for heartbeats, and for shards that serve
            except FormatError as error:
                where = f"shard {self._shard} of {self._log.where}"
                raise FormatError(f"{where}: {error}") from error
            reach(Step.TAKEOVER_RESTORED)
            await lease.open_gate(parts.entry.offsets)
            reach(Step.TAKEOVER_OPENED)

    def cancel(self) -> None:
        """The shard is to stop: a restore under way counts for nothing."""
        self._restoring.cancel()

    def begin(self, parts: Parts) -> None:
        """The shard is served from now on: what was owed and what waits goes on, in the order above."""
        self.isolation.forget_records()
        self.isolation.park(parts)
        parts.workflows.apart.whom = self.isolation.apart
        if self.isolation.searching:
            parts.ledger.asked()  # the bare cut
        else:
            self._go_on(parts)

    def _go_on(self, parts: Parts) -> None:
        parts.resume(crashed=not self._lived)
        self._lived = True

    # -- records -----------------------------------------------------------------------------------

    def take(self, parts: Parts, batch: Batch, *, cutting: bool) -> None:
        """Take a batch in; in a search a piece of it, and only if no cut is to be made before."""
        if not self.isolation.searching and not self.isolation.full:
            parts.take(batch)
            return
        self.isolation.leave_untaken(batch)
        if parts.ledger.clean and not cutting:
            self.take_more(parts)

    def take_more(self, parts: Parts) -> None:
        """The next piece, and those after it until there is something to cut; all if the search is over."""
        if not parts.resumed or parts.workflows.draining:
            return
        if parts.workflows.apart.waiting:
            self._wake()
            return
        if self.isolation.most == 1 and parts.quarantine.active:
            return
        while (piece := self.isolation.piece()) is not None:
            parts.take(piece)
            self._wake()
            if self.isolation.searching and not parts.ledger.clean:
                return

    # -- what a cut says ---------------------------------------------------------------------------

    def unknown(self, parts: Parts, cut: Cut, kind: CutKind) -> None:
        """Nobody knows whether this cut is durable, and no topic is to blame."""
        bare, about = kind is CutKind.BARE, parts.workflows.apart.about
        self.isolation.failed(cut, parts.ledger.taken, bare=bare, about=about)

    def durable(self, parts: Parts, cut: Cut, kind: CutKind) -> None:
        """This cut is durable; what it made so has been started."""
        apart, bare = parts.workflows.apart, kind is CutKind.BARE
        apart.answered = True
        if apart.about and not apart.resumes:
            self.isolation.clear(apart.about)
        if kind is CutKind.WHOLE or (bare and self.isolation.learned):
            self._pauses.reset()
        self.isolation.stands_still(cut)
        if kind is not CutKind.COUNTING:
            self.isolation.settled(cut, bare=bare, records=kind is CutKind.PIECE)
        if not parts.workflows.gone:
            parts.turn_again()
            if bare:
                self._go_on(parts)
            self.take_more(parts)

    def why_no_cut(self, parts: Parts) -> str:
        """Why no cut is taken; empty: one has settled since the takeover, or none was looked for."""
        if self.isolation.searching and not parts.resumed:
            return self.isolation.told
        return ""
