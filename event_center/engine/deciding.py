"""
Decide callbacks: `before`, `exit` and `actions` of one transition, awaited one by one before its accept.

The event stays its workflow's `deciding` meanwhile, and waits like any other: a cut gives it an entry,
and after a crash it is decided anew, with the same idempotency keys. What the callbacks emit, and what
the machine itself emits, leaves with the accept. The turn begins this and gets the event back, to
accept it or to deal with the failure. The third of a run's numbered steps (`run`), decided, is the end of
`_heard` here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from event_center.engine.decider import Decider
from event_center.engine.failing import Failing, say_unknown
from event_center.engine.freedom import Freedom
from event_center.engine.ledger import Ledger
from event_center.engine.outbox import Outbox, Postponed
from event_center.engine.plan import Plan
from event_center.engine.run import Pool, Run
from event_center.engine.waiting import WaitingRoom, attempts
from event_center.engine.workflow import Waiting, Workflows
from event_center.errors import Interrupted, PluginError
from event_center.failpoint import Step, reach
from event_center.machine.decision import Transition
from event_center.model import Event, OutgoingParts, Record, Snapshot
from event_center.plugins.context import Context


class Deciding:
    """Awaits the decide callbacks of one shard."""

    def __init__(
        self,
        plan: Plan,
        workflows: Workflows,
        ledger: Ledger,
        *,
        waiting: WaitingRoom,
        outbox: Outbox,
        freedom: Freedom,
        runners: Pool,
        failing: Failing,
        decider: Decider,
    ) -> None:
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger
        self._waiting = waiting
        self._outbox = outbox
        self._freedom = freedom
        self._runners = runners
        self._failing = failing
        self._decider = decider

    def begin(
        self,
        snapshot: Snapshot,
        event: Event,
        item: Waiting | None,
        decision: Transition,
        *,
        record: Record | None,
    ) -> None:
        """Await them; the decider hears of the end. At once, if the transition only emits."""
        records = self._outbox.declared(snapshot, event, decision.emits)
        if isinstance(records, list) and not decision.decide:
            self._decider.accept(snapshot, event, item, decision)
            self._ledger.send(records)
            return
        item = self._waiting.queued(snapshot, event, item, record)
        if isinstance(records, PluginError):
            self._failing.failed(snapshot, event, item, records)
        elif isinstance(records, Postponed):
            self._failing.postponed(snapshot, event, item, records.failure, due_ms=records.due_ms)
        else:
            self._workflows.mailbox(snapshot.workflow_id).deciding = item
            self.next(Hearing(snapshot, event, item, decision, records=records))

    def next(self, hearing: Hearing) -> None:
        """Start the next callback, or accept after the last."""
        snapshot, event, decision = hearing.snapshot, hearing.event, hearing.decision
        if hearing.done == len(decision.decide):
            self._workflows.mailbox(snapshot.workflow_id).deciding = None
            self._decider.accept(snapshot, event, hearing.item, decision)
            self._ledger.send(hearing.records)
            self._decider.go_on(snapshot)
            return
        if not self._freedom.goes_on(snapshot):
            return  # the event waits on: the shard's next owner decides it anew
        action = decision.decide[hearing.done]
        context = Context(
            snapshot,
            event,
            f"{snapshot.workflow_id}/{event.origin}/{action.name}",
            attempt=attempts(snapshot, event, hearing.item) + 1,
            deadline_ms=self._ledger.now_ms + action.timeout_ms,
            topics=self._plan.publishable,
        )
        callback = self._plan.callback(snapshot, action.name)
        run = DecideRun(callback, context, action.timeout_ms / 1000)
        run.hearing, run.deciding = hearing, self
        self._workflows.runs[snapshot.workflow_id] = run
        self._runners.submit(run)

    def ended(self, hearing: Hearing, run: Run, value: Any, error: BaseException | None) -> None:
        """A decide callback has returned or raised."""
        snapshot = hearing.snapshot
        runs = self._workflows.runs
        if self._workflows.gone or runs.get(snapshot.workflow_id) is not run:
            return
        apart = self._workflows.apart
        if apart.whom:
            again = partial(self.ended, hearing, run, value, error)
            if apart.put_off(snapshot.workflow_id, again):
                return
        del runs[snapshot.workflow_id]
        if isinstance(error, Interrupted):
            return
        self._ledger.tick()  # after the checks: who drops a run is in the middle of a step
        decided = partial(self._heard, hearing, run, value, error)
        if self._freedom.stopped(snapshot):
            self._workflows.mailbox(snapshot.workflow_id).unfinished = decided
        else:
            decided()

    def _heard(self, hearing: Hearing, run: Run, value: Any, error: BaseException | None) -> None:
        snapshot = hearing.snapshot
        closed = None if error is not None else self._outbox.published(run)
        if closed is not None:
            self._workflows.mailbox(snapshot.workflow_id).deciding = None
            event, item = hearing.event, hearing.item
            self._failing.postponed(snapshot, event, item, closed.failure, due_ms=closed.due_ms)
            self._decider.go_on(snapshot)
            self._ledger.wake()
            return
        returned = None if error is not None else self._outbox.returned(run, value)
        if isinstance(returned, PluginError):
            returned, error = None, returned
        if error is not None:
            action = hearing.decision.decide[hearing.done]
            self._workflows.mailbox(snapshot.workflow_id).deciding = None
            self._failing.failed(snapshot, hearing.event, hearing.item, error, action=action)
            self._decider.go_on(snapshot)
        else:
            hearing.records += run.sends
            if returned is not None:
                machine = self._plan.running(snapshot)
                if returned.name not in machine.events:
                    say_unknown(snapshot, machine, run.callback, returned.name)
                # It may need decide callbacks of its own: through the inbox it is durable as well.
                hearing.records.append(self._outbox.handed_on(snapshot, run, returned))
            hearing.done += 1
            self.next(hearing)
        self._ledger.wake()
        reach(Step.RUN_DECIDED)


class Hearing:
    """One event whose decide callbacks are awaited."""

    __slots__ = ("decision", "done", "event", "item", "records", "snapshot")

    def __init__(
        self,
        snapshot: Snapshot,
        event: Event,
        item: Waiting,
        decision: Transition,
        *,
        records: list[OutgoingParts],
    ) -> None:
        self.snapshot = snapshot
        self.event = event
        self.item = item
        self.decision = decision
        self.records = records
        """What leaves with the accept: what the transition itself emits, then what callbacks sent."""
        self.done = 0
        """How many of the callbacks have returned."""


class DecideRun(Run):
    """One run of a decide callback."""

    __slots__ = ("deciding", "hearing")

    deciding: Deciding
    hearing: Hearing

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Its hearing goes on."""
        self.deciding.ended(self.hearing, self, value, error)
