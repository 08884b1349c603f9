"""
Mistakes in guards: what can never hold, branches that are never reached, `always` in a circle.

Only what `logic` can decide, and what can not be right, is a problem. `circles` are warnings; `remarks`
says what is not decided, and where two branches would both hold, for whoever wants to know (`check
--verbose`). Called by `checks`, and by the terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from event_center.machine.chart import NOTHING, Chart
from event_center.machine.definition import Branch, Definition, On, State
from event_center.machine.guard import text_of
from event_center.machine.logic import (
    Logic,
    Point,
    Truth,
    never_holds,
    overlap,
    shadowed,
    undecided,
)
from event_center.machine.problems import Code, Place, Problems
from event_center.machine.spelling import quoted

_LONGEST = 60
"""Characters of the values that a message repeats: it has to stay on a line or two."""


def check_guards(definition: Definition, problems: Problems) -> None:
    """Add what can be decided about the guards."""
    for name, on in definition.everything():
        _branches(name, on, problems)


def _branches(name: str, on: On, problems: Problems) -> None:
    guards = [branch.guard for branch in on.branches]
    for number, branch in enumerate(on.branches):
        guard = branch.guard
        if guard is None:
            return
        text = text_of(guard)
        if never_holds(guard):
            message = f"the guard {quoted(text)} of {name} can never hold; correct it, or remove the branch"
            problems.add(branch.place, Code.NEVER_HOLDS, message)
        elif number and shadowed(guards[: number + 1]):
            message = (
                f"unreachable branch: wherever the guard {quoted(text)} of {name} holds, a branch "
                "before this one is taken; order them, or remove it"
            )
            problems.add(branch.place, Code.UNREACHABLE_BRANCH, message)


def remarks(definition: Definition) -> Iterator[tuple[Place, str]]:
    """What is not known of the guards, and which of them hold together."""
    for name, on in definition.everything():
        for number, branch in enumerate(on.branches):
            if branch.guard is None:
                continue
            parts = undecided(branch.guard)
            if parts:
                said = ", ".join(quoted(part) for part in parts)
                yield branch.place, f"not decided: the guard of {name} depends on {said}"
            for before, other in enumerate(on.branches[:number], 1):
                both = None if other.guard is None else overlap(other.guard, branch.guard)
                if both is not None:
                    which = f"branches {before} and {number + 1} of {name}"
                    said = f"{which} both hold for {_shown(both)}: branch {before} is taken"
                    yield branch.place, said


def _shown(point: Point) -> str:
    said = ", ".join(f"{field} = {json.dumps(value)}" for field, value in point.items())
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


# -- circles ---------------------------------------------------------------------------------------


def circles(definition: Definition) -> Iterator[tuple[Place, str]]:
    """
    Values for which `always` leads round and round, because nothing on the way changes them.

    Whether a workflow can come there with these values nobody knows, so they are no problem yet.
    """
    chart = Chart(definition)
    waiting = {name: state for name, state in definition.states.items() if state.always is not None}
    logic = Logic(branch.guard for state in waiting.values() for branch in _always(state))
    truths = iter(logic.truths)
    ways = {
        name: [(next(truths), branch) for branch in _always(state)]
        for name, state in waiting.items()
    }
    told: set[frozenset[str]] = set()
    for point in (None if logic.coins else logic.points()) or ():
        for name in waiting:
            circle = _circle(chart, ways, name, point)
            if circle and frozenset(circle) not in told:
                told.add(frozenset(circle))
                loop = " → ".join(quoted(one) for one in [*circle, circle[0]])
                message = f"`always` never comes to rest where {_shown(point)}: {loop}"
                yield waiting[circle[0]].place, f"{message}; let a guard end it"


def _always(state: State) -> tuple[Branch, ...]:
    return () if state.always is None else state.always.branches


def _circle(
    chart: Chart, ways: Mapping[str, list[tuple[Truth, Branch]]], begin: str, point: Point
) -> list[str]:
    """The states that one comes through again and again from here, if nothing changes on the way."""
    path: list[str] = []
    name: str | None = begin
    while name is not None and name not in path:
        path.append(name)
        answers = ((truth(point), branch) for truth, branch in ways[name])
        sure, taken = next((one for one in answers if one[0] is not False), (None, None))
        if not sure or taken is None or taken.target is None or taken.assign or taken.raises:
            return []
        entered: set[str] = set()
        chart.enter(taken.target, None, NOTHING, entered)
        asked = [one for one in chart.sorted(entered) if one in ways]
        name = asked[-1] if asked == [taken.target] else None
    return path if name == begin else []
