"""Listeners: told after the cut, as well as possible; they never decide and never stand in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from event_center.engine.listening import LIMIT_S, Listening
from event_center.errors import PluginError
from event_center.log.port import Cut
from event_center.model import Outgoing
from event_center.plugins.callbacks import Callbacks, callbacks
from event_center.plugins.listening import Listener, Notice, listeners_of
from tests.engine.world import OWN, World

TASK = """
machine: task
version: 1
initial: new
states:
  new: {on: {begin: busy, end: done}}
  busy: {entry: {do: work, retry: none}, on: {end: done}, after: {1h: done}}
  done: {type: final}
"""


async def fails() -> None:
    """The callback of the machine."""
    raise OSError("no disk")


def listening_to(found: Callbacks, heard: list[str]) -> Callbacks:
    """Listeners for all moments, which note what they hear."""

    async def note(notice: Notice) -> None:
        parts = (notice.moment, notice.workflow_id, notice.event, notice.before, notice.state)
        heard.append(" ".join(str(part) for part in (*parts, notice.reason or notice.result)))

    for decorate in (found.on_transition, found.on_refused, found.on_failed, found.on_final):
        decorate(note)
    return found


def world(*found: Callbacks) -> World:
    """A world with these listeners."""
    made = World((TASK, {"work": fails}))
    made.plan = replace(made.plan, listeners=listeners_of(found))
    return made


async def test_listeners_hear_what_has_happened() -> None:
    """Births, transitions, timers, refusals, failures and ends, each as one moment, in order."""
    heard: list[str] = []
    async with world(listening_to(callbacks("*"), heard)) as one:
        one.send("a", "begin")
        one.send("b", "begin")
        one.send("c", "begin")
        await one.idle()
        one.send("c", "nothing")
        one.command("skip", "a")
        one.command("skip", "c")
        one.command("cancel", "b")
        await one.idle()
        one.send("c", "begin")
        one.send("a", "end")
        await one.idle()
    first = [line for line in heard if " a " in line]
    assert first == [
        "transition a begin None new None",
        "transition a begin new busy None",
        "failed a None None busy OSError",
        "transition a end busy done success",
        "final a end busy done success",
    ]
    assert [line for line in heard if " b " in line][3:] == ["final b @cancel None busy cancelled"]
    assert "refused c nothing None None unknown_event" in heard
    assert "refused c begin None None not_accepted" in heard


async def test_nobody_is_told_before_the_cut() -> None:
    """What a listener hears of is durable."""
    durable: list[bool] = []
    found = callbacks("*")
    worlds: list[World] = []

    @found.on_transition
    async def look(notice: Notice) -> None:
        durable.append(worlds[0].exists(notice.workflow_id))

    async with world(found) as one:
        worlds.append(one)
        one.send("a", "end")
        await one.idle()
        assert durable == [True, True]


async def test_a_listener_that_fails_or_hangs_changes_nothing() -> None:
    """Errors and hangers are logged with their place; the workflow and the other listeners go on."""
    heard: list[str] = []
    found = callbacks("task")

    @found.on_final
    async def raises(_notice: Notice) -> None:
        raise ValueError("not today")

    @found.on_final
    async def hangs(_notice: Notice) -> None:
        await anyio.sleep_forever()

    with capture_logs() as logs:
        async with world(found, listening_to(callbacks("*"), heard)) as one:
            one.send("a", "end")
            await one.idle()
            await one.rest(LIMIT_S + 1)
            assert one.state("a") == "done"
    failed = [log for log in logs if log["event"] == "listener.failed"]
    assert [(log["error"], log["message"]) for log in failed] == [
        ("ValueError", "not today"),
        ("TimeoutError", ""),
    ]
    assert all("test_listeners.py" in log["where"] for log in failed)
    assert heard[-1] == "final a end new done success"


@pytest.mark.parametrize("what", ["raises", "cancels itself", "is cancelled", "exits"])
async def test_a_listener_ends_nobody_else(what: str) -> None:
    """Whatever way a listener ends in, the next event is decided and the next listener hears of it."""
    heard: list[str] = []
    found = callbacks("task")

    @found.on_final
    async def ends(_notice: Notice) -> None:
        task = asyncio.current_task()
        assert task is not None
        if what == "raises":
            raise asyncio.CancelledError
        if what == "exits":
            raise SystemExit(3)
        task.cancel()
        if what == "is cancelled":
            await anyio.sleep_forever()

    async with world(found, listening_to(callbacks("*"), heard)) as one:
        for name in ("a", "b"):
            one.send(name, "end")
            await one.idle()
            await one.rest(1)
        assert one.state("b") == "done"
    assert [line for line in heard if line.startswith("final")] == [
        "final a end new done success",
        "final b end new done success",
    ]


async def test_listeners_of_a_machine_hear_of_it_alone() -> None:
    """Another machine's listeners hear nothing."""
    heard: list[str] = []
    async with world(listening_to(callbacks("other"), heard)) as one:
        one.send("a", "end")
        await one.idle()
    assert heard == []


async def test_listeners_that_are_too_slow_miss_something() -> None:
    """The queue has a limit: what does not fit is dropped, which is said once."""
    heard: list[str] = []
    async with world(listening_to(callbacks("*"), heard)) as one:
        for number in range(20):
            one.send(f"w{number}", "end")
        await one.idle()
        told = [
            record for record in one.records(OWN.history) if b"applied" in (record.value or b"")
        ]
    assert len(told) == 20
    heard.clear()
    slow = Listening(one.plan.listeners, OWN.history, most=3)
    with capture_logs() as logs:
        for record in told:
            slow.hear(Cut(records=[Outgoing(OWN.history, record.key, record.value)]))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(slow.run)
        await slow.last()
        tasks.cancel_scope.cancel()
    assert len({line.split()[1] for line in heard}) == 3
    assert [log["event"] for log in logs] == ["listener.behind"]


async def test_a_process_that_stops_tells_the_last() -> None:
    """What the last cut made durable is told before the process ends."""
    heard: list[str] = []
    async with world(listening_to(callbacks("*"), heard)) as one:
        one.send("a", "end")
        await one.idle()
        await one.stop()
        assert heard[-1] == "final a end new done success"


def plain(_notice: Notice) -> None:
    """Not async."""


async def lonely() -> None:
    """Takes nothing."""


async def hears(_notice: Notice) -> None:
    """As it should be."""


@pytest.mark.parametrize(
    ("function", "said"), [(plain, "is not async"), (lonely, "takes one argument, the notice")]
)
def test_a_function_that_is_no_listener(function: Callable[..., Any], said: str) -> None:
    """A listener is async and takes the notice: another function is refused at the start."""
    found = callbacks("*")
    found.on_final(function)
    with pytest.raises(PluginError, match=said):
        listeners_of([found])


def test_everywhere_has_listeners_only() -> None:
    """A callback for all machines would run for none: it is refused."""
    found = callbacks("*")
    found.on_final(hears)
    [listener] = listeners_of([found])
    assert (listener.machine, listener.function) == ("*", hears)
    assert isinstance(listener, Listener)
    found.action(hears)
    with pytest.raises(PluginError, match="has listeners only"):
        listeners_of([found])
