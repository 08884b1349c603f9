"""
What waits for a workflow: events behind a run, events set aside, and who is next.

The turn asks here who may go on and what comes next; the ledger writes what still waits into the next
cut. Nothing is decided here; whether anything may be says `freedom`.
"""

from __future__ import annotations

from event_center.engine.ledger import Ledger
from event_center.engine.plan import Plan
from event_center.engine.workflow import Mailbox, Waiting, Workflows
from event_center.model import Event, Record, Snapshot, Timer


class WaitingRoom:
    """The mailboxes of one shard, seen from the turn."""

    def __init__(self, plan: Plan, workflows: Workflows, ledger: Ledger) -> None:
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger

    def queued(
        self, snapshot: Snapshot, event: Event, item: Waiting | None, record: Record | None
    ) -> Waiting:
        """The event as something that waits, counted as such; it may be decided at once all the same."""
        if item is None:
            item = with_record(event, None, record)
            if item.record is not None:
                self._ledger.wait(snapshot, item)
        return item

    def defer(
        self, snapshot: Snapshot, event: Event, item: Waiting | None, record: Record | None
    ) -> None:
        """The machine sets the event aside until a state accepts it."""
        item = self.queued(snapshot, event, item, record)
        if not item.deferred:
            self._ledger.defer(snapshot, item)
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        mailbox.deferred.insert(mailbox.looked_at, item)
        mailbox.looked_at += 1

    def first(self, snapshot: Snapshot, mailbox: Mailbox) -> Waiting | None:
        """Who is next: a deferred event that the new state accepts, else the head of the queue."""
        if mailbox.recheck:
            mailbox.recheck = False
            mailbox.looked_at = 0
        queue, deferred = mailbox.queue, mailbox.deferred
        if queue and queue[0].deferred:
            return queue[0]  # it is tried again, and older than the other deferred ones
        while mailbox.looked_at < len(deferred):
            item = deferred[mailbox.looked_at]
            if self._wanted(snapshot, item):
                return item
            mailbox.looked_at += 1
        return queue[0] if queue else None

    def next(self, snapshot: Snapshot, mailbox: Mailbox) -> Waiting | None:
        """The same, which waits no more."""
        item = self.first(snapshot, mailbox)
        if item is not None:
            mailbox.remove(item)
        return item

    def _wanted(self, snapshot: Snapshot, item: Waiting) -> bool:
        """Whether a deferred event is worth a turn in this state; the step has the last word."""
        machine = self._plan.machine_of(snapshot)
        event = self._plan.event_of(item)
        return (
            machine is None
            or event is None
            or snapshot.result is not None
            or not machine.rests(snapshot.state)
            or machine.has(snapshot.state, event.name)
        )

    def timer(self, snapshot: Snapshot, timer: Timer) -> Waiting | None:
        """A due timer as something that waits; None if it is in the queue already."""
        mailbox = self._workflows.mailbox(snapshot.workflow_id)
        if any(queued.timer == timer for queued in mailbox.queue):
            return None
        return timer_item(timer)


def with_record(event: Event, item: Waiting | None, record: Record | None) -> Waiting:
    """The event as it waited; one that comes straight from its record, with that."""
    return item or Waiting(event, record, event.topic, event.partition)


def timer_item(timer: Timer) -> Waiting:
    """A due timer as something that waits."""
    origin = f"timer/{timer.seq}/{timer.id}/{timer.due_ms}"
    item = Waiting(Event(timer.id, None, None, timer.due_ms, (), origin))
    item.timer = timer
    return item


def attempts(snapshot: Snapshot, event: Event, item: Waiting) -> int:
    """How often this event could not be decided; attempts at another one do not count."""
    same = snapshot.deciding_event == unheld(event, item)
    return snapshot.deciding_attempt if same else 0


def unheld(event: Event, item: Waiting) -> str:
    """The event's name if no waiting entry holds it, so that a snapshot has to say what was tried."""
    return event.name if item.record is None else ""
