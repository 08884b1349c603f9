"""
Dead letters of one shard: events that could not be dealt with leave the queue, and stay replayable.

A letter that a failure wrote is *open*, and while a workflow has open letters its later events follow
into the dead letters in sequence, so that a replay meets them in their order. Intake, turn and failing
write letters here, `commands` replays and discards them.
"""

from __future__ import annotations

from collections import deque

from event_center.engine.ledger import Ledger
from event_center.engine.plan import Plan
from event_center.engine.workflow import Mailbox, Waiting
from event_center.model import Event, Failure, Outcome, Position, Reason, Record, Snapshot


class Letters:
    """Writes the dead letters of one shard."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self._plan = plan
        self._ledger = ledger

    def stray(
        self,
        record: Record,
        position: Position,
        reason: str,
        message: str,
        *,
        workflow_id: str = "",
    ) -> None:
        """A record that belongs to no workflow here: its letter is in no sequence."""
        why = {"reason": str(reason), "exception.message": message}
        if workflow_id:
            why["workflow_id"] = workflow_id
        self._ledger.letter(record, str(position), why)
        told = {"workflow_id": workflow_id, "reason": reason, "detail": message}
        self._ledger.stray(Outcome.DEAD_LETTERED, position, told)

    def unreadable(self, snapshot: Snapshot, item: Waiting) -> None:
        """A waiting event that the topic's rules of today can not read any more."""
        record = item.record
        offset = -1 if record is None else record.offset
        event = Event("", None, None, 0, (), item.topic, item.partition, offset)
        reason = Reason.UNDECODABLE
        message = f"the rules of topic {item.topic!r} do not read this waiting event any more"
        self._write(snapshot, event, item, {"reason": str(reason), "exception.message": message})
        self._ledger.outcome(snapshot, event, Outcome.DEAD_LETTERED, reason, detail=message)

    def unhandled(
        self, snapshot: Snapshot, event: Event, item: Waiting, *, reason: Reason, detail: str
    ) -> None:
        """The machine wants events that it does not accept as letters; they open no sequence."""
        why = {"reason": str(reason), "exception.message": detail}
        self._write(snapshot, event, item, why)
        self._ledger.outcome(snapshot, event, Outcome.DEAD_LETTERED, reason, detail=detail)

    def write_open(self, snapshot: Snapshot, event: Event, item: Waiting, failure: Failure) -> None:
        """The event could not be decided: its letter is open until an operator deals with it."""
        why = {
            "reason": str(Reason.FAILED),
            "exception.class.name": failure.type,
            "exception.message": failure.message,
            "attempts": str(failure.attempt),
            "callback": failure.callback,
        }
        if failure.traceback:
            why["exception.stacktrace"] = failure.traceback
        self._in_sequence(snapshot, event, item, why)
        detail = f"{failure.type}: {failure.message}"
        self._ledger.outcome(snapshot, event, Outcome.DEAD_LETTERED, Reason.FAILED, detail=detail)

    def follow(self, snapshot: Snapshot, event: Event, item: Waiting, reason: Reason) -> None:
        """The event may not overtake the open letters before it, or finds no room to wait."""
        self._in_sequence(snapshot, event, item, {"reason": str(reason)})
        self._ledger.outcome(snapshot, event, Outcome.DEAD_LETTERED, reason)

    def follow_all(self, snapshot: Snapshot, mailbox: Mailbox | None) -> None:
        """What waits behind an event that has just become a letter may not overtake it."""
        if mailbox is None:
            return
        behind, mailbox.queue = mailbox.queue, deque()
        for item in behind:
            event = self._plan.event_of(item)
            if item.record is None:
                mailbox.queue.append(item)
                continue
            self._ledger.decided(snapshot, item)
            if event is None:
                self.unreadable(snapshot, item)
            else:
                self.follow(snapshot, event, item, Reason.BEHIND_LETTER)

    def _in_sequence(
        self, snapshot: Snapshot, event: Event, item: Waiting, why: dict[str, str]
    ) -> None:
        number = snapshot.letters_last
        snapshot.letters_last += 1
        self._write(snapshot, event, item, why | {"number": str(number)})

    def _write(self, snapshot: Snapshot, event: Event, item: Waiting, why: dict[str, str]) -> None:
        about = {
            "workflow_id": snapshot.workflow_id,
            "machine": snapshot.machine,
            "event": event.name,
        }
        self._ledger.letter(item.record, event.origin, why | about)


def open_letters(snapshot: Snapshot) -> bool:
    """Whether later events have to follow into the dead letters."""
    return snapshot.letters_next < snapshot.letters_last
