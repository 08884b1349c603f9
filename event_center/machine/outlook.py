"""
What could move a workflow from where it is: every event, timer and end of a callback that means
something in its configuration, with the guards that are asked and where each branch leads.

Pure; called by the client's `why`, and by whoever is given the name of an event. `drawing_table`
answers the same for a table of all states.
"""

from __future__ import annotations

from typing import NamedTuple

from event_center.machine.decision import ANY
from event_center.machine.definition import Definition
from event_center.machine.drawing_table import answer, columns
from event_center.machine.guard import text_of


class Offer(NamedTuple):
    """One branch that is tried when something comes."""

    event: str
    """A name, `*` for any other, `after 24h`, `timeout 30d`, `on_done`, `on_error`, `on_done of NAME`."""
    guard: str | None
    """What is asked first; None: nothing."""
    target: str | None
    """Where it leads; None: the workflow stays, or the event is deferred."""
    deferred: bool = False
    """The state sets the event aside if no branch before takes it."""


def heard(definition: Definition) -> list[str]:
    """The names of all events that a machine knows, sorted: those in `on`, and those that are declared."""
    return sorted(definition.known() | (definition.events or {}).keys())


def hears(definition: Definition, event_name: str) -> bool:
    """Whether a machine knows an event of this name, or takes any."""
    tables = (definition.on, *(state.on for state in definition.states.values()))
    return event_name in heard(definition) or any(ANY in on for on in tables)


def ways_from(definition: Definition, configuration: str) -> list[Offer]:
    """
    What can move a workflow out of a configuration or changes it there, in the order of the machine.

    Raises:
        KeyError: the machine has no such state.
    """
    found: list[Offer] = []
    leaves = configuration.split("|")
    for event in (*columns(definition), ANY):
        for leaf in leaves:
            branches, deferred = answer(definition, leaf, event)
            for branch in branches:
                guard = None if branch.guard is None else text_of(branch.guard)
                found.append(Offer(event, guard, branch.target))
                if guard is None:
                    break
            else:
                found += [Offer(event, None, None, deferred=True)] if deferred else []
    return list(dict.fromkeys(found))
