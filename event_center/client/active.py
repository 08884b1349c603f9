"""
Which states a workflow is in: the leaves that its configuration names, and the states around them.

What the log has are leaves. What is around them the machines know, as far as they are at hand; without its
machine a workflow is in its leaves alone. Pure; `workflows` asks it for lists, `reaching` for waits.
"""

from __future__ import annotations

from collections.abc import Iterable

from event_center.machine import Machine
from event_center.machine.chart import BETWEEN, Chart
from event_center.machine.definition import Kind
from event_center.machine.spelling import hint, quoted

PASSED = frozenset({Kind.CHOICE, Kind.HISTORY})
"""Kinds of states that lead on at once."""


class Machines:
    """The machines that somebody who asks has at hand, in all of their versions."""

    def __init__(self, machines: Iterable[Machine] = ()) -> None:
        self._versions: dict[str, dict[int, Machine]] = {}
        for machine in machines:
            self._versions.setdefault(machine.name, {})[machine.version] = machine
        self._found: dict[tuple[str, int, str], frozenset[str]] = {}

    def lack(self, state: str, name: str | None = None, more: Iterable[str] = ()) -> str | None:
        """
        Why nobody can be in a state; None: somebody can, or nobody here knows.

        Args:
            state: a name, or several, joined by `|`.
            name: the machine that is meant; None: any.
            more: states that are known besides.
        """
        names = self._versions if name is None else [name]
        versions = [one for of in names for one in self._versions.get(of, {}).values()]
        if not versions:
            return None
        kinds = {one.name: one.kind for of in versions for one in of.definition.states.values()}
        known = {*more, *(one for one, kind in kinds.items() if kind not in PASSED)}
        wrong = next((one for one in state.split(BETWEEN) if one not in known), None)
        if wrong is None:
            return None
        if wrong in kinds:
            return f"{quoted(wrong)} is a {kinds[wrong]} state: no workflow ever rests in it"
        whose = "no machine has a" if name is None else f"machine {name} has no"
        return f"{whose} state {quoted(wrong)}{hint(wrong, sorted(known), 'states')}"

    def in_state(self, state: str, machine: str, version: int, configuration: str) -> bool:
        """Whether a workflow that is in a configuration is in a state, or in each of `a|b`."""
        if state == configuration:
            return True
        key = machine, version, configuration
        active = self._found.get(key)
        if active is None:
            active = self._found[key] = self._active(machine, version, configuration)
        return active.issuperset(state.split(BETWEEN))

    def _active(self, name: str, version: int, configuration: str) -> frozenset[str]:
        versions = self._versions.get(name, {})
        known = versions.get(version) or next(iter(versions.values()), None)
        found = configuration.split(BETWEEN)
        try:
            return frozenset(
                found if known is None else Chart(known.definition).active(configuration)
            )
        except KeyError:  # another version has moved it elsewhere
            return frozenset(found)


NONE = Machines()
"""No machine is at hand."""
