"""
Mistakes in how states stand in each other: what a kind of state needs, and what it may not have.

Called by `checks`, before it looks at the graph; what needs the whole tree (`chart`) comes last.
"""

from __future__ import annotations

from event_center.machine.chart import NOTHING, Chart
from event_center.machine.definition import Definition, Kind, On, State
from event_center.machine.problems import Code, Place, Problems
from event_center.machine.spelling import hint, quoted

_REGIONS = frozenset({Kind.ATOMIC, Kind.COMPOUND, Kind.PARALLEL})
"""Kinds that can be regions."""


def check_structure(definition: Definition, problems: Problems) -> None:
    """Add what is wrong with the tree of states."""
    top = [name for name, state in definition.states.items() if state.parent is None]
    _initial(definition, None, top, problems)
    for state in definition.states.values():
        for key, place in state.exits.items():
            _misplaced(state, key, place, problems)
        if state.kind is Kind.COMPOUND:
            _initial(definition, state, list(state.children), problems)
        elif state.kind is Kind.PARALLEL:
            _regions(definition, state, problems)
        elif state.kind is Kind.CHOICE:
            _choice(state, problems)
        elif state.kind is Kind.HISTORY:
            _history(definition, state, problems)
        elif state.final and state.parent is not None and state.entry:
            message = (
                f"final state {quoted(state.name)} inside of {quoted(state.parent)} can not have "
                "`entry`: it may be left in the same step; use `actions`, or `entry` of what follows"
            )
            problems.add(state.entry[0].place, Code.FINAL_WITH_EXITS, message)
        _always(state, problems)


def _misplaced(state: State, key: str, place: Place, problems: Problems) -> None:
    name = quoted(state.name)
    if state.final:
        message = f"final state {name} can not have {quoted(key)}; remove it, or `type: final`"
        problems.add(place, Code.FINAL_WITH_EXITS, message)
    elif state.kind is Kind.ATOMIC:
        what = "`states`" if key == "initial" else "`type: history`"
        message = f"{quoted(key)} of {name} has no meaning without {what}"
        problems.add(place, Code.MISPLACED, message)
    else:
        message = f"{state.kind} state {name} can not have {quoted(key)}; remove it"
        problems.add(place, Code.MISPLACED, message)


def _initial(
    definition: Definition, state: State | None, inside: list[str], problems: Problems
) -> None:
    """A machine, or a compound state, begins in one of its own states that is not an end."""
    name = definition.initial if state is None else state.initial
    place = definition.initial_place if state is None else state.initial_place
    of = "" if state is None else f" of {quoted(state.name)}"
    begun = definition.states.get(name)
    if not name:
        if state is not None:
            message = f"compound state {quoted(state.name)} needs the key 'initial'"
            problems.add(state.place, Code.INITIAL, message)
    elif begun is None:
        guess = hint(name, inside, "states")
        message = f"initial state {quoted(name)}{of} is not declared{guess}"
        problems.add(place, Code.INITIAL, message)
    elif name not in inside:
        where = "at the top" if state is None else "directly inside of it"
        message = f"initial state {quoted(name)}{of} does not stand {where}"
        problems.add(place, Code.INITIAL, message + hint(name, inside, "states"))
    elif begun.final:
        over = (
            "a workflow would be over at its birth" if state is None else "it would be done at once"
        )
        problems.add(place, Code.INITIAL, f"initial state {quoted(name)}{of} is final: {over}")
    elif begun.kind is Kind.HISTORY:
        message = f"a {begun.kind} state can not be initial; name a state to begin in"
        problems.add(place, Code.INITIAL, message)


def _regions(definition: Definition, state: State, problems: Problems) -> None:
    for name in state.children:
        kind = definition.states[name].kind
        if kind not in _REGIONS and kind is not Kind.HISTORY:
            message = f"a {kind} state can not be a region of parallel state {quoted(state.name)}"
            problems.add(definition.states[name].place, Code.MISPLACED, message)


def _choice(state: State, problems: Problems) -> None:
    name = quoted(state.name)
    if state.always is None:
        message = f"choice {name} needs `always`: the branches among which it chooses"
        problems.add(state.place, Code.NO_DEFAULT, message)
    elif state.always.branches and state.always.branches[-1].guard is not None:
        message = (
            f"choice {name} has no default branch: if every guard says no the workflow is stuck; "
            "add a last branch without a guard"
        )
        problems.add(state.always.place, Code.NO_DEFAULT, message)


def _history(definition: Definition, state: State, problems: Problems) -> None:
    name = quoted(state.name)
    if state.parent is None:
        message = f"history state {name} stands at the top; put it inside of what it remembers"
        problems.add(state.place, Code.MISPLACED, message)
    elif state.default is not None:
        default = definition.states.get(state.default)
        inside = [one for one in _inside(definition, state.parent) if one != state.name]
        if default is None or state.default not in inside:
            message = f"target {quoted(state.default)} of history {name} is not a state beside it"
            guess = hint(state.default, inside, "states")
            problems.add(state.default_place, Code.TARGET, message + guess)
        elif default.kind is Kind.HISTORY:
            message = f"target {quoted(state.default)} of history {name} is a history state itself"
            problems.add(state.default_place, Code.TARGET, message)


def _inside(definition: Definition, name: str) -> list[str]:
    found = []
    for child in definition.states[name].children:
        found += [child, *_inside(definition, child)]
    return found


def _always(state: State, problems: Problems) -> None:
    for branch in () if state.always is None else state.always.branches:
        if branch.target is None:
            message = f"`always` of {quoted(state.name)} needs a target: without one it never ends"
            problems.add(branch.place, Code.ENDLESS, message)


def check_tree(definition: Definition, chart: Chart, problems: Problems) -> None:
    """Add what only shows in the whole tree; the names in it are right."""
    _birth(definition, chart, problems)
    for state in definition.states.values():
        if state.on_done is not None and state.children and not _can_be_done(chart, state):
            lacks = "a region" if state.kind is Kind.PARALLEL else "it"
            message = (
                f"on_done of {quoted(state.name)} can never happen: {lacks} has no final state "
                "inside"
            )
            problems.add(state.on_done.place, Code.NEVER_DONE, message)
    _crossings(definition, chart, problems)
    _same_runs(chart, problems)


def _birth(definition: Definition, chart: Chart, problems: Problems) -> None:
    """What a birth goes through by itself has no callbacks: only an event awaits those."""
    entered: set[str] = set()
    chart.enter(definition.initial, None, NOTHING, entered)
    if all(chart.states[name].always is None for name in entered):
        return
    pending = chart.sorted(entered)
    while pending:
        ways = [way for name in pending for way in _by_itself(chart, chart.states[name])]
        branches = [branch for way in ways for branch in way.branches]
        for branch in branches:
            if branch.before or branch.actions or branch.emits:
                message = (
                    "this branch can be taken at the birth of a workflow, where no callbacks are "
                    "awaited and nothing is emitted; use `entry` of what it leads to"
                )
                problems.add(branch.place, Code.MISPLACED, message)
        found = set(entered)
        for branch in branches:
            if branch.target is not None:
                chart.enter(branch.target, None, NOTHING, found)
        pending = chart.sorted(found - entered)
        entered = found


def _by_itself(chart: Chart, state: State) -> list[On]:
    """The branches that follow without an event once a state is entered."""
    ways = [state.always]
    if state.final:
        ways += [chart.states[name].on_done for name in chart.above[state.name]]
    return [way for way in ways if way is not None]


def _can_be_done(chart: Chart, state: State) -> bool:
    if state.kind is Kind.PARALLEL:
        return all(_can_be_done(chart, chart.states[name]) for name in chart.regions(state))
    return any(chart.states[name].final for name in state.children)


def _together(chart: Chart, one: str, other: str) -> bool:
    """Whether two states can be active at the same time."""
    if chart.within(one, other) or chart.within(other, one):
        return True
    around = [name for name in chart.above[one] if name in chart.above[other]]
    return bool(around) and chart.states[around[0]].kind is Kind.PARALLEL


def _crossings(definition: Definition, chart: Chart, problems: Problems) -> None:
    """No branch leads from one region into another: it would leave all of them and begin them anew."""
    for state in definition.states.values():
        for name, on in state.ways():
            for branch in on.branches:
                target = branch.target
                if target is None or not _beside(chart, state.name, target):
                    continue
                around = quoted(
                    next(one for one in chart.above[target] if one in chart.above[state.name])
                )
                message = (
                    f"{quoted(name)} in {quoted(state.name)} leads into another region of {around}, and "
                    "so would begin all of its regions anew; `raise` an event that the other region "
                    f"hears, or write the branch at {around}"
                )
                problems.add(branch.target_place, Code.CROSSING, message)


def _beside(chart: Chart, one: str, other: str) -> bool:
    """Whether two states stand in different regions of one parallel state."""
    within = chart.within(one, other) or chart.within(other, one)
    return one != other and not within and _together(chart, one, other)


def _same_runs(chart: Chart, problems: Problems) -> None:
    """No entry callback or job in two states that can be active together: both would have one key."""
    named: dict[str, list[tuple[State, str]]] = {}
    for state in chart.states.values():
        runs = [(call.place, call.action.name, "an entry") for call in state.entry]
        runs += [(job.place, job.action.name, "a job") for job in state.invoke]
        for place, name, what in runs:
            for other, as_what in named.get(name, ()):
                if other is not state and _together(chart, state.name, other.name):
                    what_too = "" if as_what == what else f"{what} "
                    message = (
                        f"callback {quoted(name)} is {as_what} of {quoted(other.name)} and {what_too}of "
                        f"{quoted(state.name)}, which can be active together; give one of them "
                        "another name"
                    )
                    problems.add(place, Code.SAME_CALLBACK, message)
            named.setdefault(name, []).append((state, what))
