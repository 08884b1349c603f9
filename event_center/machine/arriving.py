"""
States that are entered without a transition: by a birth, or because an operator put a workflow there.

A birth goes on by itself until the workflow rests: a choice that it begins in, and `always`, are asked
with the event that makes the workflow. Called by `step`; `macrostep` has what follows.
"""

from __future__ import annotations

from event_center.errors import DefinitionError, Problem
from event_center.machine.chart import NOTHING
from event_center.machine.decision import Transition
from event_center.machine.definition import Definition, Missing
from event_center.machine.macrostep import Macrostep
from event_center.machine.problems import Code
from event_center.machine.table import Table
from event_center.machine.timing import armed
from event_center.machine.value import copied
from event_center.model import RESERVED, Event, Json, Snapshot, Timer


def born(table: Table, event: Event, now_ms: int, workflow_id: str = "") -> Transition:
    """
    The creation of a workflow, which is its transition number 0.

    Raises:
        ExpressionError, GuardFailed, DefinitionError: as of a step, where it goes on by itself.
    """
    definition = table.definition
    data: dict[str, Json] = copied(dict(definition.data))
    begin = table.begin
    snapshot = Snapshot(workflow_id, definition.name, definition.version, begin.configuration)
    snapshot.data = data
    if begin.restless:
        snapshot.seq = -1  # what comes after it is 0
        decision = Macrostep(table, snapshot, event, now_ms).born(begin.entered)
        whole = armed(table.whole, snapshot, 0, now_ms)
        decision.timers = (*whole, *(decision.timers or ()))
        decision.data = data if decision.data is None else decision.data
        return decision
    arrival = table.arrival(definition.initial)
    timers: tuple[Timer, ...] = ()
    if arrival.arms or table.whole:
        timers = armed((*table.whole, *arrival.arms), snapshot, 0, now_ms)
    return Transition(
        arrival.configuration,
        entered=True,
        data=data,
        timers=timers,
        owed=arrival.owed,
        jobs=arrival.jobs,
    )


def put(
    table: Table, state: str, seq: int, now_ms: int, *, snapshot: Snapshot | None = None
) -> Transition:
    """
    Entering a state without an event, as transition number `seq`: an operator put it there.

    Raises:
        KeyError: the machine has no such state, or nobody rests in it.
        ExpressionError: a timer's expression fails on the workflow's data.
    """
    arrival = table.arrival(state)
    definition = table.definition
    after = Snapshot("", definition.name, definition.version, arrival.configuration)
    staying: tuple[Timer, ...] = ()
    if snapshot is not None:
        after.data = snapshot.data
        whole = {arm.id for arm in table.whole}
        staying = tuple(timer for timer in snapshot.timers if timer.id in whole)
    return Transition(
        arrival.configuration,
        entered=True,
        timers=(*staying, *armed(arrival.arms, after, seq, now_ms)),
        owed=arrival.owed,
        result=arrival.result,
        jobs=arrival.jobs,
    )


def beginnings(table: Table) -> frozenset[str]:
    """The configurations in which a workflow can rest after its birth."""
    first = table.begin.configuration
    found, pending = {first}, [first]
    while pending:
        configuration = pending.pop()
        choice = table.row(configuration).always
        if choice is None:
            continue
        for move in [one for chain in choice.chains for one in chain]:
            taken = table.microsteps.taken(configuration, choice, (move,), NOTHING)
            if taken.configuration not in found:
                found.add(taken.configuration)
                pending.append(taken.configuration)
    return frozenset(one for one in found if table.chart.rests(one))


def missing(table: Table, begins: frozenset[str], event_name: str) -> Missing:
    """What to do with an event whose workflow does not exist: what it says, or what could accept it."""
    declared = table.definition.declared(event_name)
    if declared is not None and declared.missing is not None:
        return declared.missing
    plain = event_name[:1] != RESERVED
    for configuration in begins:
        row = table.row(configuration)
        if event_name in row.accepts or (row.any is not None and plain):
            return Missing.CREATE
    return Missing.REJECT


def lost(definition: Definition, snapshot: Snapshot) -> DefinitionError:
    """The error of a workflow in a state that its machine does not have."""
    message = (
        f"workflow '{snapshot.workflow_id}' is in state '{snapshot.state}', which version "
        f"{definition.version} of machine '{definition.name}' does not have; put the state back, "
        "map it in `migrate`, or move the workflow with set-state"
    )
    return DefinitionError([Problem(definition.source, 1, 1, Code.LOST_STATE, message)])
