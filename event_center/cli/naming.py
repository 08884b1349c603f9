"""
Names of machines, states and events on the command line: is there such a thing, and what was meant?

Promises: what the log has is known, and so is what the settings load; machines that can not be loaded
make nothing wrong. Called by the commands that take such names (`looking`, `operating`, `repairing`,
`publishing`); `app.machines` has the next step.
"""

from __future__ import annotations

from dataclasses import replace

from event_center.app.machines import machines_at_hand
from event_center.app.settings import Settings
from event_center.cli.session import Session
from event_center.client.active import Machines
from event_center.client.letters import Sought
from event_center.client.stats import stats
from event_center.client.workflows import Wanted
from event_center.machine import Machine
from event_center.machine.outlook import heard, hears
from event_center.machine.spelling import hint, quoted
from event_center.model import Snapshot


def machine_under(snapshot: Snapshot, settings: Settings) -> Machine | None:
    """The machine that a daemon with these settings has for a workflow; None: it is not loaded here."""
    known = [one for one in machines_at_hand(settings) if one.name == snapshot.machine]
    of_it = (one for one in known if one.version == snapshot.version)
    return next(of_it, known[0] if known else None)


def with_machines(wanted: Wanted, settings: Settings) -> Wanted:
    """The same workflows, with the machines that know which states are inside of others."""
    if wanted.state is None:
        return wanted
    return replace(wanted, machines=Machines(machines_at_hand(settings)))


def unsent(told: str) -> str:
    """What was wrong, and that nothing was sent."""
    return f"{told}{' ' if told.endswith('?') else '; '}nothing was sent"


async def no_such_name(wanted: Wanted, session: Session, what: str = "workflows") -> str | None:
    """That nobody knows the machine or the state that workflows are asked for by; None: somebody does."""
    by_state = (await stats(session.log, session.app))["workflows"]["by_state"]
    machines = machines_at_hand(session.settings)
    name, state = wanted.machine, wanted.state
    names = {*by_state, *(one.name for one in machines)}
    if name is not None and name not in names:
        return f"no {what} of a machine {quoted(name)}{hint(name, sorted(names), 'machines')}"
    if state is None:
        return None
    counted = [states for of, states in by_state.items() if name in {None, of}]
    known = {part for states in counted for one in states for part in (one, *one.split("|"))}
    known.update(
        one for machine in machines if name in {None, machine.name} for one in machine.states
    )
    if known.issuperset(state.split("|")):
        return None
    return f"no workflows in a state {quoted(state)}{hint(state, sorted(known), 'states')}"


async def no_such_letters(sought: Sought, session: Session) -> str | None:
    """That nobody knows the machine whose letters are asked for; None: somebody does, or none is."""
    return await no_such_name(Wanted(machine=sought.machine), session, "letters")


def no_such_event(machine: Machine, event: str) -> str | None:
    """That a machine does not know an event; None: it does, or takes any."""
    if hears(machine.definition, event):
        return None
    guess = hint(event, heard(machine.definition), "events")
    return f"machine {machine.name} has no event {quoted(event)}{guess}"


def no_such_place(machine: Machine, state: str) -> str | None:
    """That no workflow of a machine can be put into a state; None: it can."""
    if machine.can_enter(state):
        return None
    guess = hint(state, machine.states, "states")
    return f"machine {machine.name} has no state {quoted(state)} to be put into{guess}"
