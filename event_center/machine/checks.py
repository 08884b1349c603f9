"""
Mistakes between the parts of a definition: names that lead nowhere, and graphs that nobody leaves.

`check` looks at names first and at the graph only if nothing at all was wrong before, because one
misspelt target would be reported again by each of its neighbours. Called by `loading` after
`reading`; the next step is `table`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from event_center.machine.definition import Branch, Call, Definition, On, State
from event_center.machine.guard import Computed, leaves
from event_center.machine.problems import Code, Place, Problems
from event_center.machine.scope import EVENT_KEYS
from event_center.machine.spelling import hint, listed, meant, quoted
from event_center.machine.value import expressions


def check(definition: Definition, problems: Problems) -> None:
    """Add every problem of the definition to those found before."""
    _initial(definition, problems)
    for name, on in definition.everything():
        _targets(definition, name, on, problems)
        _branch_order(name, on, problems)
    _events(definition, problems)
    _expressions(definition, problems)
    for state in definition.states.values():
        _state(state, problems)
        _same_callbacks(definition, state, problems)
    if not len(problems):
        _graph(definition, problems)


def _initial(definition: Definition, problems: Problems) -> None:
    name, place = definition.initial, definition.initial_place
    state = definition.states.get(name)
    if state is None and name:
        guess = hint(name, definition.states, "states")
        problems.add(place, Code.INITIAL, f"initial state {quoted(name)} is not declared{guess}")
    elif state is not None and state.final:
        message = f"initial state {quoted(name)} is final: a workflow would be over at its birth"
        problems.add(place, Code.INITIAL, message)


def _targets(definition: Definition, name: str, on: On, problems: Problems) -> None:
    for branch in on.branches:
        target = branch.target
        if target is not None and target not in definition.states:
            guess = hint(target, definition.states, "states")
            message = f"target {quoted(target)} of {name} is not a declared state{guess}"
            problems.add(branch.target_place, Code.TARGET, message)


def _branch_order(name: str, on: On, problems: Problems) -> None:
    for number, branch in enumerate(on.branches[:-1], start=1):
        if branch.guard is None:
            message = (
                f"unreachable branch: branch {number} of {name} has no guard and always wins, so "
                "this branch can never be taken; move the guarded branch first"
            )
            problems.add(on.branches[number].place, Code.UNREACHABLE_BRANCH, message)
            return


def _events(definition: Definition, problems: Problems) -> None:
    """Where `events` is present, it declares every event that is used."""
    if definition.events is None:
        return
    tables = [definition.on, *(state.on for state in definition.states.values())]
    for table in tables:
        for name, on in table.items():
            if name not in definition.events:
                guess = meant(name, definition.events)
                message = (
                    f"event {quoted(name)} is not declared in `events`{guess or '; add it there'}"
                )
                problems.add(on.place, Code.UNDECLARED_EVENT, message)


def _expressions(definition: Definition, problems: Problems) -> None:
    """`data.x` and `event.x` name keys that exist; what a payload has only its event can tell."""
    branches = [branch for _, on in definition.everything() for branch in on.branches]
    data = {*definition.data, *(key for branch in branches for key in branch.assign)}
    for branch in branches:
        for place, root, key in _keys_read(branch):
            if root == "event" and key not in EVENT_KEYS:
                message = f"an event has name, id, time and headers, but no {quoted(key)}"
                other = f"; did you mean payload.{key}?" if key.isidentifier() else ""
                problems.add(place, Code.EXPRESSION, message + other)
            elif root == "data" and key not in data:
                guess = meant(key, sorted(data)) or "; declare it with its default in `data`"
                problems.add(place, Code.UNKNOWN_DATA, f"data has no key {quoted(key)}{guess}")


def _keys_read(branch: Branch) -> Iterator[tuple[Place, str, str]]:
    """Place, root and key of what the expressions of a branch read by name."""
    for leaf in leaves(branch.guard):
        if isinstance(leaf, Computed):
            for root, key in sorted(leaf.expression.attributes):
                yield leaf.place, root, key
    for value in branch.assign.values():
        for expression in expressions(value):
            line, column = expression.where.rsplit(":", 2)[1:]
            for root, key in sorted(expression.attributes):
                yield Place(int(line), int(column)), root, key


def _state(state: State, problems: Problems) -> None:
    name = quoted(state.name)
    if state.final:
        for key, place in state.exits.items():
            message = f"final state {name} can not have {quoted(key)}; remove it, or `type: final`"
            problems.add(place, Code.FINAL_WITH_EXITS, message)
    elif state.on_done is not None and not state.entry:
        message = f"on_done of {name} can never happen: the state has no entry callback to be done"
        problems.add(state.on_done.place, Code.NEVER_DONE, message)
    _twice(state.entry, f"entry of {name}", problems)


def _same_callbacks(definition: Definition, state: State, problems: Problems) -> None:
    """
    No callback twice in one transition: both runs would have the same idempotency key.

    A transition that leaves the state also runs its exit callbacks.
    """
    ways = [] if state.final else [*state.ways(), *definition.ways()]
    for name, on in ways:
        for branch in on.branches:
            exits = state.exit if leaves_state(state, branch) else ()
            calls = (*branch.before, *exits, *branch.actions)
            _twice(calls, f"the transition on {quoted(name)} in {quoted(state.name)}", problems)


def leaves_state(state: State, branch: Branch) -> bool:
    """Whether a branch taken in this state leaves it, perhaps to enter it again."""
    return branch.target is not None and (branch.target != state.name or branch.reenter)


def _twice(calls: Iterable[Call], where: str, problems: Problems) -> None:
    seen: set[str] = set()
    for call in calls:
        name = call.action.name
        if name in seen:
            message = (
                f"callback {quoted(name)} runs twice in {where}: both runs would have the same "
                "idempotency key; give one of them another name"
            )
            problems.add(call.place, Code.SAME_CALLBACK, message)
        seen.add(name)


def _graph(definition: Definition, problems: Problems) -> None:
    """States that nobody enters, that nobody leaves, and loops without a way to an end."""
    states = definition.states
    edges = {name: _neighbours(definition, state) for name, state in states.items()}
    entered = _reachable([definition.initial], edges)
    for name, state in states.items():
        if name not in entered:
            message = (
                f"state {quoted(name)} can never be entered from {quoted(definition.initial)}; "
                "connect it or remove it"
            )
            problems.add(state.place, Code.UNREACHABLE_STATE, message)
    if not definition.perpetual:
        _ends(definition, edges, problems)


def _ends(definition: Definition, edges: dict[str, set[str]], problems: Problems) -> None:
    """A workflow can come from every state to a final or perpetual one."""
    back: dict[str, set[str]] = {name: set() for name in edges}
    for name, targets in edges.items():
        for target in targets:
            back[target].add(name)
    states = definition.states.values()
    ending = _reachable([state.name for state in states if state.final or state.perpetual], back)
    for state in states:
        if state.name in ending:
            continue
        if edges[state.name] <= {state.name}:
            message = (
                f"state {quoted(state.name)} has no way out and is not final: a workflow that "
                "enters it stays forever; add a way out, `type: final`, or `perpetual: true`"
            )
            problems.add(state.place, Code.DEAD_END, message)
        else:
            loop = sorted(_reachable([state.name], edges))
            message = (
                f"state {quoted(state.name)} can not reach a final state (from it there are only "
                f"{listed(loop)}); add a way to an end, or mark a state `perpetual: true`"
            )
            problems.add(state.place, Code.LIVELOCK, message)


def _neighbours(definition: Definition, state: State) -> set[str]:
    if state.final:
        return set()
    ways = (*state.ways(), *definition.ways())
    return {branch.target for _, on in ways for branch in on.branches if branch.target is not None}


def _reachable(start: Iterable[str], edges: dict[str, set[str]]) -> set[str]:
    found = set(start)
    pending = list(found)
    while pending:
        for name in edges[pending.pop()] - found:
            found.add(name)
            pending.append(name)
    return found
