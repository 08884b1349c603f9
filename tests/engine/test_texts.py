"""Any text, from anybody: halves of characters get nowhere near a cut, and stop nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from event_center.errors import PermanentError, PluginError, RetryLater
from event_center.model import Event
from event_center.plugins.context import Context
from tests.engine.machines import resting
from tests.engine.script import Script, emits
from tests.engine.world import World

MACHINE = resting("""
data: {told: null}
retries: {default: {max_attempts: 2, interval: 1s}}
states:
  idle:
    on:
      go: busy
      ask: {actions: check, assign: {told: =payload}}
      plain: {assign: {told: =payload}}
    on_error: {assign: {told: =payload}}
  busy:
    entry: work
    on: {done: {target: idle, assign: {told: =payload}}, told: idle}
    on_error: {target: idle, assign: {told: =payload}}
    on_done: idle
""")
HALF = "\ud800"
TEXT = st.text(st.characters() | st.sampled_from([HALF, "\udfff", "@", "\x00"]), max_size=8)
JSON = st.recursive(
    st.none() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
Step = Callable[[Context], Any]


def _raising(kind: type[Exception], text: str) -> Step:
    def step(_ctx: Context) -> None:
        raise type(f"E{text}".replace("\x00", ""), (kind,), {})(text)

    return step


def _publishing(topic: str, payload: Any, key: str, header: str) -> Step:
    def step(ctx: Context) -> None:
        ctx.publish(topic, payload, key=key, headers={header: key})

    return step


def _late(ctx: Context) -> Any:
    ctx.published = [(HALF,)]  # type: ignore[list-item]  # on purpose


STEPS = (
    TEXT.map(lambda name: lambda _: name)
    | st.builds(lambda *parts: lambda _: Event(*parts), TEXT, JSON, TEXT | st.none())
    | st.builds(lambda name, payload, to, id_: emits(name, payload, workflow_id=to, id=id_),
                TEXT, JSON, TEXT, TEXT | st.none())
    | st.builds(lambda name, machine: emits(name, machine=machine), TEXT, TEXT)
    | st.builds(_publishing, st.just("outside") | TEXT, JSON, TEXT, TEXT)
    | st.builds(_raising, st.sampled_from([ValueError, PermanentError]), TEXT)
    | st.builds(lambda text: lambda _: (_ for _ in ()).throw(RetryLater(1, text)), TEXT)
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, min_size=1, max_size=3), st.sampled_from(["go", "ask"]))
@example([emits(HALF)], "go")
@example([emits("go", {HALF: 1})], "ask")
@example([emits("go", workflow_id=HALF)], "ask")
@example([emits("go", id=HALF)], "go")
@example([lambda _: Event("done", [HALF])], "ask")
@example([_publishing("outside", 1, HALF, "x")], "go")
@example([_publishing("outside", 1, "x", HALF)], "go")
@example([_late], "go")
@example([_late], "ask")
@example([_raising(ValueError, HALF)], "go")
async def test_what_callbacks_say(steps: list[Step], event: str) -> None:
    """Whatever a callback emits, publishes, returns or raises is sent, or is its own failure (P5, P8)."""
    functions = {"work": Script(*steps), "check": Script(*steps)}
    async with World((MACHINE, functions), publishable=["outside"]) as world:
        world.send("w", event)
        await world.idle()
        world.send("other", "plain", "told")
        await world.idle()
        assert world.snapshot("other").data["told"] == "told"
        assert world.exists("w")


@given(st.dictionaries(st.sampled_from(["workflow_id", "event", "id", "payload"]), JSON), TEXT)
@example({"workflow_id": "w", "event": HALF}, "")
@example({"workflow_id": HALF, "event": "ask"}, "")
@example({"workflow_id": "w", "event": "ask", "payload": {HALF: HALF}}, "")
@example({"workflow_id": "w", "event": "ask", "id": HALF}, "")
async def test_what_records_say(body: dict[str, Any], header: str) -> None:
    """A record is decided or becomes a letter, whatever its texts are; those behind it are decided."""
    async with World((MACHINE, {"work": Script(), "check": Script()})) as world:
        name = header.encode("utf-8", "ignore").decode()
        value = header.encode("utf-8", "surrogatepass")
        world.put(json.dumps(body).encode(), headers=((name, value),), partition=0)
        world.put(
            json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"), partition=0
        )
        world.send("other", "plain", "told")
        await world.idle()
        assert world.snapshot("other").data["told"] == "told"


async def test_a_payload_is_emitted_as_it_is_at_the_call() -> None:
    """What a callback does to it afterwards, before it returns or later, is no part of the event."""
    seen: list[Any] = []

    def work(ctx: Context) -> None:
        payload: dict[str, Any] = {"n": 1, "list": [1]}
        ctx.emit("ask", payload)
        payload["n"] = 2
        payload["list"].append(HALF)
        ctx.emit("ask", payload | {"list": 3})
        seen.append([one.payload for one in ctx.emitted or ()])

    async with World((MACHINE, {"work": Script(work), "check": Script()})) as world:
        world.send("w", "go")
        await world.idle()
        assert seen == [[{"n": 1, "list": [1]}, {"n": 2, "list": 3}]]
        records = [
            json.loads(record.value or b"")["payload"] for record in world.records("app.inbox")
        ]
        assert records == seen[0]


@pytest.mark.parametrize("key", [HALF, 7])
@pytest.mark.parametrize("part", ["key", "name", "value"])
async def test_publish_says_what_is_no_text(part: str, key: Any) -> None:
    """Key, names and values of headers are checked at the call, so that the message names the line."""
    said: list[str] = []

    def work(ctx: Context) -> None:
        parts: dict[str, Any] = {
            "key": {"key": key},
            "name": {"headers": {key: "x"}},
            "value": {"headers": {"x": key}},
        }[part]
        try:
            ctx.publish("outside", 1, **parts)
        except PluginError as error:
            said.append(str(error))

    functions = {"work": Script(work), "check": Script()}
    async with World((MACHINE, functions), publishable=["outside"]) as world:
        world.send("w", "go")
        await world.idle()
        assert "is no text" in said[0]
        assert "published to 'outside'" in said[0]
        assert world.records("outside") == []
