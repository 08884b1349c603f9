"""
Events that could not be decided: tried again later, given to `on_error`, made a letter, or parked.

A guard or a decide callback failed, so the transition did not happen: state, data and seq are as they
were. Until the end of it is decided the event waits on, so that a crash in between loses nothing. Turn
and deciding call `failed`; the parts call `retry` when the wait between two attempts is over.
"""

from __future__ import annotations

from functools import partial

import structlog

from event_center.engine.attempt import delay_ms, failure_of
from event_center.engine.decider import Decider
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters, open_letters
from event_center.engine.plan import Plan
from event_center.engine.timers import Timers
from event_center.engine.waiting import attempts, unheld
from event_center.engine.workflow import Waiting, Workflows, undecided
from event_center.errors import ExpressionError, GuardFailed
from event_center.machine.decision import ERROR, Action, accepted_text
from event_center.machine.step import Machine
from event_center.model import Event, Failure, Outcome, Reason, Snapshot, Status
from event_center.plugins.signatures import Callback

log = structlog.get_logger()


class Failing:
    """Deals with the failed events of one shard."""

    def __init__(
        self,
        plan: Plan,
        workflows: Workflows,
        ledger: Ledger,
        *,
        letters: Letters,
        timers: Timers,
        decider: Decider,
    ) -> None:
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger
        self._letters = letters
        self._timers = timers
        self._decider = decider

    def failed(
        self,
        snapshot: Snapshot,
        event: Event,
        item: Waiting,
        error: BaseException,
        *,
        action: Action | None = None,
    ) -> None:
        """The event could not be decided: later again, or `on_error`, or the machine's `on_failure`."""
        attempt = attempts(snapshot, event, item) + 1
        machine = self._plan.running(snapshot)
        where, line, delay = "step", "", None
        if action is not None:
            where, line = action.name, self._plan.callback(snapshot, action.name).file_line
            delay = delay_ms(action.retry, attempt, error, event.origin)
        elif isinstance(error, GuardFailed):
            where, line = f"guard {error.name}", error.file_line
            error = error.__cause__ or error
        elif isinstance(error, ExpressionError):
            where, line = "expression", error.where
        failure = failure_of(where, error, self._ledger.now_ms, attempt)
        say_failed(snapshot, failure, delay, line)
        if delay is not None:
            self._later(snapshot, event, item, failure, due_ms=failure.at_ms + delay)
        elif machine.has(snapshot.state, ERROR) and not event.name.startswith(ERROR):
            carrier = item if item.record is not None else Waiting(event)
            carrier.ends = partial(self._given_up, snapshot, event, item, failure)
            undecided(snapshot)
            self._ledger.changed(snapshot)
            self._decider.refresh_status(snapshot)
            self._decider.decide(snapshot, error_event(failure, event.origin), carrier)
        elif (
            machine.on_failure == "dead_letter"
            and item.record is not None
            and not open_letters(
                snapshot
            )  # they are younger than this event: it may not follow them
        ):
            item.ends = None
            self._decider.waits_no_more(snapshot, item)
            self._letters.write_open(snapshot, item.event or event, item, failure)
            self._decider.refresh_status(snapshot)
            self._letters.follow_all(snapshot, self._workflows.mailboxes.get(snapshot.workflow_id))
        else:
            snapshot.deciding_starts = 0
            self.park(snapshot, event, item, failure, why="failed", where=line)

    def postponed(
        self, snapshot: Snapshot, event: Event, item: Waiting, failure: Failure, *, due_ms: int
    ) -> None:
        """What its transition sends can not leave now: it is decided anew when that may be over."""
        failure = failure._replace(attempt=max(1, attempts(snapshot, event, item)))
        say_failed(snapshot, failure, due_ms - failure.at_ms, "")
        self._later(snapshot, event, item, failure, due_ms=due_ms)

    def park(
        self,
        snapshot: Snapshot,
        event: Event,
        item: Waiting,
        failure: Failure,
        *,
        why: str,
        where: str,
    ) -> None:
        """The workflow stands still, with the event at its head, until an operator says how to go on."""
        snapshot.failure = failure
        snapshot.deciding_attempt = failure.attempt  # marks what `skip` gives up
        snapshot.deciding_event = unheld(event, item)
        snapshot.deciding_due_ms = 0
        self._put_back(snapshot, event, item)
        self._decider.park(snapshot, why, None)
        say_parked(snapshot, failure.callback, where)

    def _later(
        self, snapshot: Snapshot, event: Event, item: Waiting, failure: Failure, *, due_ms: int
    ) -> None:
        snapshot.deciding_attempt = failure.attempt
        snapshot.deciding_event = unheld(event, item)
        snapshot.deciding_due_ms = due_ms
        snapshot.deciding_starts = 0
        snapshot.failure = failure
        self._put_back(snapshot, event, item)
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        self._ledger.status(snapshot, Status.RETRYING, mailbox)
        self._timers.look_at(snapshot.workflow_id, due_ms)

    def _given_up(self, snapshot: Snapshot, event: Event, item: Waiting, failure: Failure) -> None:
        """The failed event gets its outcome, right before that of its `on_error`."""
        if item.record is None and item.ends is not None:
            item.ends()
        if item.timer is not None:
            self._decider.drop_timer(snapshot, item.timer)
        detail = f"{failure.type}: {failure.message}"
        self._ledger.outcome(snapshot, event, Outcome.REJECTED, Reason.FAILED, detail=detail)

    def _put_back(self, snapshot: Snapshot, event: Event, item: Waiting) -> None:
        """Keep what could not be decided where it is taken up again, ahead of everything else."""
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        if item.ends is not None:
            mailbox.deciding = item
            mailbox.unfinished = partial(self._again, snapshot, event, item)
        elif item.timer is None or not snapshot.owed:
            mailbox.queue.appendleft(item)
        # Else: a timer between two attempts of a run. It stays due, so it is found again.

    def _again(self, snapshot: Snapshot, event: Event, item: Waiting) -> None:
        self._workflows.mailbox(snapshot.workflow_id).deciding = None
        self._decider.decide(snapshot, event, item)

    def retry(self, snapshot: Snapshot) -> None:
        """The wait between two attempts is over."""
        snapshot.deciding_due_ms = 0
        self._ledger.changed(snapshot)
        self._decider.refresh_status(snapshot)
        mailbox = self._workflows.mailboxes.get(snapshot.workflow_id)
        finished = mailbox is not None and mailbox.finish()
        if (
            not finished
            and snapshot.deciding_event
            and not (snapshot.owed or (mailbox and mailbox.queue))
        ):
            # A replay that a former owner tried; its letter is still open, and can be replayed again.
            undecided(snapshot)
            snapshot.failure = None
        self._decider.go_on(snapshot)


def say_failed(snapshot: Snapshot, failure: Failure, delay: int | None, where: str) -> None:
    """Log that an attempt has failed; `again_in_ms` is null if it was the last."""
    log.warning(
        "run.failed",
        workflow_id=snapshot.workflow_id,
        machine=snapshot.machine,
        seq=snapshot.seq,
        callback=failure.callback,
        attempt=failure.attempt,
        error=failure.type,
        message=failure.message,
        again_in_ms=delay,
        where=where or None,
    )


def say_unknown(snapshot: Snapshot, machine: Machine, callback: Callback, name: str) -> None:
    """Log that a callback returned an event that its machine has nowhere: it will be refused."""
    log.warning(
        "run.unknown_event",
        workflow_id=snapshot.workflow_id,
        machine=machine.name,
        callback=callback.name,
        returned=name,
        known=accepted_text(f"machine {machine.name}", tuple(sorted(machine.events)), name),
        where=callback.file_line,
    )


def say_parked(snapshot: Snapshot, callback: str, where: str) -> None:
    """Log that a workflow stands still until an operator says how to go on."""
    log.error(
        "workflow.parked",
        workflow_id=snapshot.workflow_id,
        machine=snapshot.machine,
        seq=snapshot.seq,
        state=snapshot.state,
        why=snapshot.parked,
        callback=callback,
        where=where or None,
    )


def error_event(failure: Failure, origin: str, name: str = ERROR) -> Event:
    """The event of a callback that failed for good."""
    payload = {
        "callback": failure.callback,
        "type": failure.type,
        "message": failure.message,
        "attempt": failure.attempt,
    }
    return Event(name, payload, None, failure.at_ms, (), f"error/{origin}")
