"""
What stands in for callbacks in a test, and a note of every call of a callback.

A fake is a function, or an answer, or a list of answers; `standing_in` makes functions of them, and
`note_calls` lets each callback of a machine leave a `Call`. `TestCenter` uses both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from event_center.errors import PluginError
from event_center.machine import Machine
from event_center.machine.spelling import hint
from event_center.model import Json
from event_center.plugins.context import Context
from event_center.plugins.registry import Bound
from event_center.plugins.signatures import Callback

Fake = Any
"""A function; an answer: an event's name, an `Event`, None, an exception to raise; or a list of answers."""


@dataclass(kw_only=True, slots=True)
class Call:
    """One call of a callback: what it was given, and what it did, once it has ended."""

    name: str
    """The callback, as the machine calls it."""
    workflow_id: str
    state: str
    event: str
    payload: Json
    data: dict[str, Json]
    attempt: int
    key: str
    """The idempotency key: the same for every attempt of one run."""
    at_ms: int
    ended: bool = False
    result: Any = None
    error: BaseException | None = None


def standing_in(
    fakes: Mapping[str, Fake], machines: Iterable[Machine]
) -> dict[str, Callable[..., Any]]:
    """
    The functions of fakes, by the names that the machines have for them.

    Raises:
        PluginError: no machine has a callback or a guard of such a name.
    """
    guards: set[str] = set()
    callbacks: set[str] = set()
    for machine in machines:
        guards |= machine.guards
        callbacks |= machine.callbacks.keys()
    made: dict[str, Callable[..., Any]] = {}
    for name, fake in fakes.items():
        if name not in guards | callbacks:
            raise PluginError(
                f"fakes[{name!r}]: no machine has a callback or guard of this name"
                f"{hint(name, sorted(guards | callbacks), 'callbacks and guards')}"
            )
        made[name] = fake if callable(fake) else _answering(fake, is_guard=name in guards)
    return made


def _answering(fake: Fake, *, is_guard: bool) -> Callable[..., Any]:
    """A function that answers; the last of several answers again and again."""
    answers = list(fake) if isinstance(fake, list) and fake else [fake]

    def answer() -> Any:
        said = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(said, BaseException):
            raise said
        return said

    async def answer_later() -> Any:
        return answer()

    return answer if is_guard else answer_later


def note_calls(bound: Bound, calls: list[Call], clock: Callable[[], int]) -> None:
    """From now on each call of a machine's callbacks is noted."""
    for callback in bound.callbacks.values():
        callback.call = _noting(callback, calls, clock)


def _noting(
    callback: Callback, calls: list[Call], clock: Callable[[], int]
) -> Callable[[Context], Any]:
    inner = callback.call

    def begun(ctx: Context) -> Call:
        call = Call(
            name=callback.name,
            workflow_id=ctx.workflow_id,
            state=ctx.state,
            event=ctx.event.name,
            payload=ctx.payload,
            data=ctx.data,
            attempt=ctx.attempt,
            key=ctx.idempotency_key,
            at_ms=clock(),
        )
        calls.append(call)
        return call

    async def noted(ctx: Context) -> Any:
        call = begun(ctx)
        try:
            call.result = await inner(ctx)
        except BaseException as error:  # the user's, noted; it goes on
            call.error = error
            raise
        finally:
            call.ended = True
        return call.result

    def noted_in_thread(ctx: Context) -> Any:
        call = begun(ctx)
        try:
            call.result = inner(ctx)
        except BaseException as error:  # as above
            call.error = error
            raise
        finally:
            call.ended = True
        return call.result

    return noted if callback.is_async else noted_in_thread
