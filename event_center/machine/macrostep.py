"""
One step of several microsteps: choices, `always`, and what follows when a state inside is done.

After each microstep the workflow goes on by itself until nothing more is to be taken: first
`always`, then states that are done and events that were raised. What comes out is one Transition.
States that are entered and left again within the step were never rested in: they owe no entry and
run no exit. Called by `step`, where a microstep is not the end of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from event_center.errors import DefinitionError, Problem
from event_center.machine.chart import NOTHING
from event_center.machine.decision import AFTER, Action, Emission, Transition
from event_center.machine.microstep import once
from event_center.machine.moves import Choice, Taken
from event_center.machine.problems import Code
from event_center.machine.spelling import quoted
from event_center.machine.table import Table
from event_center.machine.timing import armed
from event_center.model import Event, Json, Snapshot, Timer

LONGEST = 100
"""Microsteps of one step: a machine that takes more would never come to rest."""


class Macrostep:
    """One step under way."""

    def __init__(self, table: Table, snapshot: Snapshot, event: Event, now_ms: int) -> None:
        self._table = table
        self._snapshot = snapshot
        self._event = event
        self._begun_by = event.name
        self._now_ms = now_ms
        self._at = between(snapshot, snapshot.state, snapshot.data)
        self._memory = dict(snapshot.memory or NOTHING)
        self._data: dict[str, Json] | None = None
        self._decide: list[Action] = []
        self._emits: list[Emission] = []
        self._fresh: set[str] = set()
        """Entered within this step, and not left again."""
        self._gone: set[str] = set()
        """Left by this step: active before it."""
        self._follow: deque[str | Event] = deque()
        """What comes next within this step: states that are done, and raised events."""

    def run(self, taken: Taken | None) -> Transition:
        """Take the first microstep and all that follow."""
        for _ in range(LONGEST):
            if taken is None:
                return self._decision()
            self._take(taken)
            taken = None if taken.result is not None else self._next()
        raise self._restless()

    def born(self, entered: Iterable[str]) -> Transition:
        """A birth: these states are entered, and what follows by itself follows."""
        self._fresh.update(entered)
        return self.run(self._next())

    def _take(self, taken: Taken) -> None:
        states = self._table.chart.states
        at = self._at
        for move in taken.moves:
            self._follow += move.raised(at, self._event, self._now_ms)
            if move.emits is not None:
                self._emits += move.emits(at, self._event, self._now_ms)
            if move.assign is not None:
                self._data = at.data = move.assign(at, self._event, self._now_ms)
            self._decide += move.before
        for name in taken.exited:
            if name in self._fresh:
                self._fresh.remove(name)
            else:
                self._gone.add(name)
                self._decide += [call.action for call in states[name].exit]
        for move in taken.moves:
            self._decide += move.actions
        self._fresh.update(taken.entered)
        self._memory |= taken.remembered
        at.state = taken.configuration
        self._follow += taken.done

    def _next(self) -> Taken | None:
        """What follows by itself: `always`, else the next of what it has brought about."""
        row = self._table.row(self._at.state)
        taken = self._chosen(row.always)
        while taken is None and self._follow:
            following = self._follow.popleft()
            if isinstance(following, Event):
                # From here on guards and assigns see this event.
                self._event = following
                taken = self._chosen(self._table.raised(self._at.state, following.name))
            else:
                row = self._table.row(self._at.state)
                taken = self._chosen(row.done.get(following))
        return taken

    def _chosen(self, choice: Choice | None) -> Taken | None:
        if choice is None:
            return None
        moves = choice.chosen(self._at, self._event, self._now_ms)
        if not moves:
            return None
        return self._table.microsteps.taken(self._at.state, choice, moves, self._memory)

    def _decision(self) -> Transition:
        chart, microsteps = self._table.chart, self._table.microsteps
        before, after = self._snapshot, self._at
        entered = chart.sorted(self._fresh)
        moved = bool(self._fresh or self._gone)
        left = len(self._gone) == len(chart.active(before.state))
        row = self._table.row(after.state)
        timers: tuple[Timer, ...] | None = None
        if moved or self._begun_by.startswith(AFTER):
            staying = self._table.timers_on(before, self._begun_by, self._now_ms)
            dropped = microsteps.timers(self._gone)
            seq = before.seq + 1
            new = armed(microsteps.arms(entered), after, seq, self._now_ms)
            timers = (*(timer for timer in staying if timer.id not in dropped), *new)
        return Transition(
            after.state,
            entered=moved,
            decide=once(*self._decide),
            data=self._data,
            timers=timers,
            owed=microsteps.owed(entered),
            result=row.result,
            left=None if left else microsteps.runs(self._gone),
            memory=self._memory if self._memory != (before.memory or NOTHING) else None,
            emits=self._emits,
            jobs=microsteps.jobs(entered),
        )

    def _restless(self) -> DefinitionError:
        definition = self._table.definition
        state = self._table.chart.leaves(self._table.chart.active(self._at.state))[0]
        line, column = definition.states[state].place
        message = (
            f"workflow {quoted(self._snapshot.workflow_id)} does not come to rest: after "
            f"{LONGEST} microsteps on {quoted(self._begun_by)} it is in {quoted(self._at.state)}; "
            "look at the guards of `always` and `on_done` there"
        )
        return DefinitionError([Problem(definition.source, line, column, Code.ENDLESS, message)])


def between(snapshot: Snapshot, state: str, data: dict[str, Json]) -> Snapshot:
    """The workflow as guards and expressions see it between two microsteps."""
    found = Snapshot(snapshot.workflow_id, snapshot.machine, snapshot.version, state)
    found.data = data
    found.seq = snapshot.seq
    found.status = snapshot.status
    found.entered_at_ms = snapshot.entered_at_ms
    return found
