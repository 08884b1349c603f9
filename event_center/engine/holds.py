"""
Held events: those that came before their workflow, where the machine says `missing: {hold: ...}`.

They wait for the event that makes the workflow, which is decided first; who waits for too long is
refused or becomes a letter, as the machine says. What holds them is a snapshot of status `expected`: it
has no state and counts as no workflow. The intake brings the events, the shard's `parts` what is due.
"""

from __future__ import annotations

from collections import deque

from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters
from event_center.engine.plan import Plan
from event_center.engine.timers import Timers
from event_center.engine.workflow import Waiting, Workflows
from event_center.machine.definition import Missing
from event_center.machine.step import Machine
from event_center.model import Event, Outcome, Position, Reason, Snapshot, Status, Timer
from event_center.wire.snapshot import HOLD


class Holds:
    """Keeps the held events of one shard."""

    def __init__(
        self, plan: Plan, workflows: Workflows, ledger: Ledger, *, letters: Letters, timers: Timers
    ) -> None:
        self._plan = plan
        self._workflows = workflows
        self._ledger = ledger
        self._letters = letters
        self._timers = timers

    def expect(self, workflow_id: str, machine: Machine) -> Snapshot:
        """A workflow that is not there yet, to hold the event that is taken in now."""
        snapshot = Snapshot(workflow_id, machine.name, machine.version, "")
        snapshot.status = Status.EXPECTED
        snapshot.entered_at_ms = self._ledger.now_ms
        self._workflows.by_id[workflow_id] = snapshot
        self._workflows.mailbox(workflow_id)
        return snapshot

    def take(self, snapshot: Snapshot, item: Waiting, machine: Machine, event: Event) -> None:
        """Hold an event, unless as many are held as may be."""
        queue = self._workflows.mailbox(snapshot.workflow_id).queue
        ledger = self._ledger
        full = self._full(len(queue))
        if full:
            self._end(snapshot, item, event, Reason.HELD_FULL, detail=full)
            if not queue:
                ledger.remove(snapshot)
            return
        hold = machine.hold(event.name)
        item.due_ms = ledger.now_ms + (0 if hold is None else hold.limit_ms)
        ledger.wait(snapshot, item)
        queue.append(item)
        self._arm(snapshot, queue)

    def created(self, snapshot: Snapshot, item: Waiting) -> None:
        """The workflow has just been made: `item` is decided first, then what was held for it."""
        mailbox, ledger = self._workflows.mailbox(snapshot.workflow_id), self._ledger
        ledger.wait(snapshot, item)
        mailbox.queue = deque([item, *(ledger.behind(snapshot, held) for held in mailbox.queue)])

    def expire(self, snapshot: Snapshot, now_ms: int) -> None:
        """Whoever is held for too long has an outcome now; without held events nothing is expected."""
        queue = self._workflows.mailbox(snapshot.workflow_id).queue
        for item in [item for item in queue if item.due_ms <= now_ms]:
            queue.remove(item)
            self._ledger.decided(snapshot, item)
            event = self._plan.event_of(item)
            detail = (
                f"no event made workflow {snapshot.workflow_id!r} while this one was held for it"
            )
            self._end(snapshot, item, event or Event(""), Reason.EXPIRED, detail=detail)
        if queue:
            self._arm(snapshot, queue)
        else:
            self._ledger.remove(snapshot)

    def _arm(self, snapshot: Snapshot, queue: deque[Waiting]) -> None:
        snapshot.timers = (Timer(HOLD, 0, min(item.due_ms for item in queue)),)
        self._timers.arm(snapshot)
        self._ledger.changed(snapshot)

    def _full(self, held: int) -> str:
        """Which limit is reached, of events held for one workflow or in its shard; empty: none."""
        limits, in_shard = self._plan.limits, self._ledger.entry.waiting["held"]
        if held >= limits.max_held:
            return f"{held} events are held for this workflow already (max_held)"
        if in_shard >= limits.max_held_in_shard:
            return f"{in_shard} events are held in this shard already (max_held_in_shard)"
        return ""

    def _end(
        self, snapshot: Snapshot, item: Waiting, event: Event, reason: Reason, *, detail: str
    ) -> None:
        """The event has its outcome without a workflow: a letter, unless its machine wants none."""
        assert item.record is not None  # noqa: S101 - only records are held
        position = Position(item.topic, item.partition, item.record.offset)
        machine = self._plan.machines.get(snapshot.machine)
        hold = machine.hold(event.name) if machine is not None else None
        if hold is not None and hold.expiry is Missing.REJECT:
            told = {"workflow_id": snapshot.workflow_id, "event": event.name, "reason": reason}
            self._ledger.stray(Outcome.REJECTED, position, told | {"detail": detail})
            return
        self._letters.stray(item.record, position, reason, detail, workflow_id=snapshot.workflow_id)
