"""What a plugin's function may take and return, and what is said if it asks for something else."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from event_center.errors import GuardFailed, PluginError
from event_center.model import Event, Snapshot
from event_center.plugins.context import Context
from event_center.plugins.signatures import Callback, checked_result, guard, lifespan


def _context() -> Context:
    snapshot = Snapshot("o-1", "order", 1, "running")
    snapshot.data = {"total": 3}
    return Context(snapshot, Event("flow_begin", {"card": "x"}), "o-1/1/charge", attempt=2)


def _callback(function: Callable[..., Any]) -> Callback:
    return Callback("order", "charge", function)


def _snapshot() -> Snapshot:
    snapshot = Snapshot("o-1", "order", 1, "running")
    snapshot.data = {"total": 3}
    return snapshot


async def test_the_common_case_costs_nothing() -> None:
    """A callback that takes `ctx` alone is called as it is, without a closure around it."""

    async def charge(ctx: Context) -> str:
        return ctx.workflow_id

    callback = _callback(charge)
    assert callback.call is charge
    assert callback.is_async
    assert await callback.call(_context()) == "o-1"


def test_every_name_is_injected() -> None:
    """Each allowed parameter gets what the context has under this name."""

    def every(  # noqa: PLR0917 - all there are
        workflow_id: str,
        state: str,
        event: Event,
        payload: dict[str, str],
        data: dict[str, int],
        attempt: int,
        idempotency_key: str,
        ctx: Context,
    ) -> tuple[Any, ...]:
        return (workflow_id, state, event, payload, data, attempt, idempotency_key, ctx)

    ctx = _context()
    callback = _callback(every)
    assert not callback.is_async
    given = callback.call(ctx)
    key = "o-1/1/charge"
    assert given == ("o-1", "running", ctx.event, {"card": "x"}, {"total": 3}, 2, key, ctx)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: "none", "none"),
        (lambda payload: payload, {"card": "x"}),
        (lambda state, attempt: (state, attempt), ("running", 2)),
        (lambda *, data: data, {"total": 3}),
        (lambda limit=5, *, payload: (limit, payload), (5, {"card": "x"})),
        (lambda limit=5, payload=None: (limit, payload), (5, {"card": "x"})),
        (functools.partial(lambda limit, state: (limit, state), 7), (7, "running")),
    ],
)
def test_injection_by_name(function: Callable[..., Any], expected: object) -> None:
    """Parameters are found by name in any order and kind; unknown ones keep their defaults."""
    assert _callback(function).call(_context()) == expected


def test_an_unknown_parameter_is_refused_with_its_place() -> None:
    """The message names file, line, function and parameter, guesses, and lists what is allowed."""

    def charge(paylod: object) -> None:
        del paylod

    with pytest.raises(PluginError) as caught:
        _callback(charge)
    message = str(caught.value)
    assert f"test_signatures.py:{charge.__code__.co_firstlineno}: charge()" in message
    assert "cannot take paylod; did you mean 'payload'?" in message
    assert "ctx, workflow_id, state, event, payload, data, attempt, idempotency_key" in message


@pytest.mark.parametrize(
    ("function", "what"),
    [(lambda *payload: payload, "cannot take *payload"), (lambda **ctx: ctx, "cannot take **ctx")],
)
def test_spread_parameters_are_refused(function: Callable[..., Any], what: str) -> None:
    """`*args` and `**kwargs` have no names to inject by."""
    with pytest.raises(PluginError) as caught:
        _callback(function)
    assert what in str(caught.value)


def test_a_generator_is_no_callback() -> None:
    """A function that yields is refused at load: nobody would go through what it yields."""

    def charge(ctx: Context) -> Any:
        yield ctx

    with pytest.raises(PluginError, match="yields"):
        _callback(charge)


async def test_an_object_with_an_async_call_is_async() -> None:
    """A callable object is told apart by its `__call__`."""

    class Charge:
        async def __call__(self, ctx: Context) -> str:
            return ctx.state

    callback = _callback(Charge())
    assert callback.is_async
    assert await callback.call(_context()) == "running"
    assert "test_signatures.py:" in callback.file_line


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda data: data["total"] == 3, True),
        (lambda payload: payload.get("card"), True),
        (lambda now, data: now > data["total"], True),
        (lambda *, state: state == "done", False),
        (lambda event, workflow_id: event.name == workflow_id, False),
        (lambda: None, False),
    ],
)
def test_guards_read_by_name(function: Callable[..., Any], expected: bool) -> None:
    """A guard gets what it names out of a step's arguments, and answers with a truth value."""
    answer = guard("may", function)(_snapshot(), Event("flow_begin", {"card": "x"}), 1_000)
    assert answer is expected


def test_an_async_guard_is_refused() -> None:
    """Guards are decided inside a step, where nothing can be awaited."""

    async def paid(data: dict[str, object]) -> bool:
        return bool(data)

    with pytest.raises(PluginError, match=r"paid\(\) is async, and a guard may not be"):
        guard("paid", paid)


def test_a_guard_takes_no_context() -> None:
    """A guard is pure: it cannot reach for what a run has."""
    with pytest.raises(PluginError, match=r"a guard cannot take ctx.*now, by name"):
        guard("may", lambda ctx: ctx)


def test_a_hidden_coroutine_is_never_true() -> None:
    """A coroutine out of a guard, hidden by a decorator, is an error and not the truth."""

    async def paid() -> bool:
        return False

    hidden = guard("paid", lambda: paid())  # noqa: PLW0108 - hides that it is async
    with pytest.raises(GuardFailed) as caught:
        hidden(_snapshot(), Event("x"), 0)
    assert "returned a coroutine" in str(caught.value.__cause__)


def test_a_guard_that_raises_raises() -> None:
    """A guard's failure is an error, never "false"; it names the guard and its line."""
    with pytest.raises(GuardFailed, match=r"test_signatures.py:\d+: guard 'may'") as caught:
        guard("may", lambda data: data["missing"])(_snapshot(), Event("x"), 0)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    "result",
    ["done", Event("done"), Event("done", {"a": [1]}, "id-1")],
)
def test_results_are_events(result: str | Event) -> None:
    """A name, or an event with payload and id, comes out as a fresh event."""
    event = checked_result(_callback(lambda: None), result)
    assert event is not None
    assert event is not result
    assert event == (Event(result) if isinstance(result, str) else result)


def test_nothing_is_no_event() -> None:
    """A callback that returns nothing sends nothing."""
    assert checked_result(_callback(lambda: None), None) is None


def test_the_event_of_the_run_loses_its_position_when_returned() -> None:
    """`return ctx.event` sends its name, payload and id again, not its place in the log."""
    came = Event("done", 1, "id-1", 5, (), "orders", 0, 7)
    assert checked_result(_callback(lambda: None), came) == Event("done", 1, "id-1")


@pytest.mark.parametrize("result", [0, True, "", ["done"], {"event": "done"}, Event(""), b"done"])
def test_other_results_are_errors(result: object) -> None:
    """Anything else is refused, naming the callback and where it is written."""
    with pytest.raises(PluginError) as caught:
        checked_result(_callback(lambda: None), result)
    assert "test_signatures.py:" in str(caught.value)
    assert "'charge' returned" in str(caught.value)


def test_a_result_that_is_not_json_is_an_error() -> None:
    """A payload that no log could keep is refused where it came from."""
    with pytest.raises(PluginError, match=r"payload of 'done' from 'charge' is not JSON"):
        checked_result(_callback(lambda: None), Event("done", object()))


def test_a_coroutine_for_a_result_is_explained() -> None:
    """A decorator that hides an `async def` is named as the cause, and no warning remains."""

    async def charge() -> None:
        return None

    with pytest.raises(PluginError, match="make the wrapper of its decorator one"):
        checked_result(_callback(lambda: None), charge())


async def test_lifespans_open_and_close() -> None:
    """An async generator function, and a function that returns a context manager, both serve."""
    seen: list[str] = []

    async def plain() -> AsyncIterator[None]:
        seen.append("plain opens")
        yield
        seen.append("plain closes")

    @asynccontextmanager
    async def managed(machine: str) -> AsyncIterator[None]:
        seen.append(f"{machine} opens")
        yield
        seen.append(f"{machine} closes")

    async with lifespan("order", plain)(), lifespan("order", managed)():
        seen.append("runs")
    assert seen == ["plain opens", "order opens", "runs", "order closes", "plain closes"]


def test_a_lifespan_yields() -> None:
    """An `async def` without `yield` is no lifespan, and one cannot ask for a context."""

    async def forgot() -> None:
        return None

    async def asks(ctx: Context) -> AsyncIterator[None]:
        del ctx
        yield

    with pytest.raises(PluginError, match="yields once"):
        lifespan("order", forgot)
    with pytest.raises(PluginError, match="a lifespan cannot take ctx"):
        lifespan("order", asks)
