"""
Which workflow it is, if the cuts of a shard end Unknown again and again.

A commit of unknown end is followed by a takeover and another try, which is all that an outage needs. But
something in the cut may be why, and then no try ends well. So after `TIMES` in a row the shard is served
in small pieces: each takeover begins with a bare cut, which shows whether the log takes any. Records that
were in a cut that failed are in question. They are taken in a few at a time, fewer after each failure,
down to one; each piece of them that is durable makes the next one larger. Other records come as they are:
they say nothing of those, however many there are. If the cut of one workflow alone fails `TIMES` times,
each time after a bare cut that did not, that workflow is parked (`cut_failed`), and of one that does not
exist yet the event becomes a letter. A parked workflow is commanded too, so parking helps against no
command: it is refused, and only if a cut with that fails as well its workflow is parked. In an outage no
bare cut is durable: nobody is parked.

The result of a run may be what spoils, or a timer, and these come when they like: perhaps long after the
search has ended, and together. So the workflows of the cut that failed, once these or the pieces are few,
are apart: each end of a run and each timer of theirs has a cut of its own (`apart`), until one of
these is durable. If `TIMES` fail, the workflow is parked.

The search ends when nothing is in question, and everybody in the cut that failed last is durable, or
pieces are as large as the cut that it began with.
`takeover` hands batches in and takes pieces out, says how each cut ended, and has the order of all this.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from operator import attrgetter

import structlog

from event_center.engine.failing import say_parked
from event_center.engine.parts import Parts
from event_center.errors import FormatError
from event_center.log.ownership import offset_key
from event_center.log.port import Batch, Cut
from event_center.model import Failure, Position, Shard, Status
from event_center.wire.entries import is_snapshot, snapshot_key, workflow_of

log = structlog.get_logger()

TIMES = 3
"""Commits of unknown end in a row before one thinks of the cut: fewer happen to every log."""
SMALLER = 8
"""How many times smaller the next piece is: of 20,000 records five tries find the one."""

FEW = 64
"""
Workflows of a cut that are apart before pieces are of one: so many cuts take less than a second.
Once they are of one record nothing smaller is left, and all are, each for one cut: no more than a cut can
hold, which `cut_records`, `mailbox`, `callbacks` and the timers' `AT_ONCE` bound.
"""


class Isolation:
    """The search for what spoils the cuts of one shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self.most: int | None = None
        """Records in question that a cut may hold; None: nobody is searched for."""
        self.learned = False
        """Whether the last failure told anything of who it is: then another try is worth its takeover."""
        self._row = 0
        self._began_with = 0
        """So much was in the cut that began the search: records, or workflows if these were more."""
        self._in_question: dict[str, int] = {}
        """By source: the records before this offset were in a cut that failed (`ownership.offset_key`)."""
        self._failed: set[str] = set()
        """Workflows of the last cut that failed, those left out that have settled since."""
        self._alone: Counter[str] = Counter()
        """How often the cut of one workflow alone has failed."""
        self.apart: dict[str, int] = {}
        """Workflows whose runs and timers have cuts of their own (`apart`): how many of these failed."""
        self._spoiling: dict[str, Position | None] = {}
        """The record that was alone in the last cut of such a workflow, if it had one."""
        self._stuck_at: Position | None = None
        """The record that was alone in the last cut that failed, if no workflow was in it."""
        self._refusing: Position | None = None
        """The command that is refused since this takeover."""
        self._refused_at: dict[str, Position] = {}
        """Those of which a cut with the refusal has failed as well: their workflows are parked."""
        self._untaken: deque[Batch] = deque()
        self._piece: Batch | None = None
        """The last piece: what records the next cut has are in it."""
        self._tried = False
        """Whether the last piece was of records in question."""

    @property
    def searching(self) -> bool:
        """Whether cuts are kept small, to find who spoils them."""
        return self.most is not None

    @property
    def full(self) -> bool:
        """Whether there is enough to do without more records."""
        return bool(self._untaken)

    @property
    def told(self) -> str:
        """What is done about it, for who asks why nothing is durable."""
        if self._stuck_at is not None:
            return (
                f"commits of unknown end with the record at {self._stuck_at} alone, of no workflow"
            )
        return f"commits of unknown end, so cuts of up to {self.most} of the records that failed are tried"

    def forget_records(self) -> None:
        """The gate opens anew: what was left is delivered again."""
        self._untaken.clear()

    def failed(self, cut: Cut, records: int, *, bare: bool, about: str = "") -> None:
        """
        A cut with so many records ended Unknown; if not even a bare one goes through, nobody is why.

        `about`: the workflow that the cut was about, and nobody else, after one that did go through.
        """
        self._row += 1
        if bare:
            self._doubt()
            return
        workflows = [workflow_of(key) for key in cut.entries if is_snapshot(key)]
        self._failed, self._stuck_at = set(workflows), None
        before = self._found()
        if about in self.apart:
            self.apart[about] += 1
        if self.most is None:
            if self._row < TIMES:
                return
            self._began_with = self.most = max(records, len(workflows), 1)
        elif len(workflows) <= 1 and records <= 1:
            self._note(workflows, records)
        self.most = max(1, self.most // SMALLER)
        for source, offset in cut.offsets.items():
            self._in_question[source] = max(offset, self._in_question.get(source, 0))
        if self.most == 1 or len(workflows) <= FEW:
            counted = {one: times for one, times in self.apart.items() if times}
            self.apart = dict.fromkeys(workflows, 0) | counted
        self.learned = self._found() != before
        told = {"failed": workflows[:3], "at": str(self._stuck_at or "")}
        log.warning("cut.smaller", shard=self._shard, records=self.most, **told)

    def _doubt(self) -> None:
        """It was the log, and may have been it before: who failed alone is counted anew."""
        self._alone.clear()
        self._refused_at.clear()
        self.apart = dict.fromkeys(self.apart, 0)

    def _note(self, workflows: list[str], records: int) -> None:
        """A cut of one workflow or of none, and of one record or of none, has failed: whose, and which."""
        at = None
        if records and self._piece is not None:
            piece = self._piece
            at = Position(piece.topic, piece.partition, piece.records[0].offset)
        for workflow_id in workflows:
            self._alone[workflow_id] += 1
            self._spoiling[workflow_id] = at
            if at is not None and at == self._refusing:
                self._refused_at[workflow_id] = at
        self._stuck_at = None if workflows else at

    def _found(self) -> tuple[object, ...]:
        """What is known of who it is."""
        return self.most, dict(self._in_question), dict(self._alone), dict(self.apart)

    def settled(self, cut: Cut, *, bare: bool, records: bool) -> None:
        """This cut is durable: who is in it spoils nothing, and the next may be larger."""
        for workflow_id in [one for one in self._alone if snapshot_key(one) in cut.entries]:
            del self._alone[workflow_id]
        self._failed -= {one for one in self._failed if snapshot_key(one) in cut.entries}
        if self.most is None:
            if not self._failed:
                self._row = 0
        elif not bare:
            self._go_on(cut, self.most, records=records)

    def _go_on(self, cut: Cut, most: int, *, records: bool) -> None:
        """After a cut of a search: the next piece may be larger, or the search is over."""
        before = self._in_question.items()
        self._in_question = {one: end for one, end in before if cut.offsets.get(one, 0) < end}
        if records and (self._tried or not self._in_question):
            # No more than that: who is in question may never come, as after its topic was made anew.
            self.most = most = min(2 * most, self._began_with)
        if not self._in_question and (most >= self._began_with or not self._failed):
            self.most, self._row = None, 0
            self._alone.clear()
            self._spoiling.clear()
            self._refused_at.clear()

    def stands_still(self, cut: Cut) -> None:
        """A cut is durable: whoever was convicted and is in it has been parked, and is searched no more."""
        for workflow_id in self._convicted():
            if snapshot_key(workflow_id) in cut.entries:
                self._alone.pop(workflow_id, None)
                self.apart.pop(workflow_id, None)

    def _convicted(self) -> set[str]:
        """Who has failed alone often enough."""
        counted = [*self._alone.items(), *self.apart.items()]
        return {one for one, times in counted if times >= TIMES}

    def clear(self, workflow_id: str) -> None:
        """A cut about this workflow alone is durable: it spoils nothing."""
        self.apart.pop(workflow_id, None)

    def leave_untaken(self, batch: Batch) -> None:
        """Records wait until it is their turn."""
        self._untaken.append(batch)

    def piece(self) -> Batch | None:
        """Of one batch as many in question as the next cut may hold, or all of it if none are."""
        if not self._untaken:
            return None
        batch = self._untaken.popleft()
        source = offset_key(batch.topic, batch.partition, self._shard)
        end = self._in_question.get(source, 0) if self.searching else 0
        asked = bisect_left(batch.records, end, key=attrgetter("offset"))
        self._tried = asked > 0
        most = min(asked, self.most or 0) or len(batch.records)
        if len(batch.records) > most:
            self._untaken.appendleft(batch._replace(records=batch.records[most:]))
            batch = batch._replace(records=batch.records[:most])
        self._piece = batch
        return batch

    def park(self, parts: Parts) -> None:
        """Who has failed alone often enough stands still from now on; its events wait for it."""
        self._refusing = None
        for workflow_id in self._convicted():
            if self._refused(parts, workflow_id):
                continue
            try:
                snapshot = parts.workflows.live(workflow_id)
            except FormatError:  # `live` has noted it: it stands still already
                continue
            if snapshot is None or snapshot.status is Status.EXPECTED:
                self._alone.pop(workflow_id, None)
                self.apart.pop(workflow_id, None)
                log.error("cut.spoiled", shard=self._shard, workflow_id=workflow_id)
                parts.leave_unborn(workflow_id)
                continue
            message = (
                f"{TIMES} cuts with this workflow alone ended without an answer of the log, while others "
                "went through: look at what its next event does, and skip or retry it"
            )
            at_ms = parts.ledger.tick()
            snapshot.failure = Failure("cut", "Unknown", message, at_ms, TIMES)
            parts.turn.park(snapshot, "cut_failed", None)
            say_parked(snapshot, "cut", "")

    def _refused(self, parts: Parts, workflow_id: str) -> bool:
        """Whether it is a command that spoils its cuts: it is refused, and its workflow is as it was."""
        position = self._spoiling.pop(workflow_id, None)
        if self._alone[workflow_id] < TIMES or position is None:
            return False
        if position == self._refused_at.pop(workflow_id, None):
            return False  # not even the refusal went through, so it is not the command alone
        if not parts.refuse(position):
            return False
        self._refusing = position
        self._alone.pop(workflow_id)
        log.error("cut.spoiled", shard=self._shard, workflow_id=workflow_id)
        return True
