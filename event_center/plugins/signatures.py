"""
What a function of a plugin may ask for, by the names of its parameters.

A signature is read once, when the plugin is loaded: wrong ones are refused there, and what remains
is a closure that costs the call next to nothing. `registry` calls this; the engine room calls what
it returns, and `checked_result` on what comes back.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import attrgetter, itemgetter
from typing import Any

import orjson

from event_center.errors import GuardFailed, PluginError, UpgradeFailed
from event_center.machine.decision import Guard, Upgrader
from event_center.machine.spelling import meant
from event_center.machine.value import copied
from event_center.model import RESERVED, Event, Json, Snapshot
from event_center.plugins.context import NOT_RESERVED, Context, encoded, not_json, too_long

Call = Callable[[Context], Any]
Lifespan = Callable[[], AbstractAsyncContextManager[object]]

Getter = Callable[[Any], Any]
GuardGetter = Callable[[Snapshot, Event, int], Any]

OF_CALLBACKS: Mapping[str, Getter] = {
    "ctx": lambda ctx: ctx,
    "workflow_id": attrgetter("workflow_id"),
    "state": attrgetter("state"),
    "event": attrgetter("event"),
    "payload": attrgetter("payload"),
    "data": attrgetter("data"),
    "attempt": attrgetter("attempt"),
    "idempotency_key": attrgetter("idempotency_key"),
}
"""What a callback may take, and how it is read from the context."""

OF_GUARDS: Mapping[str, GuardGetter] = {
    "workflow_id": lambda snapshot, _event, _now: snapshot.workflow_id,
    "state": lambda snapshot, _event, _now: snapshot.state,
    "event": lambda _snapshot, event, _now: event,
    "payload": lambda _snapshot, event, _now: event.payload,
    "data": lambda snapshot, _event, _now: snapshot.data,
    "now": lambda _snapshot, _event, now: now,
}
"""
What a guard may take, and how it is read from the arguments of a step. These are the engine's own
objects, for a guard is asked for every event: it looks at them and changes nothing.
"""

OF_UPGRADES: Mapping[str, Getter] = {
    name: itemgetter(name) for name in ("data", "state", "workflow_id", "now")
}
"""What a function of `migrate` may take; the data are a copy."""

_SPREAD: Mapping[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


class Callback:
    """One callback of a machine: to be called as `await call(ctx)`, or `call(ctx)` in a thread."""

    __slots__ = (
        "call",
        "file_line",
        "function",
        "is_async",
        "limit",
        "machine",
        "name",
        "reconcile",
    )

    def __init__(self, machine: str, name: str, function: Callable[..., Any]) -> None:
        self.machine = machine
        self.name = name
        self.function = function
        self.file_line = file_line(function)
        self.is_async = _is_async(function)
        """False: `call` blocks, and belongs into a thread."""
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise PluginError(f"{place(function)} yields; a callback returns its result")
        self.call: Call = _call(function)
        self.limit = 0
        """So many of its runs are under way at once in a process; 0: as many as there may be of all."""
        self.reconcile: Callback | None = None
        """Asked first when an attempt may have happened of which no result is known."""

    def __repr__(self) -> str:
        return f"<callback {self.name} of {self.machine}, {self.file_line}>"


def guard(name: str, function: Callable[..., Any]) -> Guard:
    """
    Make a guard of the machine's table from a plugin's function; what it raises comes as GuardFailed.

    Raises:
        PluginError: it is async, or its signature is wrong.
    """
    if _is_async(function) or inspect.isasyncgenfunction(function):
        raise PluginError(
            f"{place(function)} is async, and a guard may not be; decide on `data` and `payload`, "
            "or find out in a callback and return an event"
        )
    positional, named = _parameters(function, OF_GUARDS, "a guard")
    return _with_truth(_reading(function, positional, named), name, function)


def upgrader(name: str, function: Callable[..., Any]) -> Upgrader:
    """
    Make what a machine upgrades data with from a plugin's function; what it raises comes as UpgradeFailed.

    Raises:
        PluginError: it is async or yields, or its signature is wrong.
    """
    yields = inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)
    if yields or _is_async(function):
        raise PluginError(
            f"{place(function)} is async or yields, and an upgrade may not; it makes new data of the "
            "old ones, and returns them"
        )
    positional, named = _parameters(function, OF_UPGRADES, "an upgrade")
    where = file_line(function)

    def upgrade(values: Mapping[str, Any]) -> dict[str, Json]:
        try:
            made = function(
                *[values[key] for key in positional], **{key: values[key] for key in named}
            )
            return _data(made, function)
        except BaseException as error:  # user code: whatever it raises is its failure, not ours
            raise UpgradeFailed(name, where) from error

    return upgrade


def _data(made: object, function: Callable[..., Any]) -> dict[str, Json]:
    """The new data as the log would give them back."""
    if not isinstance(made, dict):
        kind = type(made).__name__
        raise PluginError(f"{place(function)} returned a {kind}; return the new data, a dict")
    content: dict[str, Json] = orjson.loads(encoded(made, f"{place(function)}: what it returned"))
    return {key: copied(value) for key, value in content.items()}


def lifespan(machine: str, function: Callable[..., Any]) -> Lifespan:
    """
    Make what opens a plugin's lifespan, from a function that yields or returns a context manager.

    Raises:
        PluginError: it takes anything but `machine`.
    """
    known: Mapping[str, Getter] = {"machine": lambda _: machine}
    positional, named = _parameters(function, known, "a lifespan")
    if inspect.isasyncgenfunction(function):
        function = asynccontextmanager(function)
    elif _is_async(function):
        raise PluginError(f"{place(function)} has no `yield`; a lifespan yields once")
    arguments = [machine for _ in positional]
    keywords = dict.fromkeys(named, machine)
    return lambda: function(*arguments, **keywords)


def checked_result(callback: Callback, result: object) -> Event | None:
    """
    Take what a callback returned for what it is: nothing, or an event for its own workflow.

    Raises:
        PluginError: it is something else.
    """
    if result is None:
        return None
    returned = result if isinstance(result, Event) else Event(result)  # type: ignore[arg-type]  # looked at next
    if not (isinstance(returned.name, str) and returned.name):
        raise PluginError(f"{callback.file_line}: callback {callback.name!r} {_returned(result)}")
    name = str.__str__(returned.name)  # of a text of the user's own kind, the plain text
    if name.startswith(RESERVED):
        raise PluginError(
            f"{callback.file_line}: callback {callback.name!r} returned {name!r}; {NOT_RESERVED}"
        )
    if long := too_long(name, returned.id):
        raise PluginError(
            f"{callback.file_line}: callback {callback.name!r} returned {name[:80]!r}: {long}"
        )
    try:
        orjson.dumps(returned.payload)
    except TypeError as error:
        where = f"{callback.file_line}: the payload of {name!r} from {callback.name!r}"
        raise not_json(where, error) from error
    return Event(name, returned.payload, returned.id)


def file_line(function: Callable[..., Any]) -> str:
    """Where a function is written, as `file:line`; relative if below the working directory."""
    inner = inspect.unwrap(function)
    while hasattr(inner, "func"):  # a partial has no place of its own
        inner = inner.func
    code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    if code is None:
        return f"{getattr(inner, '__module__', '?')}.{_name(inner)}"
    inside = os.path.relpath(code.co_filename)
    shown = code.co_filename if inside.startswith(os.pardir) else inside
    return f"{shown}:{code.co_firstlineno}"


def place(function: Callable[..., Any]) -> str:
    """`file:line: function()`, to begin a message with."""
    return f"{file_line(function)}: {_name(function)}()"


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or (
        not inspect.isroutine(function)
        and not inspect.isclass(function)
        and inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - is it async
    )


def _parameters(
    function: Callable[..., Any], known: Mapping[str, Any], kind: str
) -> tuple[list[str], list[str]]:
    """The names to pass by position and by keyword."""
    positional: list[str] = []
    named: list[str] = []
    skipped = False
    for name, parameter in inspect.signature(function).parameters.items():
        optional = parameter.default is not inspect.Parameter.empty
        unreachable = skipped and parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        if optional and (name not in known or unreachable):
            skipped = True
            continue
        if name not in known or parameter.kind in _SPREAD:
            raise PluginError(
                f"{place(function)}: {kind} cannot take {_SPREAD.get(parameter.kind, '')}{name}"
                f"{meant(name, known)}; it takes any of {', '.join(known)}, by name"
            )
        # What stands behind a parameter that keeps its default can only be passed by name.
        by_name = parameter.kind is inspect.Parameter.KEYWORD_ONLY or skipped
        (named if by_name else positional).append(name)
    return positional, named


def _call(function: Callable[..., Any]) -> Call:
    """The cheapest closure for this signature; the common `f(ctx)` needs none."""
    positional, named = _parameters(function, OF_CALLBACKS, "a callback")
    if not named and positional == ["ctx"]:
        return function
    if not named and not positional:
        return lambda _: function()
    getters = [OF_CALLBACKS[name] for name in positional]
    if not named and len(getters) == 1:
        get = getters[0]
        return lambda ctx: function(get(ctx))
    if not named:
        return lambda ctx: function(*[get(ctx) for get in getters])
    keywords = [(name, OF_CALLBACKS[name]) for name in named]
    return lambda ctx: function(
        *[get(ctx) for get in getters], **{name: get(ctx) for name, get in keywords}
    )


def _reading(function: Callable[..., Any], positional: list[str], named: list[str]) -> Guard:
    """The cheapest closure for a guard's signature."""
    if not named and positional == ["data"]:
        return lambda snapshot, _event, _now: function(snapshot.data)
    if not named and positional == ["payload"]:
        return lambda _snapshot, event, _now: function(event.payload)
    getters = [OF_GUARDS[name] for name in positional]
    keywords = [(name, OF_GUARDS[name]) for name in named]
    return lambda snapshot, event, now: function(
        *[get(snapshot, event, now) for get in getters],
        **{name: get(snapshot, event, now) for name, get in keywords},
    )


def _with_truth(read: Guard, name: str, function: Callable[..., Any]) -> Guard:
    """The border around a guard: its answer as a truth, its errors with its name and line."""
    where = file_line(function)

    def truth(snapshot: Snapshot, event: Event, now: int) -> bool:
        try:
            answer = read(snapshot, event, now)
            if answer is True or answer is False:
                return answer
            return _truth(answer, function)
        except BaseException as error:  # user code: whatever it raises is its failure, not ours
            raise GuardFailed(name, where) from error

    return truth


def _truth(answer: object, function: Callable[..., Any]) -> bool:
    """Refuse a coroutine that a decorator hid from the check at load: it would always be true."""
    if inspect.iscoroutine(answer):
        answer.close()
        raise PluginError(f"{place(function)} returned a coroutine; a guard may not be async")
    return bool(answer)


def _returned(result: object) -> str:
    if inspect.iscoroutine(result):
        result.close()
        return (
            "returned a coroutine although it is not an `async def`; make the wrapper of its "
            "decorator one"
        )
    # Only of plain values: the `repr` of anything else is the user's code, and may fail as well.
    plain = type(result) in {str, bytes, int, float, bool}
    shown = f"{result!r:.80}" if plain else f"something of type {type(result).__name__}"
    return f"returned {shown}; return nothing, the name of an event, or an Event(name, payload)"
