"""
Mistakes between the parts of a definition: names that lead nowhere, and what contradicts itself.

`check` looks at names and the `structure` first, and at the `graph` only if nothing at all was wrong
before, because one misspelt target would be reported again by each of its neighbours. Called by
`loading` after `reading`; the next step is `table`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from event_center.machine.chart import Chart
from event_center.machine.conditions import check_guards
from event_center.machine.decision import ANY
from event_center.machine.definition import After, Branch, Call, Definition, On, State
from event_center.machine.graph import check_graph
from event_center.machine.guard import Computed, Inside, leaves, text_of
from event_center.machine.problems import Code, Place, Problems
from event_center.machine.scope import EVENT_KEYS
from event_center.machine.spelling import hint, meant, quoted
from event_center.machine.structure import check_structure, check_tree
from event_center.machine.upgrade import check_upgrades
from event_center.machine.value import expressions


def check(definition: Definition, problems: Problems) -> None:
    """Add every problem of the definition to those found before."""
    check_structure(definition, problems)
    for name, on in definition.everything():
        _targets(definition, name, on, problems)
        _branch_order(name, on, problems)
    _inside(definition, problems)
    _events(definition, problems)
    check_upgrades(definition, problems)
    _expressions(definition, problems)
    for state in definition.states.values():
        _state(state, problems)
        _same_callbacks(definition, state, problems)
    if not len(problems):
        chart = Chart(definition)
        check_tree(definition, chart, problems)
        check_guards(definition, problems)
        check_graph(definition, chart, problems)


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
    asked: dict[str, int] = {}
    for number, branch in enumerate(on.branches, start=1):
        if branch.guard is None:
            continue
        first = asked.setdefault(text_of(branch.guard), number)
        if first != number:
            message = (
                f"unreachable branch: branch {first} of {name} has the same guard "
                f"{quoted(text_of(branch.guard))}, so this branch can never be taken; give it another"
            )
            problems.add(branch.place, Code.UNREACHABLE_BRANCH, message)


def _inside(definition: Definition, problems: Problems) -> None:
    """Guards name states that there are."""
    for leaf in (leaf for guard in definition.conditions() for leaf in leaves(guard)):
        if isinstance(leaf, Inside) and leaf.state not in definition.states:
            guess = hint(leaf.state, definition.states, "states")
            message = f"the guard `in` names {quoted(leaf.state)}, which is not a state{guess}"
            problems.add(leaf.place, Code.TARGET, message)


def _events(definition: Definition, problems: Problems) -> None:
    """Where `events` is present, it declares every event that is used."""
    if definition.events is None:
        return
    for name, place in _events_used(definition):
        if name not in definition.events and name != ANY:
            guess = meant(name, definition.events) or "; add it there"
            message = f"event {quoted(name)} is not declared in `events`{guess}"
            problems.add(place, Code.UNDECLARED_EVENT, message)


def _events_used(definition: Definition) -> Iterator[tuple[str, Place]]:
    for name, on in definition.on.items():
        yield name, on.place
    for state in definition.states.values():
        for name, on in state.on.items():
            yield name, on.place
        yield from state.defer.items()
    for _, on in definition.everything():
        for branch in on.branches:
            yield from ((one.event, one.place) for one in branch.raises)


def _expressions(definition: Definition, problems: Problems) -> None:
    """`data.x` and `event.x` name keys that exist; what a payload has only its event can tell."""
    branches = [branch for _, on in definition.everything() for branch in on.branches]
    data = {*definition.data, *(key for branch in branches for key in branch.assign)}
    read = [found for branch in branches for found in _keys_read(branch)]
    for after in _timers(definition):
        if after.due is not None:
            read += [(after.place, root, key) for root, key in sorted(after.due.attributes)]
    for place, root, key in read:
        if root == "event" and key not in EVENT_KEYS:
            message = f"an event has name, id, time and headers, but no {quoted(key)}"
            other = f"; did you mean payload.{key}?" if key.isidentifier() else ""
            problems.add(place, Code.EXPRESSION, message + other)
        elif root == "data" and key not in data:
            guess = meant(key, sorted(data)) or "; declare it with its default in `data`"
            problems.add(place, Code.UNKNOWN_DATA, f"data has no key {quoted(key)}{guess}")


def _timers(definition: Definition) -> Iterator[After]:
    yield from definition.timeout.values()
    for state in definition.states.values():
        yield from state.after.values()


def _keys_read(branch: Branch) -> Iterator[tuple[Place, str, str]]:
    """Place, root and key of what the expressions of a branch read by name."""
    for leaf in leaves(branch.guard):
        if isinstance(leaf, Computed):
            for root, key in sorted(leaf.expression.attributes):
                yield leaf.place, root, key
    sent = [one.payload for one in branch.raises]
    for emit in branch.emits:
        sent += [emit.workflow_id, emit.payload]
    for value in (*branch.assign.values(), *sent):
        for expression in expressions(value):
            line, column = expression.where.rsplit(":", 2)[1:]
            for root, key in sorted(expression.attributes):
                yield Place(int(line), int(column)), root, key


def _state(state: State, problems: Problems) -> None:
    name = quoted(state.name)
    if state.on_done is not None and not (state.entry or state.children or state.final):
        message = f"on_done of {name} can never happen: the state has no entry callback to be done"
        if state.invoke:
            message += "; write `on_done` below `invoke` for the end of its job"
        problems.add(state.on_done.place, Code.NEVER_DONE, message)
    jobs = (Call(place=job.place, action=job.action) for job in state.invoke)
    runs = f"entry and invoke of {name}" if state.invoke else f"entry of {name}"
    _twice((*state.entry, *jobs), runs, problems)
    for event, place in state.defer.items():
        on = state.on.get(event)
        if event == ANY:
            message = "`defer` names events; write `unhandled: defer` for all that come"
            problems.add(place, Code.VALUE, message)
        elif on is not None and on.branches and on.branches[-1].guard is None:
            message = (
                f"{name} defers {quoted(event)}, but also has a branch for it that is always taken; "
                "remove one of them, or give the branch a guard"
            )
            problems.add(place, Code.UNREACHABLE_BRANCH, message)


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
