"""
Effects of one shard: the runs that entered states owe, their results, retries and giving up.

A run starts once the cut that owes it is durable (an eager one with its accept), one after another per
workflow. Its result is decided in the cut that marks it done, so that after a crash either both are
there or the run happens again with the same key. Attempts are counted in the snapshot.

`cutting` starts what a cut has made durable, the turn the eager ones; `run` says how each ended.
A run's numbered steps are those of `run`; its third, decided, is the end of `_decided` here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from event_center import failpoint
from event_center.engine.attempt import delay_ms, failure_of
from event_center.engine.decider import Decider
from event_center.engine.failing import error_event, say_failed, say_parked, say_unknown
from event_center.engine.freedom import Freedom
from event_center.engine.jobs import Jobs
from event_center.engine.ledger import Ledger
from event_center.engine.outbox import Outbox, Postponed
from event_center.engine.plan import Plan
from event_center.engine.run import Pool, Run, unsure
from event_center.engine.timers import Timers
from event_center.engine.upgrading import Upgrading
from event_center.engine.workflow import Workflows
from event_center.errors import Interrupted, PluginError
from event_center.failpoint import Step
from event_center.machine.decision import Action
from event_center.model import ACTIVE, Event, Failure, Owed, Snapshot, Status
from event_center.plugins.callbacks import DONE
from event_center.plugins.context import Context
from event_center.plugins.signatures import Callback
from event_center.wire import history

DECIDED, RETRYING = Step.RUN_DECIDED, Status.RETRYING
"""Looked up once: to read a member of an enumeration costs as much as a call."""

Known = tuple[Action, Callback, str | None, float]
"""What the machine says of an owed run, who does it, the event of `on_done` of its state, its seconds."""


class Effects:
    """Starts the owed runs of one shard and decides their results."""

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
        job_runners: Pool,
        upgrading: Upgrading,
        decider: Decider,
    ) -> None:
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger
        self.jobs = Jobs(
            plan,
            workflows,
            ledger,
            timers=timers,
            outbox=outbox,
            freedom=freedom,
            runners=job_runners,
            upgrading=upgrading,
            decider=decider,
        )
        self._timers = timers
        self._outbox = outbox
        self._upgrading = upgrading
        self._decider = decider
        self._freedom = freedom
        self._runners = runners
        self._known: dict[tuple[str, int, str, str], Known] = {}
        """By machine, version, state and callback: looked up once."""
        self.eager = frozenset(
            name for name, machine in plan.machines.items() if machine.eager
        ) | frozenset(name for (name, _), one in plan.older.items() if one.machine.eager)

    def start(self, snapshot: Snapshot) -> None:
        """
        Start what the workflow owes, if it is durable, due and nothing else is under way.

        Its jobs come after the last entry callback.
        """
        if not snapshot.owed:
            if snapshot.jobs:
                self.jobs.start(snapshot)
            return
        if not self._freedom.runs(snapshot):
            return
        owed = snapshot.owed[0]
        if owed.due_ms > self._ledger.now_ms:
            self._timers.look_at(snapshot.workflow_id, owed.due_ms)
            return
        known = self._known.get((snapshot.machine, snapshot.version, snapshot.state, owed.name))
        if known is None:
            known = self._look_up(snapshot, owed)
        if known is None:
            self._decider.park(snapshot, "no_place", None)
            say_parked(snapshot, owed.name, "")
            self._ledger.wake()
        else:
            self._submit(snapshot, owed, known)

    def start_eager(self, snapshot: Snapshot) -> None:
        """A run that tolerates a phantom starts with the accept, before the transition is durable."""
        if not self._freedom.goes_on(snapshot):
            return
        owed = snapshot.owed[0]
        known = self._look_up(snapshot, owed)
        if known is not None and known[0].eager:
            self._submit(snapshot, owed, known)

    def _look_up(self, snapshot: Snapshot, owed: Owed) -> Known | None:
        """What is known of an owed run; None if its machine knows it no more."""
        machine = self._upgrading.machine_for(snapshot)
        if machine is None:
            return None
        try:
            action = machine.effect(snapshot.state, owed.name)
        except KeyError:
            return None
        callback = self._plan.callback(snapshot, owed.name)
        done = machine.done_event(snapshot.state, (owed,))
        known = action, callback, done, action.timeout_ms / 1000
        self._known[snapshot.machine, snapshot.version, snapshot.state, owed.name] = known
        return known

    def _submit(self, snapshot: Snapshot, owed: Owed, known: Known, *, asked: bool = False) -> None:
        action, callback, done, timeout_s = known
        cause = (snapshot.earlier and snapshot.earlier.get(owed.seq)) or snapshot.cause or Event("")
        context = Context(snapshot, cause, owed, self._plan.publishable)
        # Set here: to give a class its arguments by name costs half as much again.
        context.attempt = owed.attempt + 1
        context.deadline_ms = self._ledger.now_ms + action.timeout_ms
        if owed.starts and callback.reconcile is not None and not asked:
            run: EffectRun = AskingRun(callback.reconcile, context, timeout_s)
        else:
            run = EffectRun(callback, context, timeout_s)
        run.effects = self
        run.snapshot = snapshot
        run.owed = owed
        run.action = action
        if done is not None and len(snapshot.owed) > 1:
            done = self._plan.running(snapshot).done_event(snapshot.state, snapshot.owed)
        run.done = done
        self._workflows.runs[snapshot.workflow_id] = run
        self._runners.submit(run)

    def ended(self, run: EffectRun, value: Any, error: BaseException | None) -> None:
        """A callback has returned or raised."""
        workflow_id = run.snapshot.workflow_id
        workflows = self._workflows
        if workflows.gone or workflows.runs.get(workflow_id) is not run:
            return
        apart = workflows.apart
        if apart.whom and apart.put_off(workflow_id, partial(self.ended, run, value, error)):
            return
        del workflows.runs[workflow_id]
        if error is not None and isinstance(error, Interrupted):
            return
        if run.snapshot.status is not ACTIVE and self._freedom.stopped(run.snapshot):
            workflows.mailbox(workflow_id).unfinished = partial(self._decided, run, value, error)
        else:
            self._decided(run, value, error)

    def not_done(self, run: EffectRun) -> None:
        """`reconcile` knows of no attempt: the run itself begins."""
        snapshot, workflows = run.snapshot, self._workflows
        if workflows.gone or workflows.runs.get(snapshot.workflow_id) is not run:
            return
        del workflows.runs[snapshot.workflow_id]
        self._ledger.tick()
        known = self._look_up(snapshot, run.owed)
        if known is None or not self._freedom.goes_on(snapshot):
            self._ledger.wake()  # it is asked again when the workflow goes on
        else:
            self._submit(snapshot, run.owed, known, asked=True)

    def _decided(self, run: EffectRun, value: Any, error: BaseException | None) -> None:
        """Decide the result of a run."""
        ledger, snapshot = self._ledger, run.snapshot
        context = run.context
        if context.published is not None and error is None:
            closed = self._outbox.published(run)
            if closed is not None:
                self._postponed(run, closed)
                return
        ledger.tick()
        silent = value is None and context.emitted is None and context.published is None
        ledger.ran(snapshot, only=silent and error is None and run.done is None and not run.asks)
        returned: Event | None = None
        if error is None and not silent:
            checked = self._outbox.returned(run, value)
            if isinstance(checked, PluginError):
                error = checked
            else:
                returned = checked
        if error is not None:
            self._failed(run, error)
        elif returned is None and run.done is None:
            self._end_well(run, None)
        else:
            self._followed(run, returned)
        if error is None and snapshot.status is RETRYING:
            self._decider.refresh_status(snapshot)
        if snapshot.workflow_id in self._workflows.mailboxes:
            self._decider.advance(snapshot)
        ledger.wake()
        if failpoint.hook is not None:  # as `reach`, without a call while there is none
            failpoint.hook(DECIDED)

    def _followed(self, run: EffectRun, returned: Event | None) -> None:
        """It succeeded: what it returned, or `on_done` after the state's last run, is decided now."""
        snapshot, owed = run.snapshot, run.owed
        if returned is not None:
            machine = self._plan.machines[snapshot.machine]
            if machine.version != snapshot.version:
                machine = self._plan.running(snapshot)
            if returned.name not in machine.events:
                say_unknown(snapshot, machine, run.callback, returned.name)
            origin = f"run/{owed.seq}/{owed.name}"
            now = self._ledger.now_ms
            event = Event(returned.name, returned.payload, returned.id, now, (), origin)
        else:
            assert run.done is not None  # noqa: S101 - the caller looked
            event = done_event(run.done, self._ledger.now_ms, owed.seq)
        self._decider.internal(snapshot, event, partial(self._end_well, run, returned))

    def _end_well(self, run: EffectRun, returned: Event | None) -> None:
        snapshot = run.snapshot
        snapshot.owed = snapshot.owed[1:]
        snapshot.failure = None
        if snapshot.owed:
            self._ledger.owes(snapshot)
        else:
            snapshot.cause = None
            if snapshot.earlier is not None:  # they are those of its jobs
                self.jobs.free(snapshot)
        if run.sends:
            self._ledger.send(run.sends)
        if returned is None and not run.asks:
            self._ledger.done(snapshot, run.owed)
            return
        more: dict[str, Any] = {} if returned is None else {"returned": returned.name}
        if run.asks:
            more["reconciled"] = True
        self._tell(run, run.owed.attempt + 1, "done", more)

    def _failed(self, run: EffectRun, error: BaseException) -> None:
        """It failed: again later, or `on_error`, or parked with the run still owed."""
        # Of the run, not of its context, which the callback may have changed.
        snapshot, owed, attempt = run.snapshot, run.owed, run.owed.attempt + 1
        now = self._ledger.now_ms
        failure = failure_of(owed.name, error, now, attempt)
        delay = delay_ms(run.action.retry, attempt, error, run.key)
        say_failed(snapshot, failure, delay, run.callback.file_line)
        machine = self._plan.running(snapshot)
        name = machine.error_event(snapshot.state, owed.name)
        if delay is None and machine.has(snapshot.state, name):
            first = partial(self._end_badly, run, failure)
            event = error_event(failure, f"{owed.seq}/{owed.name}", name)
            self._decider.internal(snapshot, event, first)
            self._decider.refresh_status(snapshot)
            return
        due = 0 if delay is None else now + delay
        again = owed._replace(attempt=attempt, due_ms=due, starts=unsure(run))
        snapshot.owed = (again, *snapshot.owed[1:])
        snapshot.failure = failure
        more: dict[str, Any] = {"error": failure.type, "message": failure.message}
        if delay is None:
            self._tell(run, attempt, "failed", more)
            self._decider.park(snapshot, "failed", None)
            say_parked(snapshot, owed.name, run.callback.file_line)
            return
        self._tell(run, attempt, "failed", more | {"again_in_ms": delay})
        # The count of attempts has to be durable before the next one starts.
        self._ledger.owes(snapshot)
        mailbox = self._workflows.mailboxes.get(snapshot.workflow_id)
        self._ledger.status(snapshot, Status.RETRYING, mailbox)
        self._decider.timers_ahead(snapshot)

    def _postponed(self, run: EffectRun, closed: Postponed) -> None:
        """What it has published can not leave now: it is owed as before, and due when that may be over."""
        snapshot, owed = run.snapshot, run.owed
        failure = closed.failure._replace(attempt=owed.attempt)
        say_failed(snapshot, failure, closed.due_ms - failure.at_ms, run.callback.file_line)
        later = owed._replace(due_ms=closed.due_ms, starts=unsure(run))
        snapshot.owed = (later, *snapshot.owed[1:])
        snapshot.failure = failure
        self._ledger.owes(snapshot)
        mailbox = self._workflows.mailboxes.get(snapshot.workflow_id)
        self._ledger.status(snapshot, Status.RETRYING, mailbox)
        self._decider.timers_ahead(snapshot)
        self._ledger.wake()

    def _end_badly(self, run: EffectRun, failure: Failure) -> None:
        snapshot = run.snapshot
        more = {"error": failure.type, "message": failure.message}
        self._tell(run, failure.attempt, "failed", more)
        snapshot.owed = snapshot.owed[1:]
        machine = self._plan.running(snapshot)
        beside = machine.same_state(snapshot.state, run.owed.name)
        self._decider.give_up(snapshot, f"{run.owed.name} failed", beside)

    def _tell(self, run: EffectRun, attempt: int, outcome: str, more: dict[str, Any]) -> None:
        """The history record of one attempt."""
        snapshot, owed = run.snapshot, run.owed
        data: dict[str, Any] = {
            "machine": snapshot.machine,
            "version": snapshot.version,
            "seq": owed.seq,
            "state": snapshot.state,
            "callback": owed.name,
            "key": run.key,
            "attempt": attempt,
            "outcome": outcome,
        }
        if more:
            data |= more
        origin = f"run/{owed.seq}/{owed.name}/{attempt}"
        self._ledger.tell(history.RUN, snapshot.workflow_id, origin, data)


def done_event(name: str, at_ms: int, seq: int) -> Event:
    """The event of a state whose entry runs are all done."""
    return Event(name, None, None, at_ms, (), f"run/{seq}/{name}")


class EffectRun(Run):
    """One run of an entry callback."""

    __slots__ = ("action", "done", "effects", "owed", "snapshot")

    action: Action
    done: str | None
    """The event of a state that has `on_done`, and owes no other run: with this one it is done."""
    effects: Effects
    owed: Owed
    snapshot: Snapshot

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return f"{self.snapshot.workflow_id}/{self.owed.seq}/{self.owed.name}"

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Its result is decided."""
        self.effects.ended(self, value, error)


class AskingRun(EffectRun):
    """Asks `reconcile` what became of an attempt of which no result is known."""

    __slots__ = ()
    asks = True

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Its answer is the result; without one the run itself begins."""
        if value is None and error is None:
            self.effects.not_done(self)
        else:
            self.effects.ended(self, None if value is DONE else value, error)
