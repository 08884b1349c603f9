"""
Mistakes in the graph of a machine's states: states nobody enters or leaves, and steps without an end.

Looked for only in a definition whose names are all right. What leads where is taken generously: in
parallel regions, and where a history state brings something back, a way that may exist counts, so
that no machine is refused wrongly. Called by `checks`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from event_center.machine.chart import NOTHING, Chart
from event_center.machine.definition import Definition, Kind, On, State
from event_center.machine.problems import Code, Problems
from event_center.machine.spelling import listed, quoted

Leads = dict[str, str]
"""The states that something leads to, each with the event that does."""
Begins = Mapping[str, tuple[str, ...]]
"""Of each state, what can be active when it is entered."""
Edges = Mapping[str, Mapping[str, str]]
"""From each state to the states it leads to, with the event that leads there."""

LONGEST_PATH = 6
"""States of a way in a message: longer ones are cut in the middle, for they are read by people."""


def check_graph(definition: Definition, chart: Chart, problems: Problems) -> None:
    """Add what is wrong with the graph."""
    _endless(definition, chart, problems)
    if len(problems):
        return
    begins = {name: _begin(chart, name) for name in chart.states}
    edges = _edges(definition, chart, begins)
    mapped = {name for upgrade in definition.upgrades for name in upgrade.states.values()}
    first = [begins[name] for name in (definition.initial, *sorted(mapped)) if name in begins]
    entered = _paths([one for names in first for one in names], edges)
    for name, state in definition.states.items():
        if name not in entered and state.kind is not Kind.HISTORY:
            message = (
                f"state {quoted(name)} can never be entered from {quoted(definition.initial)}; "
                "connect it or remove it"
            )
            problems.add(state.place, Code.UNREACHABLE_STATE, message)
    if not definition.perpetual:
        _ends(definition, chart, edges, entered, problems=problems)


def _begin(chart: Chart, target: str) -> tuple[str, ...]:
    """Everything that can be active when this state is entered, itself first."""
    state = chart.states[target]
    found: set[str] = set()
    chart.enter(target, None, NOTHING, found)
    if state.kind is Kind.HISTORY and state.parent is not None:
        found.update(name for name in chart.states if chart.within(name, state.parent))
    return tuple(found)


def _edges(definition: Definition, chart: Chart, begins: Begins) -> dict[str, Leads]:
    """Where a workflow can come from each state; what is around it and beside it moves it too."""
    everywhere = _leads(definition.ways(), begins)
    own = {name: _leads(state.ways(), begins) for name, state in chart.states.items()}
    # That a state around is done only follows from its final states.
    undone = {
        name: _leads((way for way in state.ways() if way[0] != "on_done"), begins)
        for name, state in chart.states.items()
    }
    inside: dict[tuple[str, bool], Leads] = {}
    edges: dict[str, Leads] = {}
    for name, state in chart.states.items():
        if state.final and state.parent is None:
            edges[name] = {}
            continue
        others = own if state.final else undone
        around = chart.above[name]
        parts = [own[name], *(others[one] for one in around)]
        parallel = [one for one in around if chart.states[one].kind is Kind.PARALLEL]
        if parallel:
            key = parallel[-1], state.final
            if key not in inside:  # the same for all that is in there
                there = [others[one] for one in chart.states if chart.within(one, parallel[-1])]
                inside[key] = _merged(there)
            parts.append(inside[key])
        edges[name] = _merged([*parts, everywhere])
    return edges


def _leads(ways: Iterable[tuple[str, On]], begins: Begins) -> Leads:
    """What these ways lead to."""
    found: Leads = {}
    for name, on in ways:
        for branch in on.branches:
            if branch.target is not None:
                for entered in begins[branch.target]:
                    found.setdefault(entered, name)
    return found


def _merged(parts: Iterable[Leads]) -> Leads:
    """All of these; of one state the event of the first part that leads there."""
    found: Leads = {}
    for part in parts:
        for target, event in part.items():
            found.setdefault(target, event)
    return found


def _paths(start: Iterable[str], edges: Edges) -> dict[str, tuple[str, ...]]:
    """What can be reached, each with the events of a shortest way there."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(start, ())
    pending = deque(found)
    while pending:
        name = pending.popleft()
        for target, event in edges[name].items():
            if target not in found:
                found[target] = (*found[name], event)
                pending.append(target)
    return found


def _ends(
    definition: Definition,
    chart: Chart,
    edges: Edges,
    entered: Mapping[str, tuple[str, ...]],
    *,
    problems: Problems,
) -> None:
    """A workflow can come from every state to a final or perpetual one."""
    back: dict[str, dict[str, str]] = {name: {} for name in edges}
    for name, targets in edges.items():
        for target in targets:
            back[target][name] = ""
    states = definition.states
    resting = [state for state in states.values() if not state.children]
    ending = _paths(
        (
            state.name
            for state in states.values()
            if (state.final and state.parent is None)
            or any(states[name].perpetual for name in (state.name, *chart.above[state.name]))
        ),
        back,
    )
    for state in resting:
        if state.name in ending or state.kind is Kind.HISTORY:
            continue
        way = entered.get(state.name, ())
        witness = f"; it is reached by {' → '.join(quoted(one) for one in way)}" if way else ""
        if edges[state.name].keys() <= {state.name}:
            end = "is not final" if not state.final else "what is around it goes no further"
            message = (
                f"state {quoted(state.name)} has no way out and {end}: a workflow that enters it "
                "stays forever; add a way out, `type: final`, or `perpetual: true`"
            )
            if state.final:
                message = message.replace("`type: final`", "`on_done` of the state around it")
            problems.add(state.place, Code.DEAD_END, message + witness)
        else:
            leaves = {name for name in _paths([state.name], edges) if not states[name].children}
            message = (
                f"state {quoted(state.name)} can not reach a final state (from it there are only "
                f"{listed(sorted(leaves))}); add a way to an end, or mark a state "
                "`perpetual: true`"
            )
            problems.add(state.place, Code.LIVELOCK, message + witness)


def _endless(definition: Definition, chart: Chart, problems: Problems) -> None:
    """Steps that never end: `always` that leads to itself although no guard says so."""
    following = {
        state.name: _follows(chart, state)
        for state in definition.states.values()
        if state.always is not None
    }
    for name in following:
        path = [name]
        while (after := following.get(path[-1])) is not None and after not in path:
            path.append(after)
        if after == name:
            loop = " → ".join(quoted(one) for one in [*path, name][:LONGEST_PATH])
            message = (
                f"`always` never comes to rest if all guards say no: {loop}; let one of the "
                "branches without a guard lead elsewhere"
            )
            state = definition.states[name]
            problems.add(state.place, Code.ENDLESS, message)


def _follows(chart: Chart, state: State) -> str | None:
    """The state with `always` that follows if all guards of this one say no."""
    if state.always is None or state.always.branches[-1].guard is not None:
        return None
    target = state.always.branches[-1].target
    if target is None:
        return None
    entered: set[str] = set()
    chart.enter(target, None, NOTHING, entered)
    found = [name for name in chart.sorted(entered) if chart.states[name].always is not None]
    return found[-1] if found else None
