"""
What a step returns: the nouns between the pure machine room and whoever carries its decisions out.

`Machine.step(snapshot, event, now_ms)` returns a `Transition` or a `Refused`. Neither changes anything:
the engine's turn accepts a Transition after its decide callbacks, by swapping the fields named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from event_center.machine.spelling import meant
from event_center.model import Event, Json, Reason, Result, Snapshot, Timer, Unhandled

DONE = "@done"
"""The event of a state whose entry runs are all done (`on_done`), and of a job: `@done/@name`."""
ERROR = "@error"
"""
The event of a callback that failed for good (`on_error`), of a job `@error/@name`; payload: callback,
type, message, attempt.
"""
AFTER = "@after/"
"""Events of timers begin with this, followed by the key of `after` as it was written."""
ANY = "*"
"""In `on`: every event from outside that the state does not name."""

EXPLAINED = 1_024
"""Explanations that are kept: a publisher with a spelling mistake makes it with every event."""
LISTED = 16
"""Accepted events that an explanation lists: it stands in snapshots."""

Guard = Callable[[Snapshot, Event, int], Any]
"""A guard as the table calls it: snapshot, event, now_ms → truth. It does no I/O and changes nothing."""

Upgrader = Callable[[Mapping[str, Any]], dict[str, Json]]
"""What makes new data of `data`, `state`, `workflow_id` and `now`. It does no I/O."""


class Retry(NamedTuple):
    """How often and when a failed callback is tried again, in the terms of Amazon States Language."""

    max_attempts: int = 3
    interval_ms: int = 1_000
    backoff_rate: float = 2.0
    max_delay_ms: int = 60_000
    jitter: str = "none"
    """`none`, or `full`: a delay anywhere between 0 and the computed one."""
    errors: tuple[str, ...] = ()
    """Names of the error classes that are tried again; empty: all."""


class Action(NamedTuple):
    """One callback that a machine names, with what the machine says of it."""

    name: str
    retry: Retry = Retry()
    timeout_ms: int = 30_000
    eager: bool = False
    """Entry only: start with the accept, before the transition is durable."""


Emission = list[Any]
"""
An event that a transition sends out, worked out: its name, workflow_id and payload, the topic or None for
the inbox, the machine. A plain list, because one is made per event.
"""


class Transition:
    """The event moves the workflow, or is handled inside its state. Shared and never changed."""

    __slots__ = (
        "data",
        "decide",
        "emits",
        "entered",
        "jobs",
        "left",
        "memory",
        "owed",
        "plain",
        "result",
        "target",
        "timers",
    )

    def __init__(  # noqa: PLR0917 - made per event where a branch has assigns or timers
        self,
        target: str,
        entered: bool,
        decide: tuple[Action, ...] = (),
        data: dict[str, Json] | None = None,
        timers: tuple[Timer, ...] | None = None,
        owed: tuple[str, ...] = (),
        result: Result | None = None,
        left: frozenset[str] | None = None,
        memory: dict[str, str] | None = None,
        emits: Sequence[Emission] = (),
        jobs: tuple[str, ...] | None = None,
    ) -> None:
        self.target = target
        """The configuration after the transition; the same as before it for an internal one."""
        self.entered = entered
        """A state is entered: its time starts anew, and what the states owed that are left goes."""
        self.decide = decide
        """Callbacks to await one by one before the accept: `before`, `exit`, `actions`, in this order."""
        self.data = data
        """The workflow's new data; None leaves it as it is."""
        self.timers = timers
        """All timers after the transition; None leaves them as they are (only if not `entered`)."""
        self.owed = owed
        """Names of the entry callbacks owed by this transition, in order."""
        self.result = result
        """Set when the target is final."""
        self.left = left
        """Names of the entry callbacks and jobs of the states that are left; None: of all there were."""
        self.memory = memory
        """What history states will bring back; None leaves it as it is."""
        self.emits = emits
        """Events that leave in the cut of the transition."""
        self.jobs = jobs
        """Names of the jobs that what is entered invokes; None: no state of this machine has any."""
        self.plain = not (owed or decide or emits or jobs or data is not None)
        """It only moves the workflow."""


class Refused:
    """The event does not move the workflow; says why, and what the machine wants done with it."""

    __slots__ = ("accepted", "detail", "reason", "unhandled")

    def __init__(
        self, reason: Reason, unhandled: Unhandled, detail: str = "", accepted: tuple[str, ...] = ()
    ) -> None:
        self.reason = reason
        """unknown_event, not_accepted or guard."""
        self.unhandled = unhandled
        self.detail = detail
        """The guard that said no, as it is written in the machine."""
        self.accepted = accepted
        """The events that the state accepts, sorted."""

    def __repr__(self) -> str:
        """For who prints it: the reason, and what is said of it."""
        said = f": {self.detail}" if self.detail else ""
        return f"<Refused {self.reason}{said}; accepted: {', '.join(self.accepted) or 'nothing'}>"

    def explained(self, state: str, event_name: str) -> str:
        """What history says of it: the guard, or what the state accepts and was perhaps meant."""
        meant_name = event_name if self.reason is Reason.UNKNOWN_EVENT else ""
        return self.detail or accepted_text(f"state {state}", self.accepted, meant_name)


@lru_cache(maxsize=EXPLAINED)
def accepted_text(who: str, accepted: tuple[str, ...], event_name: str) -> str:
    """What `who` accepts instead of an event, and which of it was meant, for the detail of a refusal."""
    if not accepted:
        return f"{who} accepts no events"
    return f"{who} accepts: {', '.join(accepted[:LISTED])}{meant(event_name, accepted)}"


Decision = Transition | Refused
