"""
One workflow's turn: decide an event, await its decide callbacks, accept, and go on with what waits.

`decide` asks the pure machine and carries the decision out. Without decide callbacks that is one
synchronous block. With them the event stays at the head of its workflow's mailbox until they are done,
and nothing else of the workflow is decided meanwhile except commands. `advance` takes the next thing
that waits. What comes with a new state is in `entering`. The intake, `effect`, the parts and `commands`
call in here; the ledger notes the outcome.

What goes on, in this order:
    1. commands, when they are read (`commands`)
    2. what is unfinished (`Mailbox.unfinished`), once the workflow may go on
    3. between two attempts of a run, timers that are due (`Freedom.timers_ahead`)
    4. deferred events that the state accepts, then the queue: while `Freedom.decides` says so
    5. the runs that it owes (`Effects.start`)

What it hands on comes back: `deciding`, `failing`, `effect` and `jobs` know the turn as their `Decider`.
"""

from __future__ import annotations

from collections.abc import Callable

from event_center.engine.deciding import Deciding
from event_center.engine.effect import Effects
from event_center.engine.entering import Entering
from event_center.engine.failing import Failing, say_parked
from event_center.engine.freedom import Freedom
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters, open_letters
from event_center.engine.outbox import Outbox
from event_center.engine.plan import Plan
from event_center.engine.run import Pool
from event_center.engine.sizes import SizeLimit
from event_center.engine.timers import Timers
from event_center.engine.upgrading import Upgrading
from event_center.engine.waiting import WaitingRoom, with_record
from event_center.engine.workflow import Mailbox, Waiting, Workflows, undecided, unstopped
from event_center.errors import DefinitionError, ExpressionError, GuardFailed
from event_center.machine.decision import Refused, Transition
from event_center.model import (
    Event,
    Outcome,
    Reason,
    Record,
    Snapshot,
    Status,
    Timer,
    Unhandled,
)
from event_center.wire import history

EVENTS_IN_A_ROW = 256
"""Waiting events of one workflow that are decided in a row: some ms, then others get their turn."""
STEP_FAILED = (GuardFailed, ExpressionError, DefinitionError)
"""What the machine or its guards do wrong: this event failed. Any other error is a mistake of ours."""
LOOP = 1_000
"""Transitions of a workflow without a record from outside: more of them park it."""


class Turn:
    """Decides for the workflows of one shard."""

    def __init__(
        self,
        plan: Plan,
        workflows: Workflows,
        ledger: Ledger,
        *,
        letters: Letters,
        timers: Timers,
        freedom: Freedom,
        waiting: WaitingRoom,
        outbox: Outbox,
        runners: Pool,
        job_runners: Pool,
    ) -> None:
        self._plan = plan
        self._machines = plan.machines
        self._workflows = workflows
        self._ledger = ledger
        self._letters = letters
        self._timers = timers
        self._freedom = freedom
        self._waiting = waiting
        self.sizes = SizeLimit(ledger, plan.limits.snapshot_bytes)
        self._upgrading = Upgrading(plan, ledger, timers, self.sizes)
        self.failing = Failing(
            plan, workflows, ledger, letters=letters, timers=timers, decider=self
        )
        self._deciding = Deciding(
            plan,
            workflows,
            ledger,
            waiting=waiting,
            outbox=outbox,
            freedom=freedom,
            runners=runners,
            failing=self.failing,
            decider=self,
        )
        self.effects = Effects(
            plan,
            workflows,
            ledger,
            timers=timers,
            outbox=outbox,
            freedom=freedom,
            runners=runners,
            job_runners=job_runners,
            upgrading=self._upgrading,
            decider=self,
        )
        self.jobs = self.effects.jobs
        entering = Entering(workflows, ledger, timers=timers, effects=self.effects, decider=self)
        self.enter, self.give_up = entering.enter, entering.give_up
        self.again: list[Snapshot] = []
        """Workflows with more waiting events than a row: to be advanced after the next cut."""

    # -- decide ----------------------------------------------------------------------------------

    def decide(
        self,
        snapshot: Snapshot,
        event: Event,
        item: Waiting | None = None,
        record: Record | None = None,
    ) -> None:
        """
        Decide one event; `item` is how it waited, None if it comes straight from its `record`.

        When this returns, the event has its outcome, or it is waiting.
        """
        if snapshot.result is not None:
            self.waits_no_more(snapshot, item)
            self._ledger.outcome(snapshot, event, Outcome.REJECTED, Reason.FINISHED)
            return
        if snapshot.letters_last and item is None and open_letters(snapshot) and event.offset >= 0:
            # What waits already (an item) came before the letters, and is decided as ever.
            self._letters.follow(
                snapshot, event, with_record(event, None, record), Reason.BEHIND_LETTER
            )
            return
        machine = self._machines.get(snapshot.machine)
        if machine is None or snapshot.version != machine.version:
            machine = self._upgrading.machine_for(snapshot)
        if machine is None:
            self.park(snapshot, "no_place", self._waiting.queued(snapshot, event, item, record))
            say_parked(snapshot, "", "")
            return
        try:
            decision = machine.step(snapshot, event, self._ledger.now_ms)
        except STEP_FAILED as error:
            queued = self._waiting.queued(snapshot, event, item, record)
            self.failing.failed(snapshot, event, queued, error)
            return
        if isinstance(decision, Transition):
            if decision.plain:
                self.accept(snapshot, event, item, decision)
                return
            source = record if item is None else item.record
            decision = self.sizes.refused(snapshot, event, decision, source) or decision
        if isinstance(decision, Refused):
            self._refuse(snapshot, event, item, refused=decision, record=record)
        elif decision.decide or decision.emits:
            self._deciding.begin(snapshot, event, item, decision, record=record)
        else:
            self.accept(snapshot, event, item, decision)

    def waits_no_more(self, snapshot: Snapshot, item: Waiting | None) -> None:
        """What waited waits no more: its outcome follows in the same block."""
        if item is not None:
            self._ledger.decided(snapshot, item)
            if item.ends is not None:
                item.ends()
        if snapshot.deciding_attempt or snapshot.deciding_starts:
            undecided(snapshot)
            self.refresh_status(snapshot)
        snapshot.failure = None

    def _refuse(
        self,
        snapshot: Snapshot,
        event: Event,
        item: Waiting | None,
        *,
        refused: Refused,
        record: Record | None,
    ) -> None:
        unhandled = refused.unhandled
        if item is not None and item.timer is not None:
            self.drop_timer(snapshot, item.timer)
            unhandled = Unhandled.REJECT
        if event.offset < 0 and unhandled is not Unhandled.IGNORE:
            unhandled = Unhandled.REJECT
        if unhandled is Unhandled.DEFER:
            self._waiting.defer(snapshot, event, item, record)
            return
        self.waits_no_more(snapshot, item)
        reason = refused.reason
        if unhandled is Unhandled.IGNORE:
            self._ledger.outcome(snapshot, event, Outcome.IGNORED, reason, detail=refused.detail)
            return
        detail = refused.explained(snapshot.state, event.name)
        if unhandled is Unhandled.DEAD_LETTER:
            waiting = with_record(event, item, record)
            self._letters.unhandled(snapshot, event, waiting, reason=reason, detail=detail)
        else:
            self._ledger.outcome(snapshot, event, Outcome.REJECTED, reason, detail=detail)

    def drop_timer(self, snapshot: Snapshot, timer: Timer) -> None:
        """A timer was dealt with and its workflow stays: it is gone, or armed for its next period."""
        machine = self._plan.running(snapshot)
        snapshot.timers = machine.timers_after(snapshot, timer, self._ledger.now_ms)
        self._timers.arm(snapshot)

    # -- accept ----------------------------------------------------------------------------------

    def accept(
        self, snapshot: Snapshot, event: Event, item: Waiting | None, decision: Transition
    ) -> None:
        """Swap in what was decided. Nothing is evaluated here: it can not fail."""
        if item is not None or snapshot.deciding_attempt or snapshot.failure is not None:
            self.waits_no_more(snapshot, item)
        before = snapshot.state
        snapshot.seq += 1
        if decision.data is not None:
            snapshot.data = decision.data
        if event.offset >= 0:
            snapshot.loop = 0
        elif item is None or item.timer is None:
            snapshot.loop += 1  # a timer is no loop: time paces it, as with `repeat`
        if decision.entered:
            self.enter(snapshot, event, decision)
        elif decision.timers is not None:
            snapshot.timers = decision.timers
            self._timers.arm(snapshot)
        kind = "applied"
        if item is not None and item.timer is not None:
            kind = history.TIMER
        self._ledger.applied(snapshot, event, before, kind)
        if snapshot.loop > LOOP:
            self.park(snapshot, "loop", None)
            say_parked(snapshot, "", "")

    # -- stopping and going on -------------------------------------------------------------------

    def refresh_status(self, snapshot: Snapshot) -> None:
        """Give the workflow the status that it has when nobody stops it; who is stopped stays so."""
        status = unstopped(snapshot)
        if snapshot.status != status and not self._freedom.stopped(snapshot):
            mailbox = self._workflows.mailboxes.get(snapshot.workflow_id)
            self._ledger.status(snapshot, status, mailbox)

    def park(self, snapshot: Snapshot, why: str, item: Waiting | None) -> None:
        """Stop the workflow until an operator says how to go on; `item` stays at the head."""
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        if item is not None:
            mailbox.queue.appendleft(item)
        snapshot.parked = why
        self._ledger.status(snapshot, Status.PARKED, mailbox)

    def go_on(self, snapshot: Snapshot) -> None:
        """Take the next thing that waits, and what the state owes."""
        self.refresh_status(snapshot)
        self.timers_ahead(snapshot)
        self.advance(snapshot)
        self.effects.start(snapshot)

    # -- the next one ----------------------------------------------------------------------------

    def first(self, snapshot: Snapshot, mailbox: Mailbox) -> Waiting | None:
        """What of all that waits would be decided next; None: nothing that the state accepts."""
        return mailbox.deciding or self._waiting.first(snapshot, mailbox)

    def advance(self, snapshot: Snapshot) -> None:
        """Decide what waits for the workflow, for as long as nothing is under way and nobody stopped it."""
        workflow_id = snapshot.workflow_id
        mailbox = self._workflows.mailboxes.get(workflow_id)
        if mailbox is None:
            return
        for _ in range(EVENTS_IN_A_ROW):
            if not self._freedom.decides(snapshot):
                return
            item = self._waiting.next(snapshot, mailbox)
            if item is None:
                break
            self._take(snapshot, item)
        else:
            self.again.append(snapshot)
            self._ledger.wake()
            return
        if not mailbox.deferred and mailbox.unfinished is None and mailbox.deciding is None:
            del self._workflows.mailboxes[workflow_id]
            self._ledger.changed(snapshot)

    def _take(self, snapshot: Snapshot, item: Waiting) -> None:
        if item.timer is not None and item.timer not in snapshot.timers:
            return  # it belongs to a state that was left meanwhile, or has fired
        if item.asks is not None and not item.asks(snapshot):
            return
        event = self._plan.event_of(item)
        if event is None:
            self.waits_no_more(snapshot, item)
            self._letters.unreadable(snapshot, item)
            return
        self.decide(snapshot, event, item)

    def internal(
        self, snapshot: Snapshot, event: Event, ends: Callable[[], None] | None = None
    ) -> None:
        """Decide an event that is no record now: the result of a run, ahead of the queue."""
        item = Waiting(event)
        item.ends = ends
        self.decide(snapshot, event, item)

    # -- timers ----------------------------------------------------------------------------------

    def fire(self, snapshot: Snapshot, timer: Timer) -> None:
        """A due timer takes its turn: between attempts ahead of the queue, else behind it."""
        item = self._waiting.timer(snapshot, timer)
        if item is None:
            return
        if self._freedom.timers_ahead(snapshot):
            self._take(snapshot, item)
            self.effects.start(snapshot)
        else:
            self._workflows.mailbox(snapshot.workflow_id).queue.append(item)
        self.advance(snapshot)

    def timers_ahead(self, snapshot: Snapshot) -> None:
        """Timers that queued while something ran go first, if it is to be tried again later."""
        mailbox = self._workflows.mailboxes.get(snapshot.workflow_id)
        if mailbox is None:
            return
        timers = [item for item in mailbox.queue if item.timer is not None]
        for item in timers:
            if not self._freedom.timers_ahead(snapshot):
                return
            mailbox.queue.remove(item)
            self._take(snapshot, item)
