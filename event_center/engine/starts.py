"""
How often takeovers have found a run without a result: the count of each, in its workflow's snapshot.

`starts` of an owed run or job, `deciding_starts` of an event whose callbacks are awaited. A takeover that
follows a crash counts one more (`count`): durable with the next cut, before the run begins again. It is 1
at least for whatever may have been under way, so that `reconcile` is asked. The count goes with the end of
an attempt, whatever it was (`attempt`, `undecided`), and a shard that is released in order takes back what
its takeover has counted. `quarantine` says what follows from a count; `cutting` asks for the taking back.
"""

from __future__ import annotations

from event_center.engine.attempt import has_failed
from event_center.engine.deciding import DecideRun
from event_center.engine.effect import EffectRun
from event_center.engine.freedom import Freedom
from event_center.engine.job import JobRun
from event_center.engine.ledger import Ledger
from event_center.engine.run import Run
from event_center.engine.workflow import Workflows
from event_center.errors import InvariantError
from event_center.model import Owed, Snapshot

RunKey = tuple[str, str, int, int]
"""A workflow and its run: callback, seq and attempt; of an event in decide the empty name, 0 and 0."""


class StartCounts:
    """Counts, for one shard, what its takeover has found."""

    def __init__(self, workflows: Workflows, ledger: Ledger, freedom: Freedom) -> None:
        self._workflows = workflows
        self._ledger = ledger
        self._freedom = freedom
        self._crashed = False
        self._counted: dict[RunKey, int] = {}
        """What this takeover has counted, and to which number."""

    def begin(self, *, crashed: bool) -> None:
        """A takeover begins to look; `crashed`: whoever ran what it finds may have died of it."""
        self._crashed = crashed
        for workflow in self._workflows.by_id.values():
            if isinstance(workflow, Snapshot) and (workflow.owed or workflow.jobs):
                self._note_stopped(workflow)

    def of(self, run: Run) -> int:
        """How many takeovers have found this run, this one included if it counts."""
        deciding = isinstance(run, DecideRun)
        known = self.snapshot_of(run).deciding_starts if deciding else owed_by(run).starts
        return known + 1 if self._crashed else max(known, 1)

    def count(self, run: Run) -> None:
        """This takeover has found it: durable with the next cut."""
        count = self.of(run)
        self.put(run, count)
        if self._crashed:
            self._counted[_key(run)] = count
        self._ledger.changed(self.snapshot_of(run))

    def put(self, run: Run, count: int) -> None:
        """So many takeovers have found it."""
        snapshot = self.snapshot_of(run)
        if isinstance(run, DecideRun):
            snapshot.deciding_starts = count
        else:
            owed = owed_by(run)
            _replace(snapshot, owed, owed._replace(starts=count))

    def take_back(self) -> None:
        """The shard is released in order: whoever takes it over next did not find a crash."""
        for (workflow_id, name, seq, attempt), count in self._counted.items():
            snapshot = self._workflows.live(workflow_id)
            if snapshot is None:
                continue
            if not name:
                if snapshot.deciding_starts == count:
                    snapshot.deciding_starts -= 1
                    self._ledger.changed(snapshot)
                continue
            was = (name, seq, attempt, count)
            for owed in (*snapshot.owed, *snapshot.jobs):
                if (owed.name, owed.seq, owed.attempt, owed.starts) == was:
                    _replace(snapshot, owed, owed._replace(starts=count - 1))
                    self._ledger.changed(snapshot)

    def snapshot_of(self, run: Run) -> Snapshot:
        """The workflow of a run that waits at a door; while only jobs do, it may have become bytes."""
        snapshot = self._workflows.live(run.context.workflow_id)
        if snapshot is None:
            raise InvariantError(f"{run.context.idempotency_key} waits, and its workflow is gone")
        return snapshot

    def _note_stopped(self, snapshot: Snapshot) -> None:
        """What does not begin now may have been under way all the same: `reconcile` is asked of it."""
        now = self._ledger.now_ms
        owed, first = snapshot.owed, snapshot.owed[:1]
        if self._freedom.stopped(snapshot):
            owed = (*(_unsure(one, now) for one in first), *owed[1:])
            jobs = tuple(_unsure(job, now) for job in snapshot.jobs)
        elif first:  # jobs of states that stay wait for the entry callbacks of a new one
            before = first[0].seq
            jobs = tuple(_unsure(job, now) if job.seq < before else job for job in snapshot.jobs)
        else:
            return
        if (owed, jobs) != (snapshot.owed, snapshot.jobs):
            snapshot.owed, snapshot.jobs = owed, jobs
            self._ledger.changed(snapshot)


def owed_by(run: Run) -> Owed:
    """What an entry callback or a job was started for."""
    if isinstance(run, EffectRun | JobRun):
        return run.owed
    raise InvariantError(f"{run!r} is not owed: an event in decide is counted in its snapshot")


def _key(run: Run) -> RunKey:
    if isinstance(run, DecideRun):
        return run.context.workflow_id, "", 0, 0
    owed = owed_by(run)
    return run.context.workflow_id, owed.name, owed.seq, owed.attempt


def _replace(snapshot: Snapshot, owed: Owed, other: Owed) -> None:
    """`other` takes the place of what was owed."""
    snapshot.owed = tuple(other if one == owed else one for one in snapshot.owed)
    snapshot.jobs = tuple(other if one == owed else one for one in snapshot.jobs)


def _unsure(owed: Owed, now_ms: int) -> Owed:
    """What is owed, as something that may have been under way."""
    if owed.starts or has_failed(owed) or owed.due_ms > now_ms:
        return owed
    return owed._replace(starts=1)
