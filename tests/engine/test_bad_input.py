"""Whatever comes in or out of a callback has a recorded outcome, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from event_center.wire.envelope import Rules
from tests.engine.world import EVENTS, World

MACHINE = """
machine: m
version: 1
initial: idle
on_failure: dead_letter
retries:
  never: {max_attempts: 1}
states:
  idle:
    on:
      go: {target: idle, reenter: true}
      ask: {actions: {do: work, retry: never, timeout: 1s}}
      end: over
  over: {type: final}
"""
OTHER = "machine: o\nversion: 1\ninitial: a\nperpetual: true\nstates: {a: {on: {go: a}}}\n"
RULES = {EVENTS: Rules(machine="=body.kind")}


def body(**parts: Any) -> bytes:
    """A record that is fine but for these parts; one that is None is left out."""
    whole = {"kind": "m", "workflow_id": "w", "event": "go", **parts}
    return orjson.dumps({name: part for name, part in whole.items() if part is not None})


def raw(payload: bytes) -> bytes:
    """The same with a payload as it is."""
    return b'{"kind": "m", "workflow_id": "w", "event": "go", "payload": %b}' % payload


def world_with(work: Callable[[], Any] | None = None) -> World:
    """A world of both machines."""

    async def nothing() -> None:
        pass

    functions = {"work": work or nothing}
    return World((MACHINE, functions), OTHER, topics=RULES, max_event_bytes=10_000_000)


RECORDS: dict[str, tuple[bytes | None, str]] = {
    "not JSON": (b"go!", "letter undecodable"),
    "not UTF-8": (b'{"workflow_id": "\xff"}', "letter undecodable"),
    "no workflow_id": (body(workflow_id=None), "letter no_workflow_id"),
    "a workflow_id of 10 kB": (body(workflow_id="w" * 10_000), "letter bad_workflow_id"),
    "a workflow_id with control characters": (body(workflow_id="w\n"), "letter bad_workflow_id"),
    "an empty workflow_id": (body(workflow_id=""), "letter no_workflow_id"),
    "an unknown event": (body(event="fly"), "fly rejected(unknown_event)"),
    "an unknown machine": (body(kind="x", workflow_id="new"), "letter unknown_machine"),
    "another machine": (body(kind="o"), "go rejected(other_machine)"),
    "a payload of 5 MB": (body(payload="x" * 5_000_000), "go applied"),
    "a payload of depth 10,000": (raw(b"[" * 10_000 + b"]" * 10_000), "letter undecodable"),
    "NaN": (raw(b"NaN"), "letter undecodable"),
    "an integer of 400 digits": (raw(b"9" * 400), "letter undecodable"),
    "duplicate keys": (raw(b'{"a": 1, "a": 2}'), "go applied"),
    "a null value": (None, "letter undecodable"),
}
"""What is in a record, and what becomes of it."""


async def goes_on(world: World) -> None:
    """Events of another workflow are decided all the same."""
    world.put(body(workflow_id="other"), key="other")
    await world.idle()
    assert world.outcomes("other")[-1] == "go applied"


@pytest.mark.parametrize("name", RECORDS)
async def test_a_record(name: str) -> None:
    """P1: it has the one outcome that the list says."""
    value, outcome = RECORDS[name]
    async with world_with() as world:
        world.put(body(), key="w")
        await world.idle()
        before = world.entry().read
        world.put(value, key=None if "workflow_id" in name else "w")
        await world.idle()
        assert world.entry().read == before + 1
        if outcome.startswith("letter "):
            assert f"letter {world.letters()[-1].reason}" == outcome
        else:
            assert world.outcomes("w")[-1] == outcome
        await goes_on(world)


async def test_a_null_key_and_a_thousand_headers() -> None:
    """Neither keeps an event from being decided."""
    headers = tuple((f"h{number}", b"x") for number in range(1_000))
    async with world_with() as world:
        world.put(body(), key=None, headers=headers)
        await world.idle()
        assert world.outcomes("w") == ["go applied"]
        await goes_on(world)


async def test_duplicate_ids() -> None:
    """The second of two events with one id is a duplicate."""
    async with world_with() as world:
        for _ in range(2):
            world.put(body(id="1"), key="w")
        await world.idle()
        assert world.outcomes("w") == ["go applied", "go duplicate"]
        await goes_on(world)


async def test_events_for_a_finished_workflow_and_after_its_tombstone() -> None:
    """The first is rejected; once the workflow has left the log, the next one finds none and makes one."""
    async with world_with() as world:
        for event in ("go", "end", "go"):
            world.put(body(event=event), key="w")
        await world.idle()
        assert world.outcomes("w")[-1] == "go rejected(finished)"
        world.command("forget", "w", reason="a test")
        await world.idle()
        world.put(body(), key="w")
        await world.idle()
        assert world.outcomes("w")[-1] == "go applied"
        await goes_on(world)


async def raises() -> None:
    raise ValueError("no")


async def hangs() -> None:
    await asyncio.Event().wait()


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()


async def exits() -> None:
    raise SystemExit(3)


async def interrupts() -> None:
    raise KeyboardInterrupt


async def returns_nonsense() -> Any:
    return object()


CALLBACKS: dict[str, Callable[[], Any]] = {
    "raises": raises,
    "hangs past its timeout": hangs,
    "cancels itself": cancels_itself,
    "raises SystemExit": exits,
    "raises KeyboardInterrupt": interrupts,
    "returns nonsense": returns_nonsense,
}
"""What a callback does that fails for good."""


@pytest.mark.parametrize("name", CALLBACKS)
async def test_a_callback(name: str) -> None:
    """It is a failed attempt of this event alone, with a letter; nobody else hears of it."""
    async with world_with(CALLBACKS[name]) as world:
        world.put(body(), key="w")
        world.put(body(event="ask"), key="w")
        await world.idle()
        assert world.letters()[-1].reason == "failed"
        assert world.entry().outcomes["dead_lettered"] == 1
        await goes_on(world)


async def test_a_clock_that_goes_an_hour_forward_and_back() -> None:
    """P7: what became due by then fires once; nothing fires twice, and events are decided all along."""
    text = MACHINE.replace("  idle:\n", "  idle:\n    after: {30m: late}\n")
    text = text.replace(
        "  over:", "  late: {on: {go: {target: late, reenter: true}, end: over}}\n  over:"
    )
    async with World((text, {"work": raises}), OTHER, topics=RULES) as world:
        world.put(body(), key="w")
        await world.idle()
        await world.leap(1)
        await world.idle()
        assert world.state("w") == "late"
        world.put(body(workflow_id="v"), key="v")
        await world.idle()
        await world.leap(-1)
        world.put(body(), key="w")
        world.put(body(workflow_id="v"), key="v")
        await world.idle()
        assert (world.state("w"), world.state("v")) == ("late", "idle")
        assert world.entry().timers == 1
        await goes_on(world)
