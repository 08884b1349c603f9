"""
The machine: `step(snapshot, event, now_ms)` says what an event means for a workflow, and changes
nothing.

Pure and synchronous: no I/O, no clock, no await. A `Machine` is shared by all of its workflows and
never changed after it was built. Made by `loading` or `builder`; called by
the engine's turn, which carries the decision out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from event_center.machine.arriving import beginnings, born, lost, missing, put
from event_center.machine.canonical import content_hash
from event_center.machine.chart import NOTHING
from event_center.machine.decision import (
    AFTER,
    DONE,
    ERROR,
    Action,
    Decision,
    Guard,
    Refused,
    Transition,
)
from event_center.machine.definition import Calls, Definition, Hold, Job, Missing, OnFailure
from event_center.machine.macrostep import Macrostep, between
from event_center.machine.microstep import own_event
from event_center.machine.moves import Checked, Choice, Taken
from event_center.machine.table import Row, Table
from event_center.machine.timing import armed
from event_center.machine.upgrade import Upgraded, place, upgraded
from event_center.machine.writing import yaml_of
from event_center.model import (
    RESERVED,
    Event,
    Json,
    Owed,
    Reason,
    Result,
    Snapshot,
    Timer,
    Unhandled,
)

Data = dict[str, Json] | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Machine:
    """One version of one machine, ready to step."""

    name: str
    version: int
    initial: str
    hash: str
    """Sha256 of what the definition says; layout, comments and titles do not count."""
    on_failure: OnFailure
    perpetual: bool
    events: frozenset[str]
    """The names of all events in `on`."""
    states: tuple[str, ...]
    source: str
    callbacks: Mapping[str, frozenset[str]]
    """Every callback name, with the phases that it runs in: before, exit, action, entry, invoke."""
    entries: Mapping[str, tuple[str, ...]]
    """The entry callbacks of each state, in order."""
    exits: Mapping[str, tuple[str, ...]]
    """The exit callbacks of each state, in order."""
    guards: frozenset[str]
    """The names of the guards that plugins give."""
    eager: frozenset[str]
    """The callbacks that start with the accept."""
    definition: Definition = field(repr=False)
    given: Mapping[str, Guard] = field(repr=False)
    """The named guards that it has been given."""
    _table: Table = field(repr=False)
    _begins: frozenset[str] = field(repr=False)
    """Where a workflow can be after its birth."""
    _moves: Mapping[str, Mapping[str, Transition | Choice | Checked]] = field(repr=False)

    def to_yaml(self) -> str:
        """The machine in YAML, without comments; reading it gives a machine with the same hash."""
        return yaml_of(self.definition)

    def step(self, snapshot: Snapshot, event: Event, now_ms: int) -> Decision:
        """
        What this event does to this workflow; neither is changed, nor may the decision be.

        Raises:
            ExpressionError: an expression failed on its values, or a named guard was not given.
            DefinitionError: the workflow is in a state that this machine does not have, or does
                not come to rest.
            GuardFailed: a guard of a plugin raised; its cause is what it raised.
        """
        try:
            move = self._moves[snapshot.state].get(event.name)
        except KeyError:
            move = self._row(snapshot).moves.get(event.name)
        if isinstance(move, Transition):
            return move
        if move is not None and move.options is not None:
            for guard, taken, ready in move.options:
                if guard is None or guard(snapshot, event, now_ms):
                    return ready or self._transition(taken, snapshot, event, now_ms)
        return self._otherwise(move, snapshot, event, now_ms)

    def _otherwise(
        self, move: Choice | Checked | None, snapshot: Snapshot, event: Event, now_ms: int
    ) -> Decision:
        """What is not said by one look-up."""
        row = self._table.row(snapshot.state)
        if isinstance(move, Checked):
            fault = move.schema.fault(event.payload)
            if fault:
                return self._invalid(row, fault)
            if isinstance(move.then, Transition):
                return move.then
            move = move.then
            for guard, taken, ready in (move and move.options) or ():
                if guard is None or guard(snapshot, event, now_ms):
                    return ready or self._transition(taken, snapshot, event, now_ms)
        if move is None:
            if row.any is None or event.name in row.deferred or event.name.startswith(RESERVED):
                return self._not_accepted(row, event.name)
            move = row.any
        return self._among(row, move, snapshot, event, now_ms=now_ms)

    @staticmethod
    def _invalid(row: Row, fault: str) -> Refused:
        """A payload that does not fit would not fit later: it is no event to ignore or to set aside."""
        letter = row.unhandled is Unhandled.DEAD_LETTER
        unhandled = Unhandled.DEAD_LETTER if letter else Unhandled.REJECT
        return Refused(Reason.INVALID_PAYLOAD, unhandled, fault, row.accepts)

    def _among(
        self, row: Row, choice: Choice, snapshot: Snapshot, event: Event, *, now_ms: int
    ) -> Decision:
        """What is taken of several chains of moves, or of what a history state brings back."""
        moves = () if choice.options is not None else choice.chosen(snapshot, event, now_ms)
        if not moves:
            unhandled = Unhandled.DEFER if event.name in row.deferred else row.unhandled
            return Refused(Reason.GUARD, unhandled, choice.denied(), row.accepts)
        memory = snapshot.memory or NOTHING
        taken = self._table.microsteps.taken(snapshot.state, choice, moves, memory)
        ready = taken.ready
        if ready is not None and (ready.entered or not event.name.startswith(AFTER)):
            return ready
        return self._transition(taken, snapshot, event, now_ms)

    def _not_accepted(self, row: Row, name: str) -> Refused:
        if name in row.deferred:
            return row.deferral
        known = name in self.events or name.startswith(RESERVED)
        return row.not_accepted if known else row.unknown

    def _transition(
        self, taken: Taken, snapshot: Snapshot, event: Event, now_ms: int
    ) -> Transition:
        """The decision of a step of one move, or the long way."""
        move = taken.lone
        if move is None:
            return Macrostep(self._table, snapshot, event, now_ms).run(taken)
        data = None if move.assign is None else move.assign(snapshot, event, now_ms)
        if not taken.entered:
            timers = self._table.timers_on(snapshot, event.name, now_ms)
            made = Transition(
                taken.configuration,
                entered=False,
                decide=taken.decide,
                data=data,
                timers=None if timers is snapshot.timers else timers,
            )
        else:
            made = self._entered(taken, snapshot, event, now_ms, data)
        if move.emits is not None:
            made.emits = move.emits(snapshot, event, now_ms)
            made.plain = False
        return made

    def _entered(  # noqa: PLR0917 - called per event
        self, taken: Taken, snapshot: Snapshot, event: Event, now_ms: int, data: Data
    ) -> Transition:
        """The decision of a step of one move that enters a state."""
        new: tuple[Timer, ...] = ()
        if taken.arms:
            after = between(snapshot, taken.configuration, snapshot.data if data is None else data)
            new = armed(taken.arms, after, snapshot.seq + 1, now_ms)
        if taken.plain:
            return Transition(
                taken.configuration, True, taken.decide, data, new, taken.owed, taken.result
            )  # fmt: skip
        staying = snapshot.timers
        if staying:
            staying = self._table.timers_on(snapshot, event.name, now_ms)
            dropped = taken.dropped
            staying = (
                () if dropped is None else tuple(one for one in staying if one.id not in dropped)
            )
        memory: dict[str, str] | None = None
        if taken.remembered:
            memory = {**(snapshot.memory or NOTHING), **taken.remembered}
        return Transition(
            taken.configuration,
            entered=True,
            decide=taken.decide,
            data=data,
            timers=staying + new,
            owed=taken.owed,
            result=taken.result,
            left=taken.left,
            memory=memory,
            jobs=taken.jobs,
        )

    def birth(self, now_ms: int, event: Event | None = None, workflow_id: str = "") -> Transition:
        """
        The creation of a workflow, which is its transition number 0.

        Its event and id are for a choice, or `always`, that it begins with.

        Raises:
            ExpressionError, GuardFailed, DefinitionError: as of `step`, from there.
        """
        return born(self._table, event or Event(""), now_ms, workflow_id)

    def entering(
        self, state: str, seq: int, now_ms: int, snapshot: Snapshot | None = None
    ) -> Transition:
        """
        Entering a state without an event, as transition number `seq`: an operator put it there.

        The state is a configuration, or begins in one; the snapshot has the workflow's data.

        Raises:
            KeyError: the machine has no such state, or nobody rests in it.
            ExpressionError: a timer's expression fails on the workflow's data.
        """
        return put(self._table, state, seq, now_ms, snapshot=snapshot)

    def upgraded(self, snapshot: Snapshot, now_ms: int) -> Upgraded | None:
        """
        A workflow of another version as it is under this one; None if its state has no place here.

        Raises:
            ExpressionError, UpgradeFailed: the new data can not be worked out.
        """
        return upgraded(self._table, snapshot, now_ms)

    def has_place(self, snapshot: Snapshot) -> bool:
        """Whether a workflow of another version can go on under this one."""
        return place(self._table, snapshot) is not None

    def rests(self, configuration: str) -> bool:
        """Whether this is where a workflow of this machine can be between two events."""
        return self._table.chart.rests(configuration)

    def can_enter(self, state: str) -> bool:
        """Whether an operator can put a workflow there: a configuration, or a state that begins in one."""
        try:
            self._table.arrival(state)
        except KeyError:
            return False
        return True

    def missing(self, event_name: str) -> Missing:
        """What to do with an event whose workflow does not exist."""
        return missing(self._table, self._begins, event_name)

    def fault(self, event: Event) -> str:
        """Why the payload of an event from outside does not fit its schema; empty: it does."""
        declared = self.definition.declared(event.name)
        return "" if declared is None else declared.fault(event.payload)

    def hold(self, event_name: str) -> Hold | None:
        """How long such an event is held for a workflow that does not exist; None: it is not."""
        declared = self.definition.declared(event_name)
        return None if declared is None else declared.hold

    def creating(self) -> tuple[str, ...]:
        """The events that make a workflow where there is none, sorted."""
        known = self.events | (self.definition.events or {}).keys()
        return tuple(sorted(name for name in known if self.missing(name) is Missing.CREATE))

    def effect(self, state: str, name: str) -> Action:
        """An entry callback of the states active in a configuration, by its name; KeyError if none."""
        return self._table.row(state).effects[name]

    def job(self, state: str, name: str) -> Job:
        """A job of the states active in a configuration, by its name; KeyError if none."""
        return self._table.row(state).jobs[name]

    def same_state(self, state: str, name: str) -> frozenset[str]:
        """The entry callbacks of the active state that has this one, itself included."""
        owner = self._table.row(state).owners[name]
        return frozenset(call.action.name for call in owner.entry)

    def done_event(self, state: str, owed: Sequence[Owed]) -> str | None:
        """The event of a state whose last entry callback is the first of those owed, if it has one."""
        row = self._table.row(state)
        owner = row.owners.get(owed[0].name)
        if owner is None or owner.on_done is None or owner.children:
            return None
        if any(row.owners.get(other.name) is owner for other in owed[1:]):
            return None
        return own_event(DONE, owner, single=row.single)

    def error_event(self, state: str, name: str) -> str:
        """The event of an entry callback that failed for good."""
        row = self._table.row(state)
        owner = row.owners.get(name)
        return ERROR if owner is None else own_event(ERROR, owner, single=row.single)

    @property
    def pins(self) -> bool:
        """Whether workflows of older versions stay there."""
        return self.definition.pins

    @property
    def begins_at_rest(self) -> bool:
        """Whether a birth is the same for every event: nothing is chosen at it."""
        return not self._table.begin.restless

    def timers_after(self, snapshot: Snapshot, timer: Timer, now_ms: int) -> tuple[Timer, ...]:
        """The workflow's timers once this one was dealt with and it stayed; who repeats is set again."""
        return self._table.timers_after(snapshot, timer, now_ms)

    def moves(self, state: str) -> Mapping[str, Transition | Choice | Checked]:
        """What the state does with the events that it names; a Transition is the same every time."""
        return self._table.row(state).moves

    def unhandled(self, state: str) -> Unhandled:
        """What the state does with an event that it does not accept."""
        return self._table.row(state).unhandled

    def result(self, state: str) -> Result | None:
        """How a workflow that is over in this state ended; None where it is not over."""
        return self._table.row(state).result

    def has(self, state: str, event_name: str) -> bool:
        """Whether the state has branches for this event; also for `@done`, `@error` and timers."""
        row = self._table.row(state)
        move = row.moves.get(event_name)
        if isinstance(move, Checked):
            move = move.then
        if move is not None:
            return True
        return row.any is not None and event_name[:1] != RESERVED and event_name not in row.deferred

    def position(self, kind: str, name: str) -> str:
        """Where a callback, guard or upgrade is first named, as `file:line:column`; KeyError if nowhere."""
        line, column = self.definition.place_of(kind, name)
        return f"{self.source}:{line}:{column}"

    def with_guards(self, guards: Mapping[str, Guard]) -> Machine:
        """The same machine with these named guards; names that it does not use are passed over."""
        return build(self.definition, guards)

    def _row(self, snapshot: Snapshot) -> Row:
        """The row of a workflow's configuration, made now if nobody has been in it before."""
        try:
            return self._table.row(snapshot.state)
        except KeyError:
            raise lost(self.definition, snapshot) from None


def build(definition: Definition, guards: Mapping[str, Guard] | None = None) -> Machine:
    """The machine of a definition that has no problems."""
    table = Table(definition, guards or {})
    states = definition.states
    return Machine(
        name=definition.name,
        version=definition.version,
        initial=next(name for name in states if name == definition.initial),
        hash=content_hash(definition),
        on_failure=definition.on_failure,
        perpetual=definition.perpetual,
        events=definition.known(),
        states=tuple(states),
        source=definition.source,
        callbacks=definition.phases(),
        entries={name: _names(state.entry) for name, state in states.items()},
        exits={name: _names(state.exit) for name, state in states.items()},
        guards=frozenset(guard.name for guard in definition.named()),
        eager=frozenset(call.action.name for _, call in definition.calls() if call.action.eager),
        definition=definition,
        given=dict(guards or {}),
        _table=table,
        _begins=beginnings(table),
        _moves=table.moves,
    )


def _names(calls: Calls) -> tuple[str, ...]:
    return tuple(call.action.name for call in calls)
