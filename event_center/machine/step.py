"""
The machine: `step(snapshot, event, now_ms)` says what an event means for a workflow, and changes
nothing.

Pure and synchronous: no I/O, no clock, no await. A `Machine` is shared by all of its workflows and
never changed after it was built. Made by `loading` (or later by a builder in Python); called by
the engine's turn, which carries the decision out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from event_center.errors import DefinitionError, Problem
from event_center.machine.canonical import content_hash
from event_center.machine.decision import AFTER, Action, Decision, Guard, Refused, Transition
from event_center.machine.definition import Definition, Missing, OnFailure
from event_center.machine.guard import Named, leaves
from event_center.machine.problems import Code
from event_center.machine.table import Move, Table, compile_table
from event_center.machine.value import copied
from event_center.model import RESERVED, Event, Json, Reason, Result, Snapshot, Timer, Unhandled


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
    """Every callback name, with the phases that it runs in: before, exit, action, entry."""
    entries: Mapping[str, tuple[str, ...]]
    """The entry callbacks of each state, in order."""
    exits: Mapping[str, tuple[str, ...]]
    """The exit callbacks of each state, in order."""
    guards: frozenset[str]
    """The names of the guards that plugins give."""
    definition: Definition = field(repr=False)
    _table: Table = field(repr=False)
    _moves: Mapping[str, Mapping[str, Transition | tuple[Move, ...]]] = field(repr=False)

    def step(self, snapshot: Snapshot, event: Event, now_ms: int) -> Decision:
        """
        What this event does to this workflow; neither is changed, nor may the decision be.

        Raises:
            ExpressionError: an expression failed on its values, or a named guard was not given.
            DefinitionError: the workflow is in a state that this machine does not have.
            GuardFailed: a guard of a plugin raised; its cause is what it raised.
        """
        try:
            move = self._moves[snapshot.state].get(event.name)
        except KeyError:
            raise self._lost(snapshot) from None
        if isinstance(move, Transition):
            return move
        if move is None:
            row = self._table[snapshot.state]
            known = event.name in self.events or event.name.startswith(RESERVED)
            return row.not_accepted if known else row.unknown
        return self._choice(move, snapshot, event, now_ms)

    def _choice(
        self, moves: tuple[Move, ...], snapshot: Snapshot, event: Event, now_ms: int
    ) -> Decision:
        """The first branch whose guard says yes."""
        for move in moves:
            if move.guard is None or move.guard(snapshot, event, now_ms):
                return move.ready or self._transition(move, snapshot, event, now_ms)
        row = self._table[snapshot.state]
        denied = ", ".join(move.denied for move in moves)
        return Refused(Reason.GUARD, row.unhandled, denied, row.accepts)

    def _transition(self, move: Move, snapshot: Snapshot, event: Event, now_ms: int) -> Transition:
        data = move.data(snapshot, event, now_ms)
        arrival = move.arrival
        if arrival is None:
            timers = self._timers_after(snapshot, event.name, now_ms)
            return Transition(
                move.state, entered=False, decide=move.decide, data=data, timers=timers
            )
        seq = snapshot.seq + 1
        return Transition(
            arrival.state,
            entered=True,
            decide=move.decide,
            data=data,
            timers=arrival.timers_from(seq, now_ms),
            owed=arrival.owed,
            result=arrival.result,
        )

    def _timers_after(self, snapshot: Snapshot, name: str, now_ms: int) -> tuple[Timer, ...] | None:
        """The timers after an internal transition: those of now, unless a timer caused it."""
        if not name.startswith(AFTER):
            return None
        fired = next((timer for timer in snapshot.timers if timer.id == name), None)
        return None if fired is None else self.timers_after(snapshot, fired, now_ms)

    def birth(self, now_ms: int) -> Transition:
        """The creation of a workflow, which is its transition number 0."""
        arrival = self._table[self.initial].arrival
        data: dict[str, Json] = copied(dict(self.definition.data))
        return Transition(
            arrival.state,
            entered=True,
            data=data,
            timers=arrival.timers_from(0, now_ms),
            owed=arrival.owed,
        )

    def entering(self, state: str, seq: int, now_ms: int) -> Transition:
        """
        Entering a state without an event, as transition number `seq`: an operator put it there.

        Raises:
            KeyError: the machine has no such state.
        """
        arrival = self._table[state].arrival
        return Transition(
            arrival.state,
            entered=True,
            timers=arrival.timers_from(seq, now_ms),
            owed=arrival.owed,
            result=arrival.result,
        )

    def missing(self, event_name: str) -> Missing:
        """What to do with an event whose workflow does not exist."""
        declared = (self.definition.events or {}).get(event_name)
        if declared is not None and declared.missing is not None:
            return declared.missing
        accepted = event_name in self._table[self.initial].accepts
        return Missing.CREATE if accepted else Missing.REJECT

    def creating(self) -> tuple[str, ...]:
        """The events that make a workflow where there is none, sorted."""
        known = self.events | (self.definition.events or {}).keys()
        return tuple(sorted(name for name in known if self.missing(name) is Missing.CREATE))

    def effect(self, state: str, name: str) -> Action:
        """
        The entry callback of a state by its name.

        Raises:
            KeyError: the state has no such entry callback.
        """
        return self._table[state].effects[name]

    @property
    def has_eager(self) -> bool:
        """Whether any entry callback starts with the accept."""
        rows = self._table.values()
        return any(action.eager for row in rows for action in row.effects.values())

    def timers_after(self, snapshot: Snapshot, timer: Timer, now_ms: int) -> tuple[Timer, ...]:
        """
        The workflow's timers once this one was dealt with and the workflow stayed in its state.

        One that repeats is armed again for the first multiple of its period after now, so that
        periods that were missed fire once.
        """
        row = self._table.get(snapshot.state)
        period_ms = None if row is None else row.periods.get(timer.id)
        others = tuple(one for one in snapshot.timers if one != timer)
        if period_ms is None:
            return others
        periods = max(0, now_ms - timer.due_ms) // period_ms + 1
        return (*others, timer._replace(due_ms=timer.due_ms + periods * period_ms))

    def unhandled(self, state: str) -> Unhandled:
        """What the state does with an event that it does not accept."""
        return self._table[state].unhandled

    def result(self, state: str) -> Result | None:
        """How a workflow that is over in this state ended; None where it is not over."""
        return self._table[state].arrival.result

    def has(self, state: str, event_name: str) -> bool:
        """Whether the state has branches for this event; also for `@done`, `@error` and timers."""
        return event_name in self._moves[state]

    def position(self, kind: str, name: str) -> str:
        """
        Where a callback or guard is first named, as `file:line:column`.

        Args:
            kind: `callback` or `guard`.
            name: its name.

        Raises:
            KeyError: the machine names no such callback or guard.
        """
        if kind == "guard":
            places = [guard.place for guard in _named(self.definition) if guard.name == name]
        else:
            calls = self.definition.calls()
            places = [call.place for _, call in calls if call.action.name == name]
        if not places:
            raise KeyError(name)
        line, column = min(places)
        return f"{self.source}:{line}:{column}"

    def with_guards(self, guards: Mapping[str, Guard]) -> Machine:
        """The same machine with these named guards; names that it does not use are passed over."""
        return build(self.definition, guards)

    def _lost(self, snapshot: Snapshot) -> DefinitionError:
        message = (
            f"workflow '{snapshot.workflow_id}' is in state '{snapshot.state}', which version "
            f"{self.version} of machine '{self.name}' does not have; put the state back, or "
            "move the workflow with set-state"
        )
        return DefinitionError([Problem(self.source, 1, 1, Code.LOST_STATE, message)])


def build(definition: Definition, guards: Mapping[str, Guard] | None = None) -> Machine:
    """The machine of a definition that has no problems."""
    table = compile_table(definition, guards or {})
    return Machine(
        name=definition.name,
        version=definition.version,
        initial=next(name for name in table if name == definition.initial),
        hash=content_hash(definition),
        on_failure=definition.on_failure,
        perpetual=definition.perpetual,
        events=_events(table),
        states=tuple(table),
        source=definition.source,
        callbacks=_callbacks(definition),
        entries={name: tuple(row.effects) for name, row in table.items()},
        exits={
            name: tuple(call.action.name for call in state.exit)
            for name, state in definition.states.items()
        },
        guards=frozenset(guard.name for guard in _named(definition)),
        definition=definition,
        _table=table,
        _moves={name: row.moves for name, row in table.items()},
    )


def _events(table: Table) -> frozenset[str]:
    return frozenset(name for row in table.values() for name in row.accepts)


def _callbacks(definition: Definition) -> dict[str, frozenset[str]]:
    phases: dict[str, set[str]] = {}
    for phase, call in definition.calls():
        phases.setdefault(call.action.name, set()).add(phase)
    return {name: frozenset(found) for name, found in phases.items()}


def _named(definition: Definition) -> list[Named]:
    found = [leaf for condition in definition.conditions() for leaf in leaves(condition)]
    return [leaf for leaf in found if isinstance(leaf, Named)]
