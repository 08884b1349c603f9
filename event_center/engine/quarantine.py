"""
Runs that may have ended their process: counted before they begin again, then kept alone, then parked.

What a takeover finds without a result may have been under way when the process before it ended, and may
be why. So it begins again only once a cut has counted that (`starts`). From `SUSPECT` takeovers on it
runs alone in its shard: nothing else runs beside it, while events are decided as ever. `CRASHED` of them
park its workflow.

The parts submit their runs through the doors of this. A door is open, and costs nothing, but for the
beginning of a takeover; `parts` shuts it in `resume` and says in `settled` when a cut is durable.

Steps after a takeover that has found something:
    1. found: all that `resume` submits is held at the doors
    2. suspects, those that were counted least often first: counted, cut, run alone
    3. the others: counted, cut, run side by side; the doors open
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from event_center.engine.attempt import CRASHED, failure_of
from event_center.engine.deciding import DecideRun
from event_center.engine.failing import say_parked
from event_center.engine.job import JobRun
from event_center.engine.ledger import Ledger
from event_center.engine.run import Pool, Run
from event_center.engine.starts import StartCounts, owed_by
from event_center.engine.turn import Turn
from event_center.engine.waiting import attempts
from event_center.engine.workflow import Workflows
from event_center.errors import Crashed
from event_center.wire import history

log = structlog.get_logger()

SUSPECT = 3
"""From so many takeovers on a run is alone: a deploy and a power cut can meet the same run by chance."""
ALONE_S = 10.0
"""How long others wait for a run that is alone: what ends a process does so soon, and a job may last."""


class Door:
    """Before a pool of runners: open, runs go in; shut, they are held for who has shut it."""

    __slots__ = ("pool", "submit")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.submit: Callable[[Run], None] = pool.submit

    def cancel(self, run: Run, why: BaseException) -> None:
        """End a run early, also one that is held."""
        self.pool.cancel(run, why)


class Quarantine:
    """Keeps the suspects of one shard apart after its takeover."""

    def __init__(
        self,
        workflows: Workflows,
        ledger: Ledger,
        starts: StartCounts,
        *,
        runners: Pool,
        jobs: Pool,
    ) -> None:
        self._workflows = workflows
        self._ledger = ledger
        self._starts = starts
        self.door, self.job_door = Door(runners), Door(jobs)
        self._doors = self.door, self.job_door
        self._found: list[tuple[Door, Run]] = []
        self._suspects: deque[tuple[Door, Run]] = deque()
        self._others: list[tuple[Door, Run]] = []
        self._later: list[tuple[Door, Run, float]] = []
        """What was submitted while a suspect had its turn, and when."""
        self._deciding: list[tuple[Door, Run]] = []
        """Events in decide that are counted, and go on once that is durable."""
        self._turn_of: Run | None = None
        """The suspect that has its turn, as it was found."""
        self._alone: Run | None = None
        """The same, under way."""
        self.active = False

    # -- what a takeover finds -------------------------------------------------------------------

    def shut(self, *, crashed: bool) -> None:
        """Hold what is submitted from now on; `crashed`: whoever ran it before may have died of it."""
        for door in self._doors:
            self._hold(door, self._found.append)
        self._starts.begin(crashed=crashed)

    def begin(self, turn: Turn) -> None:
        """All that the takeover found is held: `turn` parks what has crashed, the rest begins in order."""
        found, self._found = self._found, []
        suspects: list[tuple[int, Door, Run]] = []
        for door, run in found:
            count = self._starts.of(run)
            if count >= CRASHED:
                self._park(run, count, turn)
            elif count >= SUSPECT:
                suspects.append((count, door, run))
            else:
                self._others.append((door, run))
        suspects.sort(key=lambda one: one[0])
        self._suspects.extend((door, run) for _, door, run in suspects)
        self.active = bool(found)
        for door in self._doors:
            self._hold(door, self._wait)
        self._next()

    @staticmethod
    def _hold(door: Door, take: Callable[[tuple[Door, Run]], None]) -> None:
        door.submit = lambda run: take((door, run))

    def _park(self, run: Run, count: int, turn: Turn) -> None:
        """It has met so many takeovers that nobody begins it once more but an operator."""
        snapshot, name = self._starts.snapshot_of(run), run.callback.name
        error = Crashed(
            f"{count} takeovers in a row have found {name!r} without a result: its process seems to end "
            "while it runs. Mend it, then retry; or skip it"
        )
        if isinstance(run, DecideRun):
            hearing = run.hearing
            attempt = attempts(snapshot, hearing.event, hearing.item) + 1
            self._discard(run)
            self._workflows.mailbox(snapshot.workflow_id).deciding = None
            self._starts.put(run, count)
            failure = failure_of(name, error, self._ledger.now_ms, attempt)
            where = run.callback.file_line
            turn.failing.park(
                snapshot, hearing.event, hearing.item, failure, why="crashed", where=where
            )
            return
        owed = owed_by(run)
        self._discard(run)
        self._starts.put(run, count)
        failure = failure_of(name, error, self._ledger.now_ms, owed.attempt + 1)
        snapshot.failure = failure
        self._tell(run, failure.message)
        turn.park(snapshot, "crashed", None)
        say_parked(snapshot, name, run.callback.file_line)

    def _tell(self, run: Run, message: str) -> None:
        owed, snapshot = owed_by(run), self._starts.snapshot_of(run)
        data = {
            "machine": snapshot.machine,
            "version": snapshot.version,
            "seq": owed.seq,
            "state": snapshot.state,
            "callback": owed.name,
            "key": run.context.idempotency_key,
            "attempt": owed.attempt + 1,
            "outcome": "crashed",
            "message": message,
        }
        if isinstance(run, JobRun):
            data["job"] = True
        origin = f"run/{owed.seq}/{owed.name}/{owed.attempt + 1}/crashed"
        self._ledger.tell(history.RUN, snapshot.workflow_id, origin, data)

    # -- one after another -----------------------------------------------------------------------

    def settled(self) -> None:
        """A cut is durable: what it counted may begin, and the next one if a suspect is over."""
        if self._workflows.draining:
            return
        deciding, self._deciding = self._deciding, []
        for door, run in deciding:
            if self._ledger.promised(run.context.workflow_id):
                self._deciding.append((door, run))
            elif not self._over(run):
                self._enter(door, run)
        turn_of = self._turn_of
        if turn_of is None:
            self.active = bool(self._deciding)
        elif self._alone is not None:
            if self._alone.over:
                self._next()
        elif not self._ledger.promised(turn_of.context.workflow_id):
            self._next()  # it was given up meanwhile, or its workflow was stopped

    def _next(self) -> None:
        """The next suspect has its turn; after the last one all others, and the doors open."""
        self._turn_of = self._alone = None
        while self._suspects:
            door, run = self._suspects.popleft()
            if not self._over(run):
                self._turn_of = run
                log.warning(
                    "run.alone",
                    workflow_id=run.context.workflow_id,
                    callback=run.callback.name,
                    starts=self._starts.of(run),
                    where=run.callback.file_line,
                )
                self._count(door, run)
                return
        for door in self._doors:
            door.submit = door.pool.submit
        if self.active and not self._others:  # a cut ends this: what waits for it has to go on
            self._ledger.asked()
            self._ledger.wake()
        for door, run in self._others:
            if not self._over(run):
                self._count(door, run)
        now = asyncio.get_running_loop().time()
        for door, run, since in self._later:
            run.context.deadline_ms += round((now - since) * 1000)
            door.submit(run)
        self._others, self._later = [], []

    def _count(self, door: Door, run: Run) -> None:
        """Count that it begins again, in the next cut; it begins after that."""
        self._starts.count(run)
        if isinstance(run, DecideRun):
            self._deciding.append((door, run))
        else:
            self._discard(run)  # it is submitted anew, when it is durable that it may have happened
        self._ledger.owes(self._starts.snapshot_of(run))
        self._ledger.wake()

    def _wait(self, submitted: tuple[Door, Run]) -> None:
        """A suspect has its turn: it goes in, and what else is submitted waits."""
        door, run = submitted
        if self._has_its_turn(run):
            self._enter(door, run)
        else:
            self._later.append((door, run, asyncio.get_running_loop().time()))

    def _has_its_turn(self, run: Run) -> bool:
        """Whether this is of the suspect: its run, what asks about it, or its event's next callback."""
        turn_of = self._turn_of
        if isinstance(turn_of, DecideRun) and isinstance(run, DecideRun):
            return run.hearing is turn_of.hearing
        return (
            turn_of is not None and run.context.idempotency_key == turn_of.context.idempotency_key
        )

    def _enter(self, door: Door, run: Run) -> None:
        """It begins; if it is alone, others wait no longer than their time."""
        if self._has_its_turn(run):
            self._alone = run
            asyncio.get_running_loop().call_later(ALONE_S, self._long_enough, run)
        door.pool.submit(run)

    def _long_enough(self, run: Run) -> None:
        if self._alone is run and not self._workflows.draining:
            self._next()

    def _over(self, run: Run) -> bool:
        """Whether a run that is held has been given up, or its workflow removed."""
        return run.over or run.context.workflow_id not in self._workflows.by_id

    def _discard(self, run: Run) -> None:
        """This object is not run; what it stands for may be."""
        run.over = True
        if isinstance(run, JobRun):
            self._workflows.jobs.pop(run.job_key, None)
        else:
            self._workflows.runs.pop(run.context.workflow_id, None)
