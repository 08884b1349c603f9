"""
What entering a state brings with it, and what leaving one takes away: data of a snapshot, in one block.

Nothing is evaluated here: the decision has all of it. What is owed starts once the cut that owes it is
durable (`effect`, `jobs`), timers fire when they are due (`timers`). The turn calls `enter` as it accepts,
the intake at a birth, `commands` when an operator has chosen the state.
"""

from __future__ import annotations

from event_center.engine.decider import Decider
from event_center.engine.effect import Effects
from event_center.engine.ledger import Ledger
from event_center.engine.timers import Timers
from event_center.engine.workflow import Workflows, forget
from event_center.machine.decision import Transition
from event_center.model import ACTIVE, Event, Owed, Snapshot
from event_center.wire import history

_owed = tuple.__new__
"""Makes a named tuple of a tuple without the detour over its constructor: one is made per entry."""


class Entering:
    """Enters states, for the workflows of one shard."""

    def __init__(
        self,
        workflows: Workflows,
        ledger: Ledger,
        *,
        timers: Timers,
        effects: Effects,
        decider: Decider,
    ) -> None:
        self._workflows = workflows
        self._ledger = ledger
        self._timers = timers
        self._effects = effects
        self._jobs = effects.jobs
        self._decider = decider

    def enter(  # noqa: C901 - once per event: to call out costs more than a branch
        self, snapshot: Snapshot, event: Event, decision: Transition
    ) -> None:
        """The workflow enters a state: what belonged to the old one goes."""
        if snapshot.owed:
            self._leave(snapshot, event, decision)
        snapshot.state = decision.target
        snapshot.entered_at_ms = self._ledger.now_ms
        if decision.timers:
            snapshot.timers = decision.timers
            self._timers.arm(snapshot)
        else:
            snapshot.timers = ()
        if decision.memory is not None:
            snapshot.memory = decision.memory
        if decision.owed:
            seq = snapshot.seq
            for name in decision.owed:
                snapshot.owed += (_owed(Owed, (name, seq, 0, 0, 0)),)
            snapshot.cause = event
            self._ledger.owes(snapshot)
            # Else one that stays is owed first.
            if snapshot.machine in self._effects.eager and snapshot.owed[0].seq == seq:
                self._effects.start_eager(snapshot)
        if decision.jobs is not None:
            self._jobs.entered(snapshot, event, decision)
        if decision.result is not None:
            snapshot.result = decision.result
            snapshot.closed_at_ms = snapshot.entered_at_ms
            snapshot.timers = ()
        mailbox = self._workflows.mailboxes.get(snapshot.workflow_id)
        if mailbox is not None:
            mailbox.entered()
        if decision.result is not None or snapshot.status is not ACTIVE:
            self._decider.refresh_status(snapshot)

    def _leave(self, snapshot: Snapshot, event: Event, decision: Transition) -> None:
        """What is left owes nothing more; runs of states that stay keep the event that caused them."""
        self.give_up(snapshot, f"left by {event.name}", decision.left)
        if decision.owed and snapshot.owed and snapshot.cause is not None:
            older = {one.seq: snapshot.cause for one in snapshot.owed}
            snapshot.earlier = older | (snapshot.earlier or {})

    def give_up(self, snapshot: Snapshot, why: str, left: frozenset[str] | None = None) -> None:
        """The runs that states still owe (those `left`, or all) will not happen; history says so."""
        rest: tuple[Owed, ...] = ()
        for owed in snapshot.owed:
            if left is not None and owed.name not in left:
                rest = (*rest, owed)
                continue
            data = {"callback": owed.name, "attempt": owed.attempt, "seq": owed.seq}
            data |= {"outcome": "given_up", "reason": why, "state": snapshot.state}
            origin = f"run/{owed.seq}/{owed.name}/given_up"
            self._ledger.tell(history.RUN, snapshot.workflow_id, origin, data)
        snapshot.owed = rest
        if rest:
            self._ledger.owes(snapshot)
        forget(snapshot)
