"""
What a plugin's author writes with: `callbacks("order")` and its decorators.

A decorator only notes the function and returns it unchanged: nothing is checked, and nothing is
registered anywhere else, so that two centers, or two tests, never see each other's plugins.
`discovery` finds the `Callbacks` objects in modules; `registry` checks them against the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum
from typing import Any, Final, NamedTuple, TypeVar, overload

from event_center.errors import PluginError
from event_center.plugins.signatures import file_line

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


class Role(StrEnum):
    """How a decorator said what its function is for."""

    ENTRY = "entry"
    EXIT = "exit"
    ACTION = "action"
    GUARD = "guard"
    JOB = "job"
    UPGRADE = "upgrade"


class Answer(Enum):
    """What `reconcile` can answer beside a result."""

    DONE = "done"

    def __repr__(self) -> str:
        return self.name


DONE: Final = Answer.DONE
"""What `reconcile` answers when the callback has done its work and has nothing to return."""


class Moment(StrEnum):
    """What listeners hear of."""

    TRANSITION = "transition"
    REFUSED = "refused"
    FAILED = "failed"
    FINAL = "final"


EVERY = "*"
"""In `callbacks("*")`: the listeners are for all machines."""


class Implementation(NamedTuple):
    """One decorated function; `name` is a state for entry and exit, else as in the machine."""

    role: Role
    name: str
    function: Function
    reconcile: Function | None = None
    limit: int | None = None


class Callbacks:
    """The callbacks of one machine, as one module implements them."""

    __slots__ = ("implementations", "lifespans", "listeners", "machine")

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self.implementations: list[Implementation] = []
        self.lifespans: list[Function] = []
        self.listeners: list[tuple[Moment, Function]] = []

    def __repr__(self) -> str:
        return f"callbacks({self.machine!r})"

    def entry(
        self, state: str, *, reconcile: Function | None = None, limit: int | None = None
    ) -> Callable[[F], F]:
        """
        Implement the entry callback of a state; of several, the one with the function's name.

        Args:
            state: its name in the machine.
            reconcile: asked first when an attempt may have happened of which no result is known: takes
                what a callback takes, and answers with the result, `DONE`, or None if it knows of none.
            limit: how many of its runs may be under way at once in a process; the others wait.
        """
        return self._decorator(Role.ENTRY, state, reconcile=reconcile, limit=limit)

    def exit(self, state: str, *, limit: int | None = None) -> Callable[[F], F]:
        """Implement the exit callback of a state; of several, the one with the function's name."""
        return self._decorator(Role.EXIT, state, limit=limit)

    @overload
    def action(self, name: F) -> F: ...
    @overload
    def action(
        self, name: str, *, reconcile: Function | None = None, limit: int | None = None
    ) -> Callable[[F], F]: ...
    def action(
        self, name: str | F, *, reconcile: Function | None = None, limit: int | None = None
    ) -> F | Callable[[F], F]:
        """Implement a callback by its name in the machine (by default the function's); see `entry`."""
        return self._named(Role.ACTION, name, reconcile=reconcile, limit=limit)

    @overload
    def job(self, name: F) -> F: ...
    @overload
    def job(
        self, name: str, *, reconcile: Function | None = None, limit: int | None = None
    ) -> Callable[[F], F]: ...
    def job(
        self, name: str | F, *, reconcile: Function | None = None, limit: int | None = None
    ) -> F | Callable[[F], F]:
        """Implement a job by its name in the machine (by default the function's); see `entry`."""
        return self._named(Role.JOB, name, reconcile=reconcile, limit=limit)

    @overload
    def guard(self, name: F) -> F: ...
    @overload
    def guard(self, name: str) -> Callable[[F], F]: ...
    def guard(self, name: str | F) -> F | Callable[[F], F]:
        """Implement a guard by its name in the machine (by default the function's); not async."""
        return self._named(Role.GUARD, name)

    @overload
    def upgrade(self, name: F) -> F: ...
    @overload
    def upgrade(self, name: str) -> Callable[[F], F]: ...
    def upgrade(self, name: str | F) -> F | Callable[[F], F]:
        """
        Make the data of workflows of an older version those of the next one, as `migrate` names it.

        Returns all of the new data; takes any of `data`, `state`, `workflow_id` and `now`. Not async.
        """
        return self._named(Role.UPGRADE, name)

    def lifespan(self, function: F) -> F:
        """Hold what the plugin needs while the center runs: an async context manager function."""
        self.lifespans.append(function)
        return function

    def on_transition(self, function: F) -> F:
        """Hear of every transition, births included, after its cut; takes a `Notice`."""
        return self._listening(Moment.TRANSITION, function)

    def on_refused(self, function: F) -> F:
        """Hear of every event that a workflow refused."""
        return self._listening(Moment.REFUSED, function)

    def on_failed(self, function: F) -> F:
        """Hear of every failed attempt of an entry callback, and of events that failed."""
        return self._listening(Moment.FAILED, function)

    def on_final(self, function: F) -> F:
        """Hear of every workflow that has ended."""
        return self._listening(Moment.FINAL, function)

    def _listening(self, moment: Moment, function: F) -> F:
        self.listeners.append((moment, function))
        return function

    def _named(self, role: Role, name: str | F, **options: Any) -> F | Callable[[F], F]:
        if isinstance(name, str):
            return self._decorator(role, name, **options)
        return self._decorator(role, name.__name__)(name)

    def _decorator(
        self,
        role: Role,
        name: str,
        *,
        reconcile: Function | None = None,
        limit: int | None = None,
    ) -> Callable[[F], F]:
        if not isinstance(name, str):
            raise PluginError(
                f"{file_line(name)}: {role} of callbacks({self.machine!r}) decorates without its "
                f'state; write `.{role}("STATE")`'
            )
        if limit is not None and (type(limit) is not int or limit < 1):
            raise PluginError(
                f"{role} {name!r} of callbacks({self.machine!r}) has the limit {limit!r}; write how many "
                "of its runs may be under way at once, 1 or more, or leave it out"
            )

        def note(function: F) -> F:
            self.implementations.append(Implementation(role, name, function, reconcile, limit))
            return function

        return note


def callbacks(machine: str) -> Callbacks:
    """
    Begin the callbacks of the machine with this name; keep the result as a module attribute.

    `callbacks("*")` has listeners for all machines.
    """
    if not isinstance(machine, str) or not machine:
        raise PluginError(f"callbacks() takes the name of a machine, not {machine!r}")
    return Callbacks(machine)
