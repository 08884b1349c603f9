"""
What listeners are and what they get: functions that hear, after the cut, what has happened.

They are part of a plugin's `Callbacks`, of one machine or of `callbacks("*")` for all. They decide
nothing: what they raise is logged. `listeners_of` checks them when a center starts; the engine calls
them.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from event_center.errors import PluginError
from event_center.model import Json
from event_center.plugins.callbacks import EVERY, Callbacks, Moment
from event_center.plugins.signatures import file_line, place


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Something that has happened, as a listener hears of it."""

    moment: str
    """transition, refused, failed or final."""
    workflow_id: str
    machine: str
    at: str
    """When, in RFC 3339."""
    event: str | None
    before: str | None
    """The state before; None at a birth, and where nothing moved."""
    state: str | None
    """The state since."""
    reason: str | None
    detail: str | None
    """Of a refusal, or the message of an error."""
    result: str | None
    data: Mapping[str, Json]
    """All that the record of the history says (docs/formats.md)."""


class Listener(NamedTuple):
    """One function that hears of one kind of moments."""

    machine: str
    """`*`: of all."""
    moment: Moment
    function: Callable[[Notice], Awaitable[object]]
    where: str


def listeners_of(found: Iterable[Callbacks]) -> tuple[Listener, ...]:
    """
    The listeners of all plugins.

    Raises:
        PluginError: one is not async, does not take one argument, or `*` has more than listeners.
    """
    listeners = []
    for callbacks in found:
        if callbacks.machine == EVERY and (callbacks.implementations or callbacks.lifespans):
            functions = [one.function for one in callbacks.implementations] + callbacks.lifespans
            raise PluginError(
                f'{place(functions[0])}: callbacks("{EVERY}") has listeners only; what a machine '
                "names belongs to the callbacks of this machine"
            )
        for moment, function in callbacks.listeners:
            _check(function)
            where = file_line(function)
            listeners.append(Listener(callbacks.machine, moment, function, where))
    return tuple(listeners)


def _check(function: Callable[..., Any]) -> None:
    if not inspect.iscoroutinefunction(function):
        raise PluginError(f"{place(function)} is not async; a listener is, for it must not block")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise PluginError(f"{place(function)}: a listener takes one argument, the notice") from None


def notice_of(told: Mapping[str, Json]) -> list[tuple[Moment, Notice]]:
    """What a record of the history is to listeners; most are one thing, or nothing."""
    kind, result = told["kind"], told.get("result")
    moments: list[Moment] = []
    failed = told.get("reason") == "failed"
    if kind in {"applied", "timer", "created"}:
        moments = [Moment.TRANSITION, *([Moment.FINAL] if result else [])]
    elif kind in {"rejected", "dead_lettered"} and "machine" in told:
        moments = [Moment.FAILED if failed else Moment.REFUSED]
    elif kind == "run" and told.get("outcome") == "failed":
        moments = [Moment.FAILED]
    elif kind == "command" and told.get("command") == "cancel" and told["outcome"] == "applied":
        moments, result = [Moment.FINAL], "cancelled"
    return [(moment, _notice(moment, told, result)) for moment in moments]


def _notice(moment: Moment, told: Mapping[str, Json], result: str | None) -> Notice:
    return Notice(
        moment=str(moment),
        workflow_id=told["workflow_id"],
        machine=told["machine"],
        at=told["at"],
        event=told.get("event"),
        before=told.get("from"),
        state=told.get("to", told.get("state")),
        reason=told.get("reason", told.get("error")),
        detail=told.get("detail", told.get("message")),
        result=result,
        data=told,
    )
