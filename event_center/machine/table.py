"""
Definition → the flat table that a step looks things up in, compiled once and never changed.

One `Row` per *configuration*: in this release the name of a state, later also the joined names of
parallel leaves, so that a step stays one look-up however rich the language becomes. A move that
needs nothing of its event (no guard, assign or timer) is one ready `Transition`, shared
by all workflows; every other is a tuple of `Move`s, tried in order. Called by `step`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from event_center.machine.checks import leaves_state
from event_center.machine.decision import AFTER, DONE, ERROR, Action, Guard, Refused, Transition
from event_center.machine.definition import Branch, Branches, Call, Definition, On, State
from event_center.machine.guard import compiled, text_of
from event_center.machine.scope import values_of
from event_center.machine.value import Value, expressions, filled
from event_center.model import RESERVED, Event, Json, Reason, Result, Snapshot, Timer, Unhandled


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """What entering a state brings with it."""

    state: str
    owed: tuple[str, ...]
    timers: tuple[tuple[str, int], ...]
    """Timer ids and their delays in milliseconds."""
    result: Result | None

    def timers_from(self, seq: int, now_ms: int) -> tuple[Timer, ...]:
        """The state's timers, for an entry with this seq."""
        if not self.timers:
            return ()
        return tuple(Timer(name, seq, now_ms + delay_ms) for name, delay_ms in self.timers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One branch, compiled for the configuration that it is taken in."""

    guard: Guard | None
    denied: str
    """How a refusal names the guard."""
    state: str
    arrival: Arrival | None
    """None: the move is internal."""
    decide: tuple[Action, ...]
    assign: tuple[tuple[str, Value], ...]
    with_event: bool
    """An assign reads the root `event`."""
    ready: Transition | None
    """The decision, where it is the same for every event."""

    def data(self, snapshot: Snapshot, event: Event, now_ms: int) -> dict[str, Json] | None:
        """The new data: all assigns see the old one."""
        if not self.assign:
            return None
        values = values_of(snapshot, event, now_ms, with_event=self.with_event)
        return {**snapshot.data, **{key: filled(value, values) for key, value in self.assign}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What a machine knows of one configuration."""

    moves: Mapping[str, Transition | tuple[Move, ...]]
    unhandled: Unhandled
    accepts: tuple[str, ...]
    unknown: Refused
    not_accepted: Refused
    periods: Mapping[str, int]
    """The periods in milliseconds of the timers that repeat, by id."""
    effects: Mapping[str, Action]
    arrival: Arrival
    final: bool


Table = Mapping[str, Row]


def compile_table(definition: Definition, guards: Mapping[str, Guard]) -> Table:
    """The rows of all configurations; named guards that are not given raise when they are asked."""
    arrivals = {name: _arrival(state) for name, state in definition.states.items()}
    return {
        sys.intern(name): _Rows(definition, arrivals, guards).row(state)
        for name, state in definition.states.items()
    }


def _arrival(state: State) -> Arrival:
    return Arrival(
        state=sys.intern(state.name),
        owed=tuple(call.action.name for call in state.entry),
        timers=tuple(
            (sys.intern(AFTER + key), after.delay_ms) for key, after in state.after.items()
        ),
        result=state.result,
    )


def _actions(calls: tuple[Call, ...]) -> tuple[Action, ...]:
    return tuple(call.action for call in calls)


class _Rows:
    """Compiles rows; holds what all of them need."""

    def __init__(
        self, definition: Definition, arrivals: Mapping[str, Arrival], guards: Mapping[str, Guard]
    ) -> None:
        self._definition = definition
        self._arrivals = arrivals
        self._guards = guards

    def row(self, state: State) -> Row:
        """The row of one state."""
        branches = {} if state.final else self._branches(state)
        accepts = tuple(sorted(name for name in branches if not name.startswith(RESERVED)))
        unhandled = state.unhandled or self._definition.unhandled
        return Row(
            moves={
                sys.intern(name): self._moves(state, name, way) for name, way in branches.items()
            },
            unhandled=unhandled,
            accepts=accepts,
            unknown=Refused(Reason.UNKNOWN_EVENT, unhandled, accepted=accepts),
            not_accepted=Refused(Reason.NOT_ACCEPTED, unhandled, accepted=accepts),
            periods={
                AFTER + key: after.delay_ms for key, after in state.after.items() if after.repeats
            },
            effects={call.action.name: call.action for call in state.entry},
            arrival=self._arrivals[state.name],
            final=state.final,
        )

    def _branches(self, state: State) -> dict[str, Branches]:
        """All branches by event name: the state's own first, then those of the machine."""
        own: dict[str, On] = {**state.on}
        own.update({AFTER + key: after for key, after in state.after.items()})
        if state.on_done is not None:
            own[DONE] = state.on_done
        if state.on_error is not None:
            own[ERROR] = state.on_error
        branches = {name: on.branches for name, on in own.items()}
        for name, on in self._definition.on.items():
            branches[name] = branches.get(name, ()) + on.branches
        # The machine's last resort must not "handle" the failures of the state that it leads to.
        last = self._definition.on_error
        resort = () if last is None else last.branches
        resort = tuple(branch for branch in resort if branch.target != state.name)
        if resort:
            branches[ERROR] = branches.get(ERROR, ()) + resort
        return branches

    def _moves(self, state: State, name: str, branches: Branches) -> Transition | tuple[Move, ...]:
        moves = tuple(self._move(state, name, branch) for branch in branches)
        first = moves[0]
        # A branch without a guard always wins, so what follows it (root branches) is never tried.
        return first.ready if first.guard is None and first.ready is not None else moves

    def _move(self, state: State, name: str, branch: Branch) -> Move:
        leaving = leaves_state(state, branch)
        arrival = self._arrivals[branch.target] if leaving and branch.target is not None else None
        decide = _actions((*branch.before, *(state.exit if leaving else ()), *branch.actions))
        read = [one for value in branch.assign.values() for one in expressions(value)]
        steady = not name.startswith(AFTER) if arrival is None else not arrival.timers
        return Move(
            guard=None if branch.guard is None else compiled(branch.guard, self._guards),
            denied="" if branch.guard is None else text_of(branch.guard),
            state=sys.intern(state.name),
            arrival=arrival,
            decide=decide,
            assign=tuple((sys.intern(key), value) for key, value in branch.assign.items()),
            with_event=any("event" in expression.roots for expression in read),
            ready=_ready(state, arrival, decide) if steady and not branch.assign else None,
        )


def _ready(state: State, arrival: Arrival | None, decide: tuple[Action, ...]) -> Transition:
    if arrival is None:
        return Transition(sys.intern(state.name), entered=False, decide=decide)
    return Transition(
        arrival.state,
        entered=True,
        decide=decide,
        timers=(),
        owed=arrival.owed,
        result=arrival.result,
    )
