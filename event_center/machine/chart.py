"""
The tree of a machine's states: what is active together, what a transition leaves and enters.

A *configuration* is what a workflow is in: its active leaves in the order of the file, joined by
`|`; of a flat machine simply the name of a state. What is left and entered follows SCXML: inner
states first on the way out, outer ones first on the way in. Pure structure, without events and
guards. Called by `table`, `checks` and `step`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from event_center.machine.definition import RESTING, Definition, Kind, State

BETWEEN = "|"
"""Stands between the leaves of a configuration; no name of a state has it."""

Memory = Mapping[str, str]
"""What history states bring back: leaves or a child, joined as in a configuration."""
NOTHING: Memory = MappingProxyType({})


class Chart:
    """The states of one definition, by their places in the tree."""

    def __init__(self, definition: Definition) -> None:
        self.states: Mapping[str, State] = definition.states
        self.order = {name: number for number, name in enumerate(definition.states)}
        self.above = {name: self._above(name) for name in definition.states}
        """The states around each state, innermost first."""
        self._actives: dict[str, tuple[str, ...]] = {}

    def _above(self, name: str) -> tuple[str, ...]:
        found = []
        parent = self.states[name].parent
        while parent is not None:
            found.append(parent)
            parent = self.states[parent].parent
        return tuple(found)

    def within(self, name: str, around: str | None) -> bool:
        """Whether a state is somewhere inside another; None is the machine itself."""
        return around is None or around in self.above[name]

    def sorted(self, names: Iterable[str]) -> tuple[str, ...]:
        """States in the order of the file: outer ones come before what is in them."""
        return tuple(sorted(names, key=self.order.__getitem__))

    # -- configurations --------------------------------------------------------------------------

    def active(self, configuration: str) -> tuple[str, ...]:
        """
        Every active state, in the order of the file.

        Raises:
            KeyError: this is no configuration of the machine.
        """
        found = self._actives.get(configuration)
        if found is None:
            found = self._activated(configuration)
            self._actives[configuration] = found
        return found

    def _activated(self, configuration: str) -> tuple[str, ...]:
        leaves = configuration.split(BETWEEN)
        names = {name for leaf in leaves for name in (leaf, *self.above[leaf])}
        if self.configuration(names) != configuration or not self._is_whole(names):
            raise KeyError(configuration)
        return self.sorted(names)

    def _is_whole(self, names: set[str]) -> bool:
        """One state at the top, one child in each compound state, all regions in parallel ones."""
        if len([name for name in names if self.states[name].parent is None]) != 1:
            return False
        for state in (self.states[name] for name in names):
            inside = names.intersection(state.children)
            if state.kind is Kind.COMPOUND and len(inside) != 1:
                return False
            if state.kind is Kind.PARALLEL and inside != set(self.regions(state)):
                return False
        return not any(self.states[name].kind is Kind.HISTORY for name in names)

    def regions(self, state: State) -> tuple[str, ...]:
        """The children that are active together with a parallel state."""
        states = self.states
        return tuple(name for name in state.children if states[name].kind is not Kind.HISTORY)

    def configuration(self, names: Iterable[str]) -> str:
        """The active leaves, as a workflow's state is written."""
        return BETWEEN.join(self.leaves(names))

    def leaves(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the active states that have no states inside."""
        states = self.states
        return self.sorted(name for name in names if not states[name].children)

    def rests(self, configuration: str) -> bool:
        """Whether a workflow can be in this configuration between two events."""
        try:
            active = self.active(configuration)
        except KeyError:
            return False
        return all(self.states[name].kind in RESTING for name in self.leaves(active))

    # -- leaving and entering --------------------------------------------------------------------

    def domain(
        self, source: str | None, target: str, memory: Memory, *, reenter: bool
    ) -> str | None:
        """The innermost state that a branch does not leave; None is the machine itself."""
        if source is None:
            return None
        meant = self._meant(target, memory)
        compound = self.states[source].kind is Kind.COMPOUND
        # A history state that means the source itself leads out of it, and in again.
        inside = target == source or all(self.within(one, source) for one in meant)
        if compound and inside and not reenter:
            return source
        for around in self.above[source]:
            compound = self.states[around].kind is Kind.COMPOUND
            if compound and all(self.within(one, around) for one in meant):
                return around
        return None

    def enter(self, target: str, domain: str | None, memory: Memory, found: set[str]) -> None:
        """Add what is entered on the way from the domain to the target, and with the target."""
        if target == domain:
            # The state stays, and what is inside of it begins anew.
            target = self.states[target].initial
        meant = self._meant(target, memory)
        for name in meant:
            self._down(name, memory, found)
        for name in meant:
            self._up(name, domain, memory, found)

    def _down(self, name: str, memory: Memory, found: set[str]) -> None:
        """A state, and what begins inside of it."""
        state = self.states[name]
        found.add(name)
        if state.kind is Kind.COMPOUND:
            self._down(state.initial, memory, found)
        elif state.kind is Kind.PARALLEL:
            self._other_regions(state, memory, found)

    def _up(self, name: str, domain: str | None, memory: Memory, found: set[str]) -> None:
        """What is around a state, up to the domain, and the regions beside it."""
        for around in self.above[name]:
            if around == domain:
                return
            found.add(around)
            if self.states[around].kind is Kind.PARALLEL:
                self._other_regions(self.states[around], memory, found)

    def _other_regions(self, state: State, memory: Memory, found: set[str]) -> None:
        entered = found.union(*(self.above[name] for name in found))
        for region in self.regions(state):
            if region not in entered:
                self._down(region, memory, found)

    # -- history ---------------------------------------------------------------------------------

    def _meant(self, target: str, memory: Memory) -> tuple[str, ...]:
        """The target; of a history state what it brings back, or where it begins."""
        state = self.states[target]
        if state.kind is not Kind.HISTORY or state.parent is None:
            return (target,)
        remembered = tuple(memory[target].split(BETWEEN)) if target in memory else ()
        # An operator, or another version of the machine, can have left names that are no more.
        if remembered and all(
            name in self.states and self.within(name, state.parent) for name in remembered
        ):
            return remembered
        if state.default is not None:
            return (state.default,)
        parent = self.states[state.parent]
        return self.regions(parent) if parent.kind is Kind.PARALLEL else (parent.initial,)

    def remembered(self, exited: Iterable[str], active: Iterable[str]) -> dict[str, str]:
        """What the history states of the exited states will bring back."""
        found: dict[str, str] = {}
        for name in exited:
            for child in self.states[name].children:
                history = self.states[child]
                if history.kind is Kind.HISTORY:
                    inside = [one for one in active if self.within(one, name)]
                    if history.deep:
                        found[child] = self.configuration(inside)
                    else:
                        own = [one for one in inside if self.states[one].parent == name]
                        found[child] = BETWEEN.join(own)
        return found

    def completed(self, entered: Iterable[str], stayed: Iterable[str]) -> tuple[str, ...]:
        """The states that are done by entering these, in the order in which they become it."""
        found: dict[str, None] = {}
        active = set(stayed)
        for name in entered:
            active.add(name)
            parent = self.states[name].parent
            if self.states[name].final and parent is not None:
                found[parent] = None
                for around in self.above[parent]:
                    if self.states[around].kind is not Kind.PARALLEL:
                        break
                    if self._is_done(around, active):
                        found[around] = None
        return tuple(found)

    def _is_done(self, name: str, active: set[str]) -> bool:
        state = self.states[name]
        if state.kind is Kind.PARALLEL:
            return all(self._is_done(region, active) for region in self.regions(state))
        return any(child in active and self.states[child].final for child in state.children)
