"""
Microsteps: what some moves, taken together in one configuration, leave and enter.

Moves of inner states win over those of what is around them, and of two that leave the same states
the first in the order of the file. The order is that of SCXML: first `before`, then the exits,
inner states first, then `actions`; then the entries, outer states first, which are owed. A callback
named twice runs once: both runs would have one key. Each is worked out once, when it is first
needed. Called by `table`, `step` and `macrostep`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace

from event_center.machine.chart import Chart, Memory
from event_center.machine.decision import Action, Transition
from event_center.machine.definition import Call, Definition, Job, Kind, State
from event_center.machine.moves import Actions, Choice, Move, Taken
from event_center.machine.timing import Arm, timer_id
from event_center.model import RESERVED


def own_event(event: str, state: State, *, single: bool) -> str:
    """`@done` or `@error` of a state; of the only leaf it needs no name."""
    return event if single and not state.children else f"{event}/{state.name}"


def job_event(event: str, job: Job) -> str:
    """`@done` or `@error` of a job: no state has a name that begins so."""
    return f"{event}/{RESERVED}{job.action.name}"


def actions_of(calls: Iterable[Call]) -> Actions:
    """The callbacks of some calls."""
    return tuple(call.action for call in calls)


class Microsteps:
    """Works out the microsteps of one machine."""

    def __init__(self, definition: Definition, chart: Chart) -> None:
        self._chart = chart
        self._states: Mapping[str, State] = definition.states
        self._timed = bool(definition.timeout)
        """The machine itself has timers, which no transition drops."""
        self._invokes = any(state.invoke for state in self._states.values())

    def taken(
        self, configuration: str, choice: Choice, moves: tuple[Move, ...], memory: Memory
    ) -> Taken:
        """What these moves come to; `choice` keeps it."""
        histories = tuple(move.target for move in moves if self.recalls(move))
        key: object = moves
        if histories:
            key = (moves, tuple(memory.get(name) for name in histories if name is not None))
        found = choice.taken.get(key)
        if found is None:
            found = self._made(configuration, moves, memory)
            choice.taken[key] = found
        return found

    def recalls(self, move: Move) -> bool:
        """Whether where the move leads depends on what was left before."""
        return move.target is not None and self._states[move.target].kind is Kind.HISTORY

    def _made(self, configuration: str, moves: tuple[Move, ...], memory: Memory) -> Taken:
        chart, states = self._chart, self._states
        before = chart.active(configuration)
        taken, exits = self._without_conflicts(before, moves, memory)
        entered_set: set[str] = set()
        # What is left now is what a history state of it brings back, also within this microstep.
        recalled = {**memory, **chart.remembered(exits, before)}
        for move in taken:
            if move.target is not None and self._leaves(before, move):
                domain = chart.domain(move.source, move.target, recalled, reenter=move.reenter)
                chart.enter(move.target, domain, recalled, entered_set)
        stayed = [name for name in before if name not in exits]
        after = {*stayed, *entered_set}
        exited = chart.sorted(exits)[::-1]
        entered = chart.sorted(entered_set)
        completed = chart.completed(entered, stayed)
        done = tuple(name for name in completed if states[name].on_done is not None)
        ends_step = not (
            done
            or any(states[name].always is not None for name in after)
            or any(move.raises for move in taken)
        )
        result = states[entered[0]].result if len(after) == 1 and entered else None
        whole = not stayed and bool(exited)
        made = Taken(
            moves=taken,
            configuration=sys.intern(chart.configuration(after))
            if exited or entered
            else configuration,
            exited=exited,
            entered=entered,
            decide=once(
                *(action for move in taken for action in move.before),
                *(action for name in exited for action in actions_of(states[name].exit)),
                *(action for move in taken for action in move.actions),
            ),
            arms=self.arms(entered),
            dropped=None if whole and not self._timed else self.timers(exited),
            owed=self.owed(entered),
            jobs=self.jobs(entered),
            left=None if whole else self.runs(exited),
            result=result,
            remembered=chart.remembered(exited, before),
            done=done,
            ends_step=ends_step,
            lone=taken[0] if ends_step and len(taken) == 1 else None,
            plain=whole
            and not (self._timed or self._invokes)
            and not chart.remembered(exited, before),
            ready=None,
        )
        return _with_ready(made, steady=self._steady(made, stayed))

    def _steady(self, made: Taken, stayed: list[str]) -> bool:
        """Whether the decision is the same for every event and workflow."""
        timed = self._timed or any(self._states[name].after for name in stayed)
        return (
            made.ends_step
            and not made.remembered
            and not any(move.assign or move.emits for move in made.moves)
            and not (made.entered and (made.arms or timed))
        )

    def _without_conflicts(
        self, active: tuple[str, ...], moves: tuple[Move, ...], memory: Memory
    ) -> tuple[tuple[Move, ...], set[str]]:
        """The moves that are taken together, and the states that they leave."""
        chosen: dict[Move, set[str]] = {}
        for move in moves:
            if any(self._inside(other.source, move.source) for other in moves):
                continue  # what is around is only asked where nothing inside of it takes the event
            exits = self._exits(active, move, memory)
            rivals = [other for other in chosen if chosen[other] & exits]
            if not rivals:
                chosen[move] = exits
        return tuple(chosen), {name for exits in chosen.values() for name in exits}

    def _inside(self, source: str | None, other: str | None) -> bool:
        return source is not None and self._chart.within(source, other)

    def _exits(self, active: tuple[str, ...], move: Move, memory: Memory) -> set[str]:
        if move.target is None or not self._leaves(active, move):
            return set()
        chart = self._chart
        domain = chart.domain(move.source, move.target, memory, reenter=move.reenter)
        return {name for name in active if chart.within(name, domain)}

    def _leaves(self, active: tuple[str, ...], move: Move) -> bool:
        """A branch to the leaf that the workflow is in stays inside of it, unless it re-enters."""
        target = move.target
        return move.reenter or target not in active or bool(self._states[str(target)].children)

    # -- what states bring and take with them ----------------------------------------------------

    def arms(self, names: Iterable[str]) -> tuple[Arm, ...]:
        """The timers of these states."""
        states = [self._states[name] for name in names]
        return tuple(
            Arm(id=timer_id(state, key), after=after.delay_ms if after.due is None else after.due)
            for state in states
            for key, after in state.after.items()
        )

    def timers(self, names: Iterable[str]) -> frozenset[str]:
        """The ids of the timers of these states."""
        return frozenset(arm.id for arm in self.arms(names))

    def owed(self, names: Iterable[str]) -> tuple[str, ...]:
        """The entry callbacks of these states, in order."""
        return tuple(call.action.name for name in names for call in self._states[name].entry)

    def jobs(self, names: Iterable[str]) -> tuple[str, ...] | None:
        """The jobs of these states, in order; None if no state of the machine has any."""
        if not self._invokes:
            return None
        return tuple(job.action.name for name in names for job in self._states[name].invoke)

    def runs(self, names: Iterable[str]) -> frozenset[str]:
        """The entry callbacks and the jobs of these states."""
        names = tuple(names)
        return frozenset((*self.owed(names), *(self.jobs(names) or ())))


def once(*actions: Action) -> Actions:
    """The callbacks without those that come a second time."""
    names: dict[str, Action] = {}
    for action in actions:
        names.setdefault(action.name, action)
    return tuple(names.values())


def _with_ready(made: Taken, *, steady: bool) -> Taken:
    if not steady:
        return made
    moved = bool(made.entered)
    ready = Transition(
        made.configuration,
        entered=moved,
        decide=made.decide,
        timers=() if moved else None,
        owed=made.owed,
        result=made.result,
        left=made.left,
        jobs=made.jobs,
    )
    return replace(made, ready=ready)
