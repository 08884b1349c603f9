"""
Runs that may have ended their process: counted before they begin again, then told apart, then parked.

What a takeover finds without a result may have been under way when the process before it ended, and may
be why. So it begins again only once a cut has counted that (`starts`). From `SUSPECT` takeovers on it is a
suspect: it begins with fewer and fewer others, at last alone. Who has `CRASHED` of them and more than
anybody else parks its workflow.

How they are told apart: suspects begin in groups, each half of those that are left, those that were counted
least often first. The next group begins when all of the one before have ended, or have lasted for its time.
A process that ends counts for those that had begun, so whoever comes last is counted less often the next
time, or is why. The time doubles with the greatest count: in the end it is longer than it takes to end a
process, up to `LONGEST_S`.

Nothing else runs beside the first suspects; what is no suspect waits `ALONE_S` at most, events are decided
as ever. The parts submit their runs through the doors of this. A door is open, and costs nothing, but for
the beginning of a takeover; `parts` shuts it in `resume` and says in `settled` when a cut is durable.

Steps after a takeover that has found something:
    1. found: all that `resume` submits waits at the doors
    2. suspects, group by group: counted, cut, run
    3. the others, when the suspects have ended or lasted: counted, cut, run side by side
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
"""From so many takeovers on a run is suspect: a deploy and a power cut can meet the same run by chance."""
ALONE_S = 10.0
"""How long others wait for suspects, and how long the first ones are watched: most end a process soon."""

LONGEST_S = 3_600.0
"""
The longest time of a group, which twelve takeovers come to. A service is deployed too often for longer
ones: the search would begin again before its last group. Whatever ends its process later is told apart
by its count alone.
"""
HOPELESS = 2 * CRASHED
"""From so many on all that were counted as often are parked: they can not be told apart."""


class Door:
    """Before a pool of runners: open, runs go in; shut, they wait for who has shut it."""

    __slots__ = ("pool", "submit")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.submit: Callable[[Run], None] = pool.submit

    def cancel(self, run: Run, why: BaseException) -> None:
        """End a run early, also one that waits."""
        self.pool.cancel(run, why)


class Suspect:
    """A run that many takeovers have found."""

    __slots__ = ("count", "door", "found", "run")

    def __init__(self, door: Door, found: Run, count: int) -> None:
        self.door = door
        self.found = found
        """As the takeover has found it: this object is not run."""
        self.count = count
        self.run: Run | None = None
        """The same, under way."""

    def stands_for(self, run: Run) -> bool:
        """Whether this is of the suspect: its run, what asks about it, or its event's next callback."""
        found = self.found
        if isinstance(found, DecideRun) and isinstance(run, DecideRun):
            return run.hearing is found.hearing
        return run.context.idempotency_key == found.context.idempotency_key


class Quarantine:
    """Tells the suspects of one shard apart after its takeover."""

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
        self._suspects: deque[Suspect] = deque()
        """Those that have not begun."""
        self._turn_of: list[Suspect] = []
        """The group that has its turn."""
        self._time_s = ALONE_S
        self._others: list[tuple[Door, Run]] = []
        self._later: list[tuple[Door, Run, float]] = []
        """What was submitted while the others had to wait, and when."""
        self._deciding: list[tuple[Door, Run]] = []
        """Events in decide that are counted, and go on once that is durable."""
        self.active = False
        """Whether others than suspects wait."""

    @property
    def watching(self) -> bool:
        """Whether something waits, or a group has its turn."""
        return self.active or bool(self._turn_of or self._deciding)

    @property
    def waiting(self) -> int:
        """How many runs wait here."""
        return len(self._suspects) + len(self._others) + len(self._later)

    # -- what a takeover finds -------------------------------------------------------------------

    def shut(self, *, crashed: bool) -> None:
        """What is submitted from now on waits; `crashed`: whoever ran it before may have died of it."""
        for door in self._doors:
            self._lead(door, self._found.append)
        self._starts.begin(crashed=crashed)

    def begin(self, turn: Turn) -> None:
        """All that the takeover found waits: `turn` parks what has crashed, the rest begins in order."""
        found, self._found = self._found, []
        suspects: list[Suspect] = []
        for door, run in found:
            count = self._starts.of(run)
            if count >= SUSPECT:
                suspects.append(Suspect(door, run, count))
            else:
                self._others.append((door, run))
        greatest = max((one.count for one in suspects), default=SUSPECT)
        worst = [one for one in suspects if one.count == greatest]
        if greatest >= CRASHED and (len(worst) == 1 or greatest >= HOPELESS):
            for one in worst:
                suspects.remove(one)
                self._park(one.found, one.count, turn)
        greatest = max((one.count for one in suspects), default=SUSPECT)
        self._time_s = min(ALONE_S * 2.0 ** (greatest - SUSPECT), LONGEST_S)
        self._suspects.extend(sorted(suspects, key=lambda one: one.count))
        self.active = bool(found)
        for door in self._doors:
            self._lead(door, self._wait)
        if suspects:
            asyncio.get_running_loop().call_later(ALONE_S, self._let_others)
        self._next()

    def late(self, resume: Callable[[], None]) -> None:
        """One workflow goes on after all others: what it submits the takeover has found as well."""
        passed = [door.submit for door in self._doors]
        for door in self._doors:
            self._lead(door, self._found.append)
        resume()
        for door, submit in zip(self._doors, passed, strict=True):
            door.submit = submit
        found, self._found = self._found, []
        for door, run in found:
            self._count(door, run)

    @staticmethod
    def _lead(door: Door, take: Callable[[tuple[Door, Run]], None]) -> None:
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
        """A cut is durable: what it counted may begin, and the next group if this one has ended."""
        if self._workflows.draining:
            return
        deciding, self._deciding = self._deciding, []
        for door, run in deciding:
            if self._ledger.promised(run.context.workflow_id):
                self._deciding.append((door, run))
            elif not self._over(run):
                self._enter(door, run)
        if self._turn_of:
            if all(map(self._has_ended, self._turn_of)):
                self._next()
        elif not (self._suspects or self._others or self._later):
            self.active = False

    def _has_ended(self, one: Suspect) -> bool:
        """It is over, or it was given up, or its workflow was stopped, before it began."""
        if one.run is not None:
            return one.run.over
        return not self._ledger.promised(one.found.context.workflow_id)

    def _next(self) -> None:
        """The next group has its turn; after the last one all others."""
        waiting = [one for one in self._suspects if not self._over(one.found)]
        self._suspects = deque(waiting)
        half = min(len(waiting), max(1, len(waiting) // 2))
        self._turn_of = [self._suspects.popleft() for _ in range(half)]
        for one in self._turn_of:
            log.warning(
                "run.suspect",
                workflow_id=one.found.context.workflow_id,
                callback=one.found.callback.name,
                starts=one.count,
                beside=len(self._turn_of) - 1,
                where=one.found.callback.file_line,
            )
            self._count(one.door, one.found)
        if self._turn_of:
            return
        self._let_others()
        for door in self._doors:
            door.submit = door.pool.submit

    def _let_others(self) -> None:
        """What is no suspect has waited long enough, or there is none."""
        if not self.active or self._workflows.draining:
            return
        for door in self._doors:
            self._lead(door, self._pass)
        if not self._others:  # a cut ends this: what waits for it has to go on
            self._ledger.asked()
            self._ledger.wake()
        for door, run in self._others:
            if not self._over(run):
                self._count(door, run)
        now = asyncio.get_running_loop().time()
        later, self._others, self._later = self._later, [], []
        for door, run, since in later:
            run.context.deadline_ms += round((now - since) * 1000)
            door.submit(run)

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
        """A group has its turn, and what else is submitted waits."""
        door, run = submitted
        if any(one.stands_for(run) for one in self._turn_of):
            self._enter(door, run)
        else:
            self._later.append((door, run, asyncio.get_running_loop().time()))

    def _pass(self, submitted: tuple[Door, Run]) -> None:
        """Suspects have their turn beside all others."""
        self._enter(*submitted)

    def _enter(self, door: Door, run: Run) -> None:
        """It begins; if it is the first of its group, the time of that begins."""
        for one in self._turn_of:
            if one.stands_for(run):
                if all(other.run is None for other in self._turn_of):
                    loop = asyncio.get_running_loop()
                    loop.call_later(self._time_s, self._long_enough, self._turn_of)
                one.run = run
        door.pool.submit(run)

    def _long_enough(self, group: list[Suspect]) -> None:
        """Some of the group last; the next one begins beside them."""
        if self._turn_of is group and not self._workflows.draining:
            self._next()

    def _over(self, run: Run) -> bool:
        """Whether a run that waits has been given up, or its workflow removed."""
        return run.over or run.context.workflow_id not in self._workflows.by_id

    def _discard(self, run: Run) -> None:
        """This object is not run; what it stands for may be."""
        run.over = True
        if isinstance(run, JobRun):
            self._workflows.jobs.pop(run.job_key, None)
        else:
            self._workflows.runs.pop(run.context.workflow_id, None)
