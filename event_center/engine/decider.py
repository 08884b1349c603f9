"""
The turn, as the parts that it hands something on to see it: each hands it back through this.

The turn makes them and gives itself to them, so that nothing has to be tied together afterwards:

    what the turn hands on                       | to           | what comes back, and where
    an event with decide callbacks               | `deciding`   | the same event: `accept`, `go_on`
    an event that could not be decided           | `failing`    | what follows: `decide`, `park`, `go_on`
    the runs that a state owes                   | `effect`     | their results: `internal`, `park`
    the jobs that a state owes                   | `jobs`       | their ends: `advance`, `park`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from event_center.engine.workflow import Waiting
from event_center.machine.decision import Transition
from event_center.model import Event, Snapshot, Timer


class Decider(Protocol):
    """Who decides: the turn."""

    def decide(self, snapshot: Snapshot, event: Event, item: Waiting | None = None) -> None:
        """Decide one event."""

    def internal(
        self, snapshot: Snapshot, event: Event, ends: Callable[[], None] | None = None
    ) -> None:
        """Decide an event that is no record now."""

    def accept(
        self, snapshot: Snapshot, event: Event, item: Waiting | None, decision: Transition
    ) -> None:
        """Swap in what was decided."""

    def waits_no_more(self, snapshot: Snapshot, item: Waiting | None) -> None:
        """What waited waits no more."""

    def give_up(self, snapshot: Snapshot, why: str, left: frozenset[str] | None = None) -> None:
        """The runs that states still owe will not happen."""

    def drop_timer(self, snapshot: Snapshot, timer: Timer) -> None:
        """A timer was dealt with and its workflow stays."""

    def park(self, snapshot: Snapshot, why: str, item: Waiting | None) -> None:
        """Stop the workflow."""

    def refresh_status(self, snapshot: Snapshot) -> None:
        """Give the workflow the status that it has when nobody has stopped it."""

    def timers_ahead(self, snapshot: Snapshot) -> None:
        """Timers that queued go first, if a run is tried again later."""

    def advance(self, snapshot: Snapshot) -> None:
        """Decide what waits for the workflow."""

    def go_on(self, snapshot: Snapshot) -> None:
        """Take the next thing that waits, and what the state owes."""
