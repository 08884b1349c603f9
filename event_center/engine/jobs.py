"""
Jobs of one shard: what states invoke, beside the machine and for as long as they are active.

A job starts once the cut that owes it is durable and its workflow owes no entry callback. Nothing waits
for it: events are decided meanwhile. Leaving its state asks it to end, and its result counts for nothing
then, on record. Its end takes its turn like an event that came at that moment, and is decided in the cut
that marks the job done; so after a crash it runs again, with the same key. Heartbeats are in memory.

`entering` calls `entered`, effects and the parts `start`, commands the rest. A job's numbered steps are
those of `run`; its third, decided, is where its end has taken its turn.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from event_center.engine.attempt import CRASHED, anew, delay_ms, failure_of, has_failed
from event_center.engine.decider import Decider
from event_center.engine.failing import error_event, say_failed, say_parked
from event_center.engine.freedom import Freedom
from event_center.engine.job import AskingJobRun, JobKey, JobRun
from event_center.engine.ledger import Ledger
from event_center.engine.outbox import Outbox
from event_center.engine.plan import Plan
from event_center.engine.run import Pool, unsure
from event_center.engine.timers import Timers
from event_center.engine.upgrading import Upgrading
from event_center.engine.workflow import Waiting, Workflows, forget
from event_center.errors import Interrupted, PluginError
from event_center.failpoint import Step, reach
from event_center.machine.decision import DONE, ERROR, Transition
from event_center.machine.microstep import job_event
from event_center.model import Event, Failure, Owed, Snapshot
from event_center.plugins.job import JobContext
from event_center.wire import history

PACED_MS = 1_000
"""A job that took longer is no part of a circle that goes round for ever: time paces it."""


class Jobs:
    """Starts the jobs of one shard, ends them, and decides their results."""

    def __init__(
        self,
        plan: Plan,
        workflows: Workflows,
        ledger: Ledger,
        *,
        timers: Timers,
        outbox: Outbox,
        freedom: Freedom,
        runners: Pool,
        upgrading: Upgrading,
        decider: Decider,
    ) -> None:
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger
        self._timers = timers
        self._outbox = outbox
        self._upgrading = upgrading
        self._decider = decider
        self._freedom = freedom
        self._runners = runners
        self._ended: dict[JobKey, JobRun] = {}
        """Those whose end waits for its turn."""
        self.weight = 0
        """The bytes of their results."""
        self.waiting: set[JobKey] = set()
        """Those that wait for their next attempt."""

    # -- entering and leaving --------------------------------------------------------------------

    def entered(self, snapshot: Snapshot, event: Event, decision: Transition) -> None:
        """Jobs of the states that are left end; those of what is entered are owed."""
        if snapshot.jobs:
            self.give_up(snapshot, f"left by {event.name}", decision.left)
        if decision.jobs:
            seq = snapshot.seq
            snapshot.jobs += tuple(Owed(name, seq) for name in decision.jobs)
            snapshot.earlier = {**(snapshot.earlier or {}), seq: event}
            self._ledger.owes(snapshot)
            self._ledger.count_jobs(len(decision.jobs))

    def give_up(self, snapshot: Snapshot, why: str, left: frozenset[str] | None = None) -> None:
        """End these jobs, or all: they are asked to, and whatever they return counts for nothing."""
        rest: tuple[Owed, ...] = ()
        for owed in snapshot.jobs:
            if left is not None and owed.name not in left:
                rest = (*rest, owed)
                continue
            origin = f"run/{owed.seq}/{owed.name}/given_up"
            data = {"callback": owed.name, "attempt": owed.attempt, "seq": owed.seq, "job": True}
            data |= {"outcome": "given_up", "reason": why, "state": snapshot.state}
            self._ledger.tell(history.RUN, snapshot.workflow_id, origin, data)
            self._ledger.count_jobs(-1)
            self._leave((snapshot.workflow_id, owed.name))
        snapshot.jobs = rest
        forget(snapshot)

    def _taken_up(self, job_key: JobKey) -> JobRun | None:
        """Its end waits for its turn no more, if it did."""
        ended = self._ended.pop(job_key, None)
        if ended is not None:
            self.weight -= ended.weight
        return ended

    def _leave(self, job_key: JobKey) -> None:
        self.waiting.discard(job_key)
        ended, run = self._taken_up(job_key), self._workflows.jobs.get(job_key)
        if ended is not None:
            ended.left = True
            self.drop(ended, ended.value)
        elif isinstance(run, JobRun) and not run.left:
            run.left = True
            self._runners.cancel(run, Interrupted())

    def free(self, snapshot: Snapshot) -> None:
        """The last entry callback is done, and there may be jobs: they start after this cut."""
        forget(snapshot)
        if snapshot.jobs:
            self._ledger.owes(snapshot)

    # -- starting --------------------------------------------------------------------------------

    def start(self, snapshot: Snapshot) -> None:
        """Start the jobs of a workflow that are durable, due and not under way."""
        workflow_id, workflows = snapshot.workflow_id, self._workflows
        if snapshot is not workflows.by_id.get(workflow_id):
            # A large one became bytes in the cut that this comes after, and may have moved on meanwhile.
            now = workflows.live(workflow_id)
            if now is None:
                return
            snapshot = now
        if not self._freedom.works(snapshot):
            return
        for owed in snapshot.jobs:
            job_key = workflow_id, owed.name
            if job_key in workflows.jobs or job_key in self._ended:
                continue  # also while one of an earlier entry is ending: never two of one name at once
            if has_failed(owed):
                continue
            if owed.due_ms > self._ledger.now_ms:
                self.waiting.add(job_key)
                self._timers.look_at(workflow_id, owed.due_ms)
                continue
            if not self._submit(snapshot, owed, asked=False):
                return

    def _submit(self, snapshot: Snapshot, owed: Owed, *, asked: bool) -> bool:
        """Start a job, unless its machine knows it no more: then the workflow is parked."""
        machine = self._upgrading.machine_for(snapshot)
        try:
            job = None if machine is None else machine.job(snapshot.state, owed.name)
        except KeyError:
            job = None
        if job is None:
            self._decider.park(snapshot, "no_place", None)
            say_parked(snapshot, owed.name, "")
            self._ledger.wake()
            return False
        job_key = snapshot.workflow_id, owed.name
        context = JobContext(
            snapshot,
            (snapshot.earlier or {}).get(owed.seq) or Event(""),
            f"{snapshot.workflow_id}/{owed.seq}/{owed.name}",
            attempt=owed.attempt + 1,
            deadline_ms=self._ledger.now_ms + job.action.timeout_ms,
            topics=self._plan.publishable,
        )
        callback = self._plan.callback(snapshot, owed.name)
        if owed.starts and callback.reconcile is not None and not asked:
            run: JobRun = AskingJobRun(callback.reconcile, context, job)
        else:
            run = JobRun(callback, context, job)
        run.jobs, run.owed = self, owed
        run.submitted_ms = self._ledger.now_ms
        self.waiting.discard(job_key)
        self._workflows.jobs[job_key] = run
        self._runners.submit(run)
        return True

    def not_done(self, run: JobRun) -> None:
        """`reconcile` knows of no attempt: the job itself begins."""
        workflows, job_key = self._workflows, run.job_key
        if workflows.gone or workflows.jobs.get(job_key) is not run:
            return
        if run.left:
            self.ended(run, None, None)
            return
        del workflows.jobs[job_key]
        snapshot = workflows.live(job_key[0])
        self._ledger.tick()
        if snapshot is None or not self._freedom.goes_on(snapshot):
            self._ledger.wake()  # it is asked again when the workflow goes on
        else:
            self._submit(snapshot, run.owed, asked=True)

    # -- ending ----------------------------------------------------------------------------------

    def ended(self, run: JobRun, value: Any, error: BaseException | None) -> None:
        """A job has returned or raised, or is not waited for any longer."""
        workflows, job_key = self._workflows, run.job_key
        if workflows.gone or workflows.jobs.get(job_key) is not run:
            return
        apart = workflows.apart
        if not (apart.whom and apart.put_off(job_key[0], partial(self.ended, run, value, error))):
            self._ended_now(run, value, error)

    def _ended_now(self, run: JobRun, value: Any, error: BaseException | None) -> None:
        workflows, job_key = self._workflows, run.job_key
        del workflows.jobs[job_key]
        self._ledger.wake()  # a shard that is to stop waits for this
        snapshot = workflows.live(job_key[0])
        if snapshot is None:
            return
        if run.left and run.task is None:
            return  # it never began, and who leaves it is in the middle of a step
        self._ledger.tick()
        if run.left:
            self.drop(run, value)
            self.start(snapshot)  # one of its name may have waited for its end
            return
        if isinstance(error, Interrupted):
            return
        run.snapshot = snapshot
        closed = None if error is not None else self._outbox.published(run)
        if closed is not None:
            failure = closed.failure._replace(attempt=run.owed.attempt)
            say_failed(snapshot, failure, closed.due_ms - failure.at_ms, run.callback.file_line)
            self._again_at(run, failure, closed.due_ms)
            self._ledger.changed(snapshot)
            self._ledger.owes(snapshot)
            return
        if error is None:
            value = self._outbox.result(run, value)
            if isinstance(value, PluginError):
                error = value
        if error is None:
            origin = f"run/{run.owed.seq}/{run.owed.name}"
            now = self._ledger.now_ms
            event = Event(job_event(DONE, run.job), value, None, now, (), origin)
            run.value = value
            self._takes_its_turn(run, event, partial(self._end_well, run))
        else:
            self._failed(run, error)
        reach(Step.RUN_DECIDED)

    def _takes_its_turn(self, run: JobRun, event: Event, ends: Any) -> None:
        """The end of a job waits behind what came before it."""
        item = Waiting(event)
        item.asks = partial(self._asked, run, event)
        item.ends = ends
        self._ended[run.job_key] = run
        self.weight += run.weight
        self._workflows.mailbox(run.job_key[0]).queue.append(item)
        self._decider.advance(run.snapshot)

    def _asked(self, run: JobRun, event: Event, snapshot: Snapshot) -> bool:
        """Its turn has come: whether its event is to be decided; else all of it is dealt with here."""
        if run.left:
            return False
        if snapshot.loop and self._ledger.now_ms - run.submitted_ms >= PACED_MS:
            snapshot.loop = 0
            self._ledger.changed(snapshot)  # its event may be in decide for a while
        if self._plan.running(snapshot).has(snapshot.state, event.name):
            return True
        if run.failure is None:
            self._end_well(run)
        else:
            self._park(run, run.failure)
        return False

    def _end_well(self, run: JobRun) -> None:
        self._over(run)
        self._ledger.send(run.sends)
        self._tell(run, run.owed.attempt + 1, "done", {"reconciled": True} if run.asks else {})

    def _over(self, run: JobRun) -> None:
        """The workflow owes this job no longer."""
        snapshot = run.snapshot
        self._taken_up(run.job_key)
        snapshot.jobs = tuple(owed for owed in snapshot.jobs if owed != run.owed)
        self._ledger.count_jobs(-1)
        forget(snapshot)

    def _failed(self, run: JobRun, error: BaseException) -> None:
        """It failed: again later, whatever its workflow does; else that takes its turn."""
        snapshot, owed, attempt = run.snapshot, run.owed, run.owed.attempt + 1
        failure = failure_of(owed.name, error, self._ledger.now_ms, attempt)
        key = run.context.idempotency_key
        delay = delay_ms(run.job.action.retry, attempt, error, key)
        say_failed(snapshot, failure, delay, run.callback.file_line)
        if delay is None:
            run.failure = failure
            event = error_event(failure, f"{owed.seq}/{owed.name}", job_event(ERROR, run.job))
            self._takes_its_turn(run, event, partial(self._end_badly, run, failure))
            return
        self._again_at(run, failure, failure.at_ms + delay)
        more = {"error": failure.type, "message": failure.message, "again_in_ms": delay}
        self._tell(run, attempt, "failed", more)
        # The count of attempts has to be durable before the next one starts.
        self._ledger.owes(snapshot)

    def _again_at(self, run: JobRun, failure: Failure, due_ms: int) -> None:
        snapshot = run.snapshot
        again = run.owed._replace(attempt=failure.attempt, due_ms=due_ms, starts=unsure(run))
        snapshot.jobs = tuple(again if owed == run.owed else owed for owed in snapshot.jobs)
        snapshot.failure = failure

    def _end_badly(self, run: JobRun, failure: Failure) -> None:
        self._over(run)
        more = {"error": failure.type, "message": failure.message}
        self._tell(run, failure.attempt, "failed", more)

    def _park(self, run: JobRun, failure: Failure) -> None:
        """Nobody hears of the failure: the workflow stands still, and owes the job still."""
        self._taken_up(run.job_key)
        self._again_at(run, failure, 0)
        more = {"error": failure.type, "message": failure.message}
        self._tell(run, failure.attempt, "failed", more)
        self._decider.park(run.snapshot, "failed", None)
        say_parked(run.snapshot, run.owed.name, run.callback.file_line)

    def drop(self, run: JobRun, value: Any) -> None:
        """What came too late counts for nothing: history says so."""
        snapshot = None
        if value is not None and not self._workflows.gone:
            snapshot = self._workflows.live(run.job_key[0])
        if snapshot is not None:
            run.snapshot = snapshot
            self._tell(run, run.owed.attempt + 1, "dropped", {})
            self._ledger.wake()

    def _tell(self, run: JobRun, attempt: int, outcome: str, more: dict[str, Any]) -> None:
        """The history record of one attempt."""
        owed, context, ledger = run.owed, run.context, self._ledger
        data: dict[str, Any] = {
            "machine": context.machine,
            "version": run.snapshot.version,
            "seq": owed.seq,
            "state": context.state,
            "callback": owed.name,
            "job": True,
            "key": context.idempotency_key,
            "attempt": attempt,
            "outcome": outcome,
            **more,
        }
        if outcome == "dropped":
            origin = f"run/{owed.seq}/{owed.name}/dropped"
            ledger.changed(run.snapshot)
        else:
            origin = f"run/{owed.seq}/{owed.name}/{attempt}"
            ledger.ran(run.snapshot)
        ledger.tell(history.RUN, context.workflow_id, origin, data)

    # -- what operators ask for ------------------------------------------------------------------

    def that_failed(self, snapshot: Snapshot) -> frozenset[str]:
        """The jobs that have failed: for good, or until their next attempt."""
        failed = {owed.name for owed in snapshot.jobs if owed.attempt}
        id_ = snapshot.workflow_id
        busy = {name for name in failed if (id_, name) in self._workflows.jobs}
        return frozenset(failed - busy - {name for name in failed if (id_, name) in self._ended})

    @staticmethod
    def lost(snapshot: Snapshot) -> frozenset[str]:
        """The jobs that have failed for good, or end their process each time: they park their workflow."""
        return frozenset(
            owed.name for owed in snapshot.jobs if has_failed(owed) or owed.starts >= CRASHED
        )

    @staticmethod
    def again(snapshot: Snapshot, names: frozenset[str]) -> None:
        """These begin anew, with all their attempts."""
        snapshot.jobs = tuple(anew(owed) if owed.name in names else owed for owed in snapshot.jobs)

    @staticmethod
    def ending(snapshot: Snapshot, event_name: str) -> frozenset[str]:
        """The job whose end this event is, if it is one's."""
        return frozenset(
            owed.name for owed in snapshot.jobs if event_name.endswith(f"/@{owed.name}")
        )
