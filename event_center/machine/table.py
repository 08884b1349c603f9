"""
Definition → the flat table that a step looks things up in.

One `Row` per *configuration* (`chart`): the name of a state, or the joined names of parallel
leaves; so a step stays one look-up, however rich the language. What an event does there is a ready
`Transition`, shared by all workflows, where nothing of the event or the workflow changes it; else a
`Choice` among moves, whose microsteps are worked out once, when they are first needed. Called by
`step`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from event_center.machine.chart import NOTHING, Chart
from event_center.machine.decision import (
    AFTER,
    ANY,
    DONE,
    ERROR,
    Action,
    Guard,
    Refused,
    Transition,
)
from event_center.machine.definition import Branch, Definition, Job, On, State
from event_center.machine.guard import compiled, text_of
from event_center.machine.making import maker, updater
from event_center.machine.microstep import Microsteps, actions_of, job_event, own_event
from event_center.machine.moves import Checked, Choice, Move, emitter
from event_center.machine.timing import Arm, again, timer_id, whole_id
from event_center.model import RESERVED, Reason, Result, Snapshot, Timer, Unhandled

Chain = tuple[Move, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Row:
    """What a machine knows of one configuration."""

    moves: dict[str, Transition | Choice | Checked]
    any: Choice | None
    """For events that no active state names (`'*'`)."""
    always: Choice | None
    done: Mapping[str, Choice]
    """What follows when a state with states inside is done, by its name."""
    raised: dict[str, Choice | None]
    """The moves of events that branches raise, by name, found when they are first needed."""
    deferred: frozenset[str]
    unhandled: Unhandled
    accepts: tuple[str, ...]
    unknown: Refused
    not_accepted: Refused
    deferral: Refused
    periods: Mapping[str, int]
    """The periods in milliseconds of the timers that repeat, by id."""
    effects: Mapping[str, Action]
    """The entry callbacks of all active states, by name."""
    owners: Mapping[str, State]
    """Whose entry callback it is, by name."""
    jobs: Mapping[str, Job]
    """The jobs of all active states, by name."""
    single: bool
    """One leaf: its own `@done` and `@error` need no name."""
    final: bool
    result: Result | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Arrival:
    """What entering a state from outside of the machine comes to: a birth, or an operator."""

    configuration: str
    arms: tuple[Arm, ...]
    owed: tuple[str, ...]
    jobs: tuple[str, ...] | None
    result: Result | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Begin:
    """Where a birth begins."""

    configuration: str
    entered: tuple[str, ...]
    restless: bool
    """It goes on by itself: a state in it has `always`."""


class Table:
    """The rows of a machine, each made when it is first needed."""

    def __init__(self, definition: Definition, guards: Mapping[str, Guard]) -> None:
        self.chart = Chart(definition)
        self.moves: dict[str, dict[str, Transition | Choice | Checked]] = {}
        """The moves of the rows made so far, by configuration: what a step looks at."""
        self.definition = definition
        self._guards = guards
        self._rows: dict[str, Row] = {}
        self._known: dict[tuple[str | None, str], Chain] = {}
        """By source and event: compiled once, for all configurations."""
        self.microsteps = Microsteps(definition, self.chart)
        self.whole = tuple(
            Arm(id=whole_id(key), after=after.delay_ms if after.due is None else after.due)
            for key, after in definition.timeout.items()
        )
        """The timers of the whole workflow."""
        self._arrivals: dict[str, Arrival] = {}
        self.begin = self._begin(definition.initial)

    def row(self, configuration: str) -> Row:
        """
        The row of a configuration.

        Raises:
            KeyError: the machine has no such configuration.
        """
        found = self._rows.get(configuration)
        if found is None:
            found = self._made(configuration)
            self._rows[configuration] = found
            self.moves[sys.intern(configuration)] = found.moves
        return found

    def _begin(self, initial: str) -> Begin:
        names: set[str] = set()
        self.chart.enter(initial, None, NOTHING, names)
        return Begin(
            configuration=self.chart.configuration(names),
            entered=self.chart.sorted(names),
            restless=any(self.chart.states[name].always is not None for name in names),
        )

    def arrival(self, state: str) -> Arrival:
        """
        What entering a state or a configuration from outside of the machine comes to.

        Raises:
            KeyError: there is no such state, or nobody rests in what it begins with.
        """
        found = self._arrivals.get(state)
        if found is None:
            chart, microsteps = self.chart, self.microsteps
            names: set[str] = set()
            if chart.rests(state):
                names.update(chart.active(state))
            else:
                chart.enter(state, None, NOTHING, names)
            configuration = chart.configuration(names)
            if not chart.rests(configuration):
                raise KeyError(state)
            entered = chart.sorted(names)
            found = self._arrivals[state] = Arrival(
                configuration=sys.intern(configuration),
                arms=microsteps.arms(entered),
                owed=microsteps.owed(entered),
                jobs=microsteps.jobs(entered),
                result=self.row(configuration).result,
            )
        return found

    # -- rows ------------------------------------------------------------------------------------

    def _made(self, configuration: str) -> Row:
        chart = self.chart
        active = [chart.states[name] for name in chart.active(configuration)]
        final = len(active) == 1 and active[0].final
        lines = self._lines(chart.active(configuration))
        chains = {} if final else self._chains(configuration, active, lines)
        accepts = tuple(sorted(name for name in chains if not name.startswith(RESERVED)))
        unhandled = self._unhandled(lines)
        entries = [(call.action, state) for state in active for call in state.entry]
        row = Row(
            moves={},
            any=self._choice(chains.get(ANY, ())),
            always=self._choice(self._along(lines, lambda state: state.always, "@always")),
            done=self._done(active),
            raised={},
            deferred=frozenset(name for state in active for name in state.defer),
            unhandled=unhandled,
            accepts=accepts,
            unknown=Refused(Reason.UNKNOWN_EVENT, unhandled, accepted=accepts),
            not_accepted=Refused(Reason.NOT_ACCEPTED, unhandled, accepted=accepts),
            deferral=Refused(Reason.NOT_ACCEPTED, Unhandled.DEFER, accepted=accepts),
            periods=self._periods(active),
            effects={action.name: action for action, _ in entries},
            owners={action.name: state for action, state in entries},
            jobs={job.action.name: job for state in active for job in state.invoke},
            single=len(lines) == 1,
            final=final,
            result=active[0].result if final else None,
        )
        for name, found in chains.items():
            if name != ANY:
                row.moves[sys.intern(name)] = self._ready(configuration, name, found)
        for name, declared in (self.definition.events or {}).items():
            if declared.schema is not None and not final:
                then = row.moves.get(name)
                assert not isinstance(then, Checked)  # noqa: S101 - made here, once a row
                row.moves[sys.intern(name)] = Checked(schema=declared.schema, then=then)
        return row

    def _unhandled(self, lines: list[tuple[State, ...]]) -> Unhandled:
        """What the innermost state says that says anything, else the machine."""
        said = (state.unhandled for line in lines for state in line if state.unhandled is not None)
        return next(said, self.definition.unhandled)

    def _periods(self, active: list[State]) -> dict[str, int]:
        timers = {
            timer_id(state, key): after for state in active for key, after in state.after.items()
        }
        timers |= {whole_id(key): after for key, after in self.definition.timeout.items()}
        return {name: after.delay_ms for name, after in timers.items() if after.repeats}

    def _chains(
        self, configuration: str, active: list[State], lines: list[tuple[State, ...]]
    ) -> dict[str, tuple[Chain, ...]]:
        """Every event that means something here, with the moves of each leaf and what is around it."""
        root = self.definition
        named = {name for state in active for name in (*state.on, *state.defer)} | set(root.on)
        found = {name: self._listening(lines, name) for name in named}
        found[ERROR] = self._failing(configuration, lines)
        single = len(lines) == 1
        for state in active:
            for key, after in state.after.items():
                found[timer_id(state, key)] = (
                    self._moves(state.name, timer_id(state, key), after),
                )
            if state.on_done is not None and not state.children:
                found[own_event(DONE, state, single=single)] = (
                    self._moves(state.name, DONE, state.on_done),
                )
            if state.entry or state.invoke:
                line = (state, *(self.chart.states[one] for one in self.chart.above[state.name]))
                failing = self._failing(configuration, [line])
                if state.entry:
                    found[own_event(ERROR, state, single=single)] = failing
                found |= self._ends(state, failing)
        for key, after in root.timeout.items():
            found[whole_id(key)] = (self._moves(None, whole_id(key), after),)
        return {name: chains for name, chains in found.items() if any(chains)}

    def _ends(self, state: State, failing: tuple[Chain, ...]) -> dict[str, tuple[Chain, ...]]:
        """What follows when jobs of a state end: a failure goes on to who hears of its callbacks."""
        found: dict[str, tuple[Chain, ...]] = {}
        for job in state.invoke:
            done, error = job_event(DONE, job), job_event(ERROR, job)
            if job.on_done is not None:
                found[done] = (self._moves(state.name, done, job.on_done),)
            own = () if job.on_error is None else self._moves(state.name, error, job.on_error)
            found[error] = tuple(own + chain for chain in failing)
        return found

    def _listening(self, lines: list[tuple[State, ...]], name: str) -> tuple[Chain, ...]:
        """The moves of an event from outside; a state that defers it keeps it from those around."""
        chains = []
        for line in lines:
            chain: Chain = ()
            for state in line:
                chain += self._on(state.name, state.on, name)
                if name in state.defer:
                    break
            else:
                chain += self._on(None, self.definition.on, name)
            chains.append(chain)
        return tuple(chains)

    def _on(self, source: str | None, on: Mapping[str, On], name: str) -> Chain:
        """A state's branches for an event, then those for any."""
        found: Chain = ()
        for key in dict.fromkeys((name, ANY)):
            if key in on:
                found += self._moves(source, key, on[key])
        return found

    def _along(
        self, lines: list[tuple[State, ...]], way: Callable[[State], On | None], name: str
    ) -> tuple[Chain, ...]:
        """The moves of one key of the states, from each leaf outwards."""
        chains = []
        for line in lines:
            ways = ((state.name, way(state)) for state in line)
            moves = [self._moves(source, name, on) for source, on in ways if on is not None]
            chains.append(tuple(move for some in moves for move in some))
        return tuple(chains)

    def _failing(self, configuration: str, lines: list[tuple[State, ...]]) -> tuple[Chain, ...]:
        chains = self._along(lines, lambda state: state.on_error, ERROR)
        # The machine's last resort must not "handle" the failures of the state that it leads to.
        last = self.definition.on_error
        active = self.chart.active(configuration)
        resort = () if last is None else self._moves(None, ERROR, last)
        resort = tuple(move for move in resort if move.target not in active)
        return tuple(chain + resort for chain in chains)

    def _done(self, active: list[State]) -> dict[str, Choice]:
        ways = {state.name: state.on_done for state in active if state.children}
        chains = {name: self._moves(name, DONE, on) for name, on in ways.items() if on is not None}
        return {
            name: Choice(chains=(chain,), options=None, taken={}) for name, chain in chains.items()
        }

    def raised(self, configuration: str, name: str) -> Choice | None:
        """The moves of an event that a branch raises; None if no active state hears it."""
        row = self.row(configuration)
        if name not in row.raised:
            lines = self._lines(self.chart.active(configuration))
            row.raised[name] = self._choice(self._listening(lines, name))
        return row.raised[name]

    def _lines(self, active: tuple[str, ...]) -> list[tuple[State, ...]]:
        """Each leaf with the states around it, innermost first."""
        chart = self.chart
        return [
            tuple(chart.states[name] for name in (leaf, *chart.above[leaf]))
            for leaf in chart.leaves(active)
        ]

    # -- timers ----------------------------------------------------------------------------------

    def timers_after(self, snapshot: Snapshot, timer: Timer, now_ms: int) -> tuple[Timer, ...]:
        """The workflow's timers once this one was dealt with and its state stayed."""
        known = self.chart.rests(snapshot.state)
        period_ms = self.row(snapshot.state).periods.get(timer.id) if known else None
        others = tuple(one for one in snapshot.timers if one != timer)
        return others if period_ms is None else (*others, again(timer, period_ms, now_ms))

    def timers_on(self, snapshot: Snapshot, name: str, now_ms: int) -> tuple[Timer, ...]:
        """The workflow's timers once it has heard this event, as long as no state is left."""
        if name.startswith(AFTER):
            for timer in snapshot.timers:
                if timer.id == name:
                    return self.timers_after(snapshot, timer, now_ms)
        return snapshot.timers

    # -- moves -----------------------------------------------------------------------------------

    def _moves(self, source: str | None, name: str, on: On) -> Chain:
        known = self._known.get((source, name))
        if known is None:
            known = tuple(self._move(source, branch) for branch in on.branches)
            self._known[source, name] = known
        return known

    def _move(self, source: str | None, branch: Branch) -> Move:
        guard = branch.guard
        return Move(
            source=source,
            guard=None if guard is None else compiled(guard, self._guards, self.chart.active),
            denied="" if guard is None else text_of(guard),
            target=branch.target,
            reenter=branch.reenter,
            before=actions_of(branch.before),
            actions=actions_of(branch.actions),
            assign=updater(branch.assign) if branch.assign else None,
            raises=tuple((sys.intern(one.event), maker(one.payload)) for one in branch.raises),
            emits=emitter(branch.emits) if branch.emits else None,
        )

    @staticmethod
    def _choice(chains: tuple[Chain, ...]) -> Choice | None:
        chains = tuple(chain for chain in chains if chain)
        return Choice(chains=chains, options=None, taken={}) if chains else None

    def _ready(
        self, configuration: str, name: str, chains: tuple[Chain, ...]
    ) -> Transition | Choice:
        """The decision itself where no guard has a say in it and the event changes nothing of it."""
        choice = Choice(chains=tuple(chain for chain in chains if chain), options=None, taken={})
        timer = name.startswith(AFTER)
        if all(chain[0].guard is None for chain in choice.chains):
            # A branch without a guard always wins, so what follows it is never tried.
            moves = tuple(dict.fromkeys(chain[0] for chain in choice.chains))
            if not any(self.microsteps.recalls(move) for move in moves):
                ready = self.microsteps.taken(configuration, choice, moves, NOTHING).ready
                if ready is not None and (ready.entered or not timer):
                    return ready
        [chain, *others] = choice.chains
        if others or any(self.microsteps.recalls(move) for move in chain):
            return choice
        options = []
        for move in chain:
            taken = self.microsteps.taken(configuration, choice, (move,), NOTHING)
            steady = taken.ready is not None and (taken.ready.entered or not timer)
            options.append((move.guard, taken, taken.ready if steady else None))
        return replace(choice, options=tuple(options))
