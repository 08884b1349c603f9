"""
What a definition says, as frozen nouns: states, branches, callbacks, timers, where each one stands.

Made by `reading` from YAML; `checks` looks for mistakes between its parts, `table` compiles it, and
whoever draws a machine reads it. Nothing here is evaluated or changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from event_center.machine.cases import Case
from event_center.machine.decision import ANY, Action, Upgrader
from event_center.machine.expression import Expression
from event_center.machine.guard import Condition, Named, leaves
from event_center.machine.problems import Place
from event_center.machine.schema import Schema
from event_center.machine.value import Value
from event_center.model import Json, Result, Unhandled

NOWHERE = Place(1, 1)


class Missing(StrEnum):
    """What to do with an event whose workflow does not exist."""

    CREATE = "create"
    HOLD = "hold"
    REJECT = "reject"
    DEAD_LETTER = "dead_letter"


class OnFailure(StrEnum):
    """What to do with a workflow whose callback failed for good and has no `on_error`."""

    PARK = "park"
    DEAD_LETTER = "dead_letter"


class OnUpgrade(StrEnum):
    """What becomes of workflows of older versions."""

    MOVE = "move"
    PIN = "pin"


class Kind(StrEnum):
    """The kinds of states."""

    ATOMIC = "atomic"
    FINAL = "final"
    CHOICE = "choice"
    COMPOUND = "compound"
    PARALLEL = "parallel"
    HISTORY = "history"


RESTING = frozenset({Kind.ATOMIC, Kind.FINAL})
"""Kinds that a configuration is made of; a choice is a leaf only within a step."""


class Phase(StrEnum):
    """When a callback runs."""

    BEFORE = "before"
    EXIT = "exit"
    ACTION = "action"
    ENTRY = "entry"
    INVOKE = "invoke"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One place that names a callback."""

    place: Place
    action: Action


Calls = tuple[Call, ...]


Text = str | Mapping[str, str]
"""A text for readers, or the same in several languages by their codes."""

Tags = tuple[str, ...] | Mapping[str, tuple[str, ...]]
"""Words for readers and tools, or the same in several languages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Raise:
    """An event that a branch hands to its own workflow, within the same step."""

    place: Place
    event: str
    payload: Value = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Emit:
    """An event that a branch sends out: to a workflow through the inbox, or to a topic."""

    place: Place
    where: str
    event: str
    topic: str | None = None
    """None: to the workflow, through the inbox of its home."""
    workflow_id: Value = None
    """None: the own one, as the event of a topic has it."""
    machine: str | None = None
    """The machine of the workflow that this event makes, if there is none yet."""
    payload: Value = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """One way that an event can take."""

    place: Place
    target: str | None = None
    """None: the event is handled inside the state."""
    target_place: Place = NOWHERE
    guard: Condition | None = None
    before: Calls = ()
    actions: Calls = ()
    assign: Mapping[str, Value] = field(default_factory=dict)
    raises: tuple[Raise, ...] = ()
    emits: tuple[Emit, ...] = ()
    reenter: bool = False
    repeat: bool = False
    description: Text = ""


Branches = tuple[Branch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class On:
    """The branches of one event or timer, in the order in which they are tried."""

    place: Place
    branches: Branches


@dataclass(frozen=True, kw_only=True, slots=True)
class After(On):
    """The branches of one timer; it repeats if one of them says so."""

    delay_ms: int
    due: Expression | None = None
    """The time when it is due, worked out when the state is entered; then `delay_ms` is 0."""

    @property
    def repeats(self) -> bool:
        """Whether the timer is armed again while the state lasts."""
        return any(branch.repeat for branch in self.branches)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A callback that runs beside the machine for as long as its state is active."""

    place: Place
    action: Action
    grace_ms: int
    """How long it may take to end once it was asked to."""
    heartbeat_ms: int | None = None
    """The longest silence of an attempt; None: it need not say that it is alive."""
    on_done: On | None = None
    on_error: On | None = None

    def ways(self) -> Iterator[tuple[str, On]]:
        """What its end moves, named as a message would."""
        if self.on_done is not None:
            yield f"on_done of {self.action.name}", self.on_done
        if self.on_error is not None:
            yield f"on_error of {self.action.name}", self.on_error


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """One state, wherever it stands; `parent` and `children` make the tree."""

    place: Place
    name: str
    kind: Kind = Kind.ATOMIC
    parent: str | None = None
    """The state that it is a part of; None at the top."""
    children: tuple[str, ...] = ()
    """The states inside, in the order of the file: of a parallel state its regions."""
    initial: str = ""
    """Of a compound state, the child that is entered with it."""
    initial_place: Place = NOWHERE
    deep: bool = False
    """A history state brings back leaves, not only the child."""
    default: str | None = None
    """Where a history state leads while there is nothing to bring back; None: as its parent begins."""
    default_place: Place = NOWHERE
    result: Result | None = None
    entry: Calls = ()
    exit: Calls = ()
    invoke: tuple[Job, ...] = ()
    on: Mapping[str, On] = field(default_factory=dict)
    after: Mapping[str, After] = field(default_factory=dict)
    on_error: On | None = None
    on_done: On | None = None
    always: On | None = None
    defer: Mapping[str, Place] = field(default_factory=dict)
    """Events that are set aside in this state, and where they are written."""
    unhandled: Unhandled | None = None
    perpetual: bool = False
    exits: Mapping[str, Place] = field(default_factory=dict)
    """Where the keys stand that a state of this kind may not have."""
    title: Text = ""
    description: Text = ""
    tags: Tags = ()
    meta: Json = None

    @property
    def final(self) -> bool:
        """Whether it ends the workflow, or the state that it is a part of."""
        return self.kind is Kind.FINAL

    def ways(self) -> Iterator[tuple[str, On]]:
        """Everything that can move a workflow out of this state, named as a message would."""
        yield from self.on.items()
        for key, after in self.after.items():
            yield f"after {key}", after
        for job in self.invoke:
            yield from job.ways()
        if self.on_error is not None:
            yield "on_error", self.on_error
        if self.on_done is not None:
            yield "on_done", self.on_done
        if self.always is not None:
            yield "always", self.always


class Hold(NamedTuple):
    """How long an event waits for a workflow that does not exist yet."""

    limit_ms: int
    expiry: Missing
    """What becomes of it then: `reject` or `dead_letter`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """One event of `events`."""

    place: Place
    missing: Missing | None = None
    hold: Hold | None = None
    """Given where `missing` is `hold`."""
    schema: Schema | None = None
    """What its payload has to fit, wherever the event comes from outside."""
    title: Text = ""
    description: Text = ""

    def fault(self, payload: Json) -> str:
        """Why a payload from outside does not fit the schema; empty: it does."""
        return "" if self.schema is None else self.schema.fault(payload)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upgrade:
    """What is made of the workflows of one older version, on the way to the next one."""

    place: Place
    version: int
    states: Mapping[str, str] = field(default_factory=dict)
    """Old names of states, and their new ones."""
    data: Mapping[str, Value] = field(default_factory=dict)
    """New values, worked out from the old data."""
    drop: tuple[str, ...] = ()
    """Keys of data that are no more."""
    function: str = ""
    """What a plugin gives to make the new data, instead of `data` and `drop`; empty: those."""
    given: Upgrader | None = None
    """The function, once a plugin gave it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """A whole machine; `states` has all of them, those inside of others too, as the file has them."""

    source: str
    name: str
    version: int
    initial: str
    initial_place: Place = NOWHERE
    states: Mapping[str, State] = field(default_factory=dict)
    data: Mapping[str, Json] = field(default_factory=dict)
    events: Mapping[str, Declared] | None = None
    on: Mapping[str, On] = field(default_factory=dict)
    timeout: Mapping[str, After] = field(default_factory=dict)
    """Timers of the whole workflow, armed at its birth."""
    on_error: On | None = None
    on_failure: OnFailure = OnFailure.PARK
    unhandled: Unhandled = Unhandled.REJECT
    on_upgrade: OnUpgrade = OnUpgrade.MOVE
    upgrades: tuple[Upgrade, ...] = ()
    """Oldest version first."""
    perpetual: bool = False
    title: Text = ""
    description: Text = ""
    tests: tuple[Case, ...] = ()
    """What it promises, in examples; nothing of the machine depends on them."""
    tags: Tags = ()
    meta: Json = None
    blueprint: type[Any] | None = field(default=None, compare=False, repr=False)
    """The class that it was written as."""

    def ways(self) -> Iterator[tuple[str, On]]:
        """Everything that can move a workflow out of any state that is not final."""
        yield from self.on.items()
        for key, after in self.timeout.items():
            yield f"timeout {key}", after
        if self.on_error is not None:
            yield "on_error", self.on_error

    def declared(self, event_name: str) -> Declared | None:
        """What `events` says of an event; None: nothing."""
        return (self.events or {}).get(event_name)

    def everything(self) -> Iterator[tuple[str, On]]:
        """All ways of all states and of the machine, named with their state."""
        for state in self.states.values():
            for name, on in state.ways():
                yield f"{name!r} in '{state.name}'", on
        for name, on in self.ways():
            yield f"{name!r} of the machine", on

    def calls(self) -> Iterator[tuple[Phase, Call]]:
        """Every place that names a callback, with its phase."""
        for state in self.states.values():
            yield from ((Phase.ENTRY, call) for call in state.entry)
            yield from ((Phase.EXIT, call) for call in state.exit)
            for job in state.invoke:
                yield Phase.INVOKE, Call(place=job.place, action=job.action)
        for _, on in self.everything():
            for branch in on.branches:
                yield from ((Phase.BEFORE, call) for call in branch.before)
                yield from ((Phase.ACTION, call) for call in branch.actions)

    @property
    def pins(self) -> bool:
        """Whether workflows of older versions stay there."""
        return self.on_upgrade is OnUpgrade.PIN

    def emits(self) -> Iterator[Emit]:
        """Everything that branches send out."""
        for _, on in self.everything():
            for branch in on.branches:
                yield from branch.emits

    def known(self) -> frozenset[str]:
        """The names of all events in `on`."""
        tables = (self.on, *(state.on for state in self.states.values()))
        return frozenset(name for on in tables for name in on if name != ANY)

    def phases(self) -> dict[str, frozenset[str]]:
        """The names of all callbacks, with the phases that each runs in."""
        found: dict[str, set[str]] = {}
        for phase, call in self.calls():
            found.setdefault(call.action.name, set()).add(phase)
        return {name: frozenset(phases) for name, phases in found.items()}

    def named(self) -> list[Named]:
        """Every place that names a guard which plugins give."""
        found = [leaf for condition in self.conditions() for leaf in leaves(condition)]
        return [leaf for leaf in found if isinstance(leaf, Named)]

    def place_of(self, kind: str, name: str) -> Place:
        """
        Where a `callback`, `guard` or `upgrade` is first named.

        Raises:
            KeyError: it is not.
        """
        if kind == "guard":
            places = [guard.place for guard in self.named() if guard.name == name]
        elif kind == "upgrade":
            places = [one.place for one in self.upgrades if one.function == name]
        else:
            places = [call.place for _, call in self.calls() if call.action.name == name]
        if not places:
            raise KeyError(name)
        return min(places)

    def conditions(self) -> Iterator[Condition]:
        """The guards of all branches."""
        for _, on in self.everything():
            yield from (branch.guard for branch in on.branches if branch.guard is not None)
