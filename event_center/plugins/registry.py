"""
Who implements what: a machine's callbacks and guards, bound to the functions of its plugins.

Every name that the machine uses must be implemented exactly once; all problems come in one
PluginError. The wiring of a center calls `resolve` once per machine, when it starts; the engine
room then asks `Bound.callback` for what it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from event_center.errors import PluginError
from event_center.machine.definition import Phase
from event_center.machine.spelling import hint, meant
from event_center.machine.step import Machine, build
from event_center.machine.upgrade import with_upgraders
from event_center.plugins.binding import BoundRecord, Fields
from event_center.plugins.callbacks import EVERY, Callbacks, Implementation, Role
from event_center.plugins.discovery import in_class, of_machine
from event_center.plugins.signatures import (
    Callback,
    Lifespan,
    file_line,
    guard,
    lifespan,
    place,
    upgrader,
)

T = TypeVar("T")

NOTHING: Mapping[str, Callable[..., Any]] = MappingProxyType({})
"""Nothing stands in for what a plugin has."""


class Bound:
    """A machine with its guards bound, its callbacks by name, and its plugins' lifespans."""

    __slots__ = ("callbacks", "lifespans", "machine", "warnings")

    def __init__(
        self,
        machine: Machine,
        callbacks: Mapping[str, Callback],
        lifespans: tuple[Lifespan, ...],
        warnings: tuple[str, ...],
    ) -> None:
        self.machine = machine
        self.callbacks = callbacks
        self.lifespans = lifespans
        """To be entered before the first callback runs, and left after the last."""
        self.warnings = warnings
        """What was found and is not used; a sentence each."""

    def callback(self, name: str) -> Callback:
        """The implementation of a callback that the machine names."""
        return self.callbacks[name]

    def bind(
        self,
        record: object,
        state_field: str,
        data_field: str | None = None,
        *,
        memory_field: str | None = None,
        workflow_id: str = "",
        strict: bool = False,
    ) -> BoundRecord:
        """
        Let the machine move a record, without a center: docs/working-with-machines.md.

        Args:
            record: any object, as a row of a database.
            state_field: the name of the attribute that holds the state, a text; empty or None is new.
            data_field: the name of the one that holds the machine's data, a dict of JSON.
            memory_field: the name of the one that holds what history states bring back, a dict of texts.
            workflow_id: what callbacks are told as such.
            strict: raise `EventRefused` for an event that is refused, instead of saying so.

        Raises:
            PluginError: the record has no room for what the machine remembers.
        """
        return BoundRecord(
            self.machine,
            self.callbacks,
            record,
            fields=Fields(state_field, data_field, memory_field),
            workflow_id=workflow_id,
            strict=strict,
        )


def with_callbacks(machine: Machine, *callbacks: Callbacks) -> Bound:
    """
    A machine with its callbacks and guards, as a center would have it.

    Args:
        machine: from `load`.
        callbacks: those to take, beside functions in the machine's class; without any, those of the
            module in which the class, or beside which the file stands.

    Raises:
        PluginError: a callback or guard is missing, twice there, or wrong.
    """
    if not callbacks:
        return resolve(machine, of_machine(machine.definition))
    blueprint = machine.definition.blueprint
    own = [] if blueprint is None else [in_class(blueprint)]
    return resolve(machine, [*own, *callbacks])


def resolve(
    machine: Machine,
    found: Iterable[Callbacks],
    others: Iterable[Machine] = (),
    instead: Mapping[str, Callable[..., Any]] = NOTHING,
) -> Bound:
    """
    Bind a machine to those of the found callbacks that are for it.

    Args:
        machine: the machine.
        found: callbacks of this machine, and of others.
        others: other versions of it that the same callbacks are for.
        instead: functions that stand in for what was found, or was not, by the names that the
            machine has for its callbacks and guards.

    Raises:
        PluginError: with a line for every name without an implementation, or with two, for every
            decorator that names an unknown state, and for every signature that is wrong.
    """
    mine = [one for one in found if one.machine == machine.name]
    return _Resolution(machine, mine, tuple(others)).bound(instead)


def unclaimed(found: Iterable[Callbacks], machines: Iterable[str]) -> list[str]:
    """A sentence for each of the found callbacks that is for a machine nobody loaded."""
    known = sorted(machines)
    return [
        f"{_whereabouts(one)}: callbacks({one.machine!r}) is for a machine that is not loaded"
        f"{hint(one.machine, known, 'machines')}"
        for one in found
        if one.machine not in known and one.machine != EVERY
    ]


class _Resolution:
    """One machine being bound, and what was wrong so far."""

    def __init__(
        self, machine: Machine, found: list[Callbacks], others: tuple[Machine, ...]
    ) -> None:
        self.machine = machine
        self.others = others
        self.found = found
        phases = machine.callbacks.items()
        self.jobs = frozenset(name for name, found in phases if Phase.INVOKE in found)
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.functions: dict[str, Callable[..., Any]] = {}
        self.asked: dict[str, Callable[..., Any]] = {}
        """What is to be asked before a second attempt (`reconcile`), by the callback's name."""
        self.limits: dict[str, int] = {}
        """How many runs of a callback may be under way at once, by its name."""
        self.guard_functions: dict[str, Callable[..., Any]] = {}
        upgrades = machine.definition.upgrades
        self.upgrades = frozenset(one.function for one in upgrades if one.function)
        self.upgrade_functions: dict[str, Callable[..., Any]] = {}

    def bound(self, instead: Mapping[str, Callable[..., Any]]) -> Bound:
        """Note every implementation, look for what is missing, then build what is there."""
        for callbacks in self.found:
            for implementation in callbacks.implementations:
                self._note(implementation)
        for name, function in instead.items():
            if name in self.machine.callbacks:
                self.functions[name] = function
                self.asked.pop(name, None)
                self.limits.pop(name, None)
            elif name in self.machine.guards:
                self.guard_functions[name] = function
        self._missing("job", self.jobs, self.functions)
        self._missing("callback", self.machine.callbacks.keys() - self.jobs, self.functions)
        self._missing("guard", self.machine.guards, self.guard_functions)
        self._missing("upgrade", self.upgrades, self.upgrade_functions)
        name = self.machine.name
        opening = [(name, function) for one in self.found for function in one.lifespans]
        made = self._made(self.functions.items(), partial(Callback, name))
        asked = dict(self._made(self.asked.items(), self._reconcile))
        for callback_name, callback in made:
            callback.reconcile = asked.get(callback_name)
            callback.limit = self.limits.get(callback_name, 0)
        guards = self._made(self.guard_functions.items(), guard)
        upgraders = self._made(self.upgrade_functions.items(), upgrader)
        lifespans = self._made(opening, lifespan)
        if self.problems:
            raise PluginError("\n".join(self.problems))
        machine = self.machine.with_guards(dict(guards)) if guards else self.machine
        if upgraders:
            definition = with_upgraders(machine.definition, dict(upgraders))
            machine = build(definition, machine.given)
        opened = tuple(one for _, one in lifespans)
        return Bound(machine, dict(made), opened, tuple(self.warnings))

    def _reconcile(self, name: str, function: Callable[..., Any]) -> Callback:
        """What is asked before a callback is tried again, if that can be asked of this one."""
        where = place(self.functions[name])
        if not self.machine.callbacks[name] <= {Phase.ENTRY, Phase.INVOKE}:
            raise PluginError(
                f"{where}: {name!r} has `reconcile` and runs before its transition is decided; nothing "
                "of it counts before that, so keep `reconcile` for entry callbacks and jobs"
            )
        calls = self.machine.definition.calls()
        if any(call.action.eager for _, call in calls if call.action.name == name):
            raise PluginError(
                f"{where}: {name!r} has `reconcile` and is `eager`: it may have run for a transition "
                "that a crash undid, of which nobody asks; take one of both away"
            )
        return Callback(self.machine.name, name, function)

    def _note(self, one: Implementation) -> None:
        """Find the name in the machine that this function implements."""
        if one.role is Role.ENTRY or one.role is Role.EXIT:
            name = self._name_at_state(one)
            if name is not None:
                self._implement(self.functions, name, one)
        elif one.role is Role.GUARD:
            self._note_named(one, self.machine.guards, self.guard_functions)
        elif one.role is Role.UPGRADE:
            self._note_named(one, self.upgrades, self.upgrade_functions)
        elif one.role is Role.JOB:
            self._note_named(one, self.jobs, self.functions)
        else:
            self._note_named(one, self.machine.callbacks, self.functions)

    def _note_named(
        self,
        one: Implementation,
        used: Iterable[str],
        functions: dict[str, Callable[..., Any]],
    ) -> None:
        names = frozenset(used)
        if one.name in names:
            self._implement(functions, one.name, one)
        elif not any(one.name in (*other.callbacks, *other.guards) for other in self.others):
            self.warnings.append(
                f"{place(one.function)} implements the {one.role} {one.name!r}, which machine "
                f"{self.machine.name!r} does not use{meant(one.name, names)}"
            )

    def _name_at_state(self, one: Implementation) -> str | None:
        """The callback's name in the machine, or None after noting why there is none."""
        where = f"{place(one.function)}: @{one.role}({one.name!r})"
        if one.name not in self.machine.states:
            if any(one.name in other.states for other in self.others):
                return None
            known = hint(one.name, self.machine.states, "states")
            self.problems.append(f"{where}: machine {self.machine.name!r} has no such state{known}")
            return None
        declared = self.machine.entries if one.role is Role.ENTRY else self.machine.exits
        names = declared.get(one.name, ())
        own = getattr(one.function, "__name__", "")
        if not names:
            self.problems.append(
                f"{where}: the state declares no {one.role}; add `{one.role}: {own}` to it in "
                f"{self.machine.source}"
            )
            return None
        if len(names) == 1:
            return names[0]
        if own not in names:
            self.problems.append(
                f"{where}: the state declares several ({', '.join(names)}), so the function's name "
                f"must be one of them{meant(own, names)}"
            )
            return None
        return own

    def _implement(
        self, functions: dict[str, Callable[..., Any]], name: str, one: Implementation
    ) -> None:
        function = one.function
        if one.reconcile is not None:
            self.asked[name] = one.reconcile
        if one.limit is not None:
            self.limits[name] = one.limit
        other = functions.setdefault(name, function)
        if other is not function:
            self.problems.append(
                f"{place(function)} implements {name!r} of machine {self.machine.name!r}, and so "
                f"does {place(other)}; keep one of them"
            )

    def _missing(
        self, kind: str, used: Iterable[str], functions: Mapping[str, Callable[..., Any]]
    ) -> None:
        role = {"guard": Role.GUARD, "job": Role.JOB, "upgrade": Role.UPGRADE}.get(
            kind, Role.ACTION
        )
        spare = {
            one.name
            for callbacks in self.found
            for one in callbacks.implementations
            if one.role is role and one.name not in functions
        }
        for name in sorted(used):
            if name not in functions:
                self.problems.append(
                    f"{self.machine.position(kind, name)}: nobody implements the {kind} {name!r} "
                    f"of machine {self.machine.name!r}{meant(name, spare)}; "
                    f"{self._advice(role, name)}"
                )

    def _advice(self, role: Role, name: str) -> str:
        own = self.machine.name
        if not self.found:
            return f'no plugin has `callbacks("{own}")`: write one beside the machine'
        return f'decorate a function in {_whereabouts(self.found[0])} with `.{role}("{name}")`'

    def _made(
        self,
        functions: Iterable[tuple[str, Callable[..., Any]]],
        make: Callable[[str, Callable[..., Any]], T],
    ) -> list[tuple[str, T]]:
        """What `make` makes of each function; its errors join the problems."""
        made = []
        for name, function in functions:
            try:
                made.append((name, make(name, function)))
            except PluginError as error:
                self.problems.append(str(error))
        return made


def _whereabouts(callbacks: Callbacks) -> str:
    """The file of the first function, for messages about the whole."""
    functions = [one.function for one in callbacks.implementations] + callbacks.lifespans
    functions += [function for _, function in callbacks.listeners]
    return file_line(functions[0]).rpartition(":")[0] if functions else repr(callbacks)
