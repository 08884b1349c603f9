"""
Whatever the engine repeats of an event or a command: the record in which it does so fits the log.

The log takes no larger one, and a cut that has one is refused for ever: its shard would stand still. So
each row brings in something that the log takes, nearly as large as can be, of characters that take more
room where they are told of. It has its outcome or its letter (the world's audit), and the next event its.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from event_center.log.memory import MAX_EVENT_BYTES
from event_center.model import Event, Headers, size_of
from event_center.plugins.context import Context
from event_center.wire.envelope import Rules
from tests.engine.script import emits
from tests.engine.world import EVENTS, OWN, World

MACHINE = """
machine: m
version: 1
initial: idle
perpetual: true
on_failure: dead_letter
unhandled: UNHANDLED
retries: {once: {max_attempts: 1}}
events:
  go:
  more:
  ask:
  wait:
  job:
  busy:
  tell:
  shout:
  done:
  strict: {schema: {type: object, additionalProperties: false, properties: {n: {enum: [1]}}}}
  early: {missing: {hold: 1s}}
  lone: {missing: dead_letter}
states:
  idle:
    on:
      go: {target: idle, reenter: true}
      early: {}
      lone: {}
      strict: {}
      more: {guard: =payload.n > 1}
      ask: {actions: {do: work, retry: once}}
      wait: {actions: {do: work, retry: {max_attempts: 3, interval: 1s}}}
      job: building
      busy: busy
      tell: {emit: {event: go, workflow_id: =payload.to, payload: =payload.what, machine: m}}
      shout: {emit: {event: go, workflow_id: =payload.to, payload: =payload.what, topic: outside}}
  busy:
    entry: {do: work, retry: once}
    on: {done: idle}
    on_error: idle
    on_done: idle
  building:
    invoke: {do: work, retry: once, on_done: idle, on_error: idle}
"""
TOPICS = {
    EVENTS: Rules(machine="m"),
    "kinds": Rules(machine="=body.kind"),
    "sums": Rules(machine="m", workflow_id="=body.who", id="=body.a + 1"),
    "parts": Rules(machine="m", id="=body.who"),
    "paths": Rules(machine="m", workflow_id="=body.who.id"),
    "times": Rules(machine="m", time="=body.who"),
    "strays": Rules(machine="m"),
}
GROWING = {
    "control": "\x01",  # one byte of a header, six of JSON
    "delete": "\x7f",  # one byte of JSON, four of a message that shows it
    "private": "\U0010ffff",  # four bytes, and ten
    "chinese": "\u4e00",
    "quotes": '"',
}
"""Characters of which more bytes are written than were read, in one way or another."""
MOST = MAX_EVENT_BYTES - 1_000
"""Bytes of what comes in: keys and names of headers are beside it."""

Step = Callable[[Context], Any]


def full(text: str, around: Callable[[str], Any], *, most: int = MOST) -> bytes:
    """JSON of what is made around this text, repeated until the log takes no more."""
    room = most - len(orjson.dumps(around("")))
    return orjson.dumps(around(text * (room // (len(orjson.dumps(text)) - 2))))


def about(where: str, **parts: Any) -> Callable[[str], dict[str, Any]]:
    """An event with the text at this place, and these other parts."""
    event = {"workflow_id": "w", "event": "go", **parts}
    return lambda text: event | {where: text}


ABOUT: dict[str, tuple[str, Callable[[str], Any]]] = {
    "id": (EVENTS, about("id")),
    "an unknown event": (EVENTS, about("event")),
    "workflow_id": (EVENTS, about("workflow_id")),
    "workflow_id of a rule": ("paths", about("who")),
    "id of a rule": ("parts", about("who")),
    "id that is a list": ("parts", lambda text: about("who")("") | {"who": [text]}),
    "a rule that fails": ("sums", about("a", who="w")),
    "time": ("times", about("who")),
    "time of a CloudEvent": (EVENTS, about("time", specversion="1.0", type="go")),
    "source": (EVENTS, about("source", specversion="1.0", type="go", id="1")),
    "payload": (EVENTS, about("payload")),
    "a payload that is refused": (EVENTS, about("payload", event="what")),
    "a payload that makes none": (EVENTS, about("payload", event="what", workflow_id="new")),
    "a payload that fits no schema": (EVENTS, about("payload", event="strict")),
    "a key that fits no schema": (
        EVENTS,
        lambda text: about("x", event="strict")("") | {"payload": {text: 1}},
    ),
    "a value that fits no schema": (
        EVENTS,
        lambda text: about("x", event="strict", workflow_id="new")("") | {"payload": {"n": text}},
    ),
    "a guard that fails": (EVENTS, lambda text: about("x", event="more")("") | {"payload": {"n": text}}),
    "a callback that fails": (EVENTS, about("payload", event="ask")),
    "another machine": ("kinds", about("kind")),
    "an unknown machine": ("kinds", about("kind", workflow_id="new")),
    "an unknown machine and a long id": ("kinds", about("id", workflow_id="new", kind="\x7f" * 9_000)),
    "a stray": ("strays", about("payload", workflow_id="elsewhere")),
    "held": (EVENTS, about("payload", event="early", workflow_id='"' * 512)),
    "for a workflow that is not there": (EVENTS, about("payload", event="lone", workflow_id='"' * 512)),
}  # fmt: skip
"""By what is repeated of an event: its topic, and the event around a text."""
COMMAND = {"format": 1, "id": "1", "verb": "pause", "workflow_id": "w", "args": {}}
COMMANDS: dict[str, Callable[[str], Any]] = {
    "no command": lambda text: text,
    "a list": lambda text: [text],
    "id": lambda text: COMMAND | {"id": text},
    "an id of another type": lambda text: COMMAND | {"id": 5, "reason": text},
    "verb": lambda text: COMMAND | {"verb": text},
    "a part that there is not": lambda text: COMMAND | {text: 1},
    "format": lambda text: COMMAND | {"format": text},
    "by": lambda text: COMMAND | {"by": text},
    "reason": lambda text: COMMAND | {"reason": text},
    "reason of who is not there": lambda text: COMMAND | {"workflow_id": "new", "reason": text},
    "args": lambda text: COMMAND | {"args": {"state": text}},
    "state": lambda text: COMMAND | {"verb": "set-state", "reason": "r", "args": {"state": text}},
    "number": lambda text: COMMAND | {"verb": "discard", "args": {"number": text}},
    "event": lambda text: COMMAND | {"verb": "replay", "args": {"number": 0, "event": text}},
    "by of a cancel": lambda text: COMMAND | {"verb": "cancel", "by": text},
    "by of a skip": lambda text: COMMAND | {"verb": "skip", "by": text},
    "by of a forget": lambda text: COMMAND | {"verb": "forget", "by": text, "reason": "r"},
    "workflow_id": lambda text: COMMAND | {"workflow_id": text},
}
"""By what is repeated of a command: the command around a text."""


def raises(text: str) -> Step:
    """A step that fails with this message, in a class of this name."""

    def step(_ctx: Context) -> None:
        raise type(text.replace("\x00", "") or "E", (ValueError,), {})(text)

    return step


def publishes(payload: Any, **more: Any) -> Step:
    """A step that publishes."""
    return lambda ctx: ctx.publish(more.pop("topic", "outside"), payload, **more)


STEPS: dict[str, Callable[[str], Step]] = {
    "error": raises,
    "returned name": lambda text: lambda _: text,
    "returned id": lambda text: lambda _: Event("done", None, text),
    "returned payload": lambda text: lambda _: Event("done", text),
    "emitted name": emits,
    "emitted payload": lambda text: emits("go", text),
    "emitted id": lambda text: emits("go", id=text),
    "emitted machine": lambda text: emits("go", machine=text),
    "emitted machine for a new one": lambda text: emits("go", workflow_id="n", machine=text),
    "emitted to": lambda text: emits("go", workflow_id=text),
    "emitted to, with a payload": lambda text: emits("go", text[1:], workflow_id=text[: len(text) // 2]),
    "published payload": publishes,
    "published key": lambda text: publishes(None, key=text),
    "published header": lambda text: publishes(None, headers={"h": text}),
    "a header's name": lambda text: publishes(None, headers={text: "h"}),
    "published to": lambda text: publishes(None, topic=text),
}  # fmt: skip
"""By what is repeated of what a callback does: a step with a text."""


def world_with(step: Step | None = None, *, unhandled: str = "reject") -> World:
    """A world whose log takes as much as Kafka; all of it happens in one of its shards."""

    async def work(ctx: Context) -> Any:
        if step is None:
            raise ValueError("made to fail")
        return step(ctx)

    return World(
        (MACHINE.replace("UNHANDLED", unhandled), {"work": work}),
        topics=TOPICS,
        shards=2,
        dead_letter_strays=["strays"],
        publishable=["outside"],
    )


async def begun(world: World) -> int:
    """Make the workflow `w`; returns its home."""
    world.send("w", "go")
    await settled(world)
    return int(world.home("w"))


async def settled(world: World) -> None:
    """All is decided; a shard that stands still fails the test before the patience of the world ends."""
    async with asyncio.timeout(300):
        await world.idle()


async def goes_on(world: World) -> None:
    """The next event of each shard is applied."""
    nexts = {world.home(name): name for name in map("next-{}".format, range(9))}
    assert len(nexts) == 2
    for name in nexts.values():
        world.send(name, "go")
    await settled(world)
    for name in nexts.values():
        assert world.outcomes(name) == ["go applied"]


@pytest.mark.parametrize("text", GROWING.values(), ids=GROWING)
@pytest.mark.parametrize("unhandled", ["reject", "dead_letter"])
@pytest.mark.parametrize("way", ABOUT)
async def test_an_event(way: str, unhandled: str, text: str) -> None:
    """P1, P8: it has its outcome or its letter, wherever its text is repeated, and the next event its."""
    topic, around = ABOUT[way]
    async with world_with(unhandled=unhandled) as world:
        await begun(world)
        for partition in range(2):  # at home, and where it is forwarded
            world.put(full(text, around), topic=topic, partition=partition)
        await settled(world)
        await world.leap(seconds=5)
        await goes_on(world)


CLOUD = {
    "ce_specversion": b"1.0",
    "ce_type": b"go",
    "ce_source": b"s",
    "ce_id": b"1",
    "ce_subject": b"w",
}
BYTES = (b"\xff", b"\x01", b"\x7f", b'"')


@pytest.mark.parametrize("name", [*CLOUD, "ce_time", "ce_workflow_id", "mine"])
async def test_a_header(name: str) -> None:
    """The same of the headers of a CloudEvent, one byte of which can be six of JSON."""
    async with world_with() as world:
        await begun(world)
        for content in BYTES:
            for size in (90_000, 270_000, 340_000, MOST - 100):
                headers: Headers = tuple((CLOUD | {name: content * size}).items())
                for partition in range(2):
                    world.put(b"{}", topic=EVENTS, partition=partition, headers=headers)
                await settled(world)
        await goes_on(world)


@pytest.mark.parametrize("key", [b"\xff", b"\x01", b'"'], ids=["half", "control", "quote"])
async def test_a_key(key: bytes) -> None:
    """The same of a key, which names the workflow where nothing else does."""
    async with world_with() as world:
        for value in (b'{"event": "go"}', b"none"):
            for partition in range(2):
                large = (EVENTS, key * MOST, value, (), partition, 0)
                world.broker.append([large], world.clock())
        world.broker.members.ring()
        await settled(world)
        await goes_on(world)


@pytest.mark.parametrize("headers", [0, 300_000, 500_000])
async def test_numbers_that_are_written_anew(headers: int) -> None:
    """The same of what is longer in our JSON than in its publisher's, beside headers of any size."""
    async with world_with() as world:
        home = await begun(world)
        room = 6 * (MOST - headers) // 42
        for count in (room // 6, room // 2, room):
            value = b'{"workflow_id":"w","event":"go","payload":[%b1]}' % (b"1e15," * count)
            mine = (("mine", b"x" * headers),) if headers else ()
            assert size_of(None, value, mine) <= MAX_EVENT_BYTES
            for partition in (home, 1 - home):
                world.put(value, topic=EVENTS, partition=partition, headers=mine)
        await settled(world)
        await goes_on(world)


@pytest.mark.parametrize("text", GROWING.values(), ids=GROWING)
@pytest.mark.parametrize("way", COMMANDS)
async def test_a_command(way: str, text: str) -> None:
    """The same of a command; events of its workflow wait, one of them may be what it discards."""
    async with world_with() as world:
        home = await begun(world)
        for event in ("ask", "go", "go"):  # open letters
            world.send("w", event)
        await settled(world)
        value = full(text, COMMANDS[way])
        world.put(value, key="w", topic=OWN.commands, partition=home)
        await settled(world)
        await goes_on(world)


@pytest.mark.parametrize("event", ["ask", "wait", "busy", "job"])
@pytest.mark.parametrize("way", STEPS)
async def test_what_a_callback_does(way: str, event: str) -> None:
    """The same of what a callback raises, returns, emits and publishes, decided or not."""
    texts = {}
    for number, text in enumerate(GROWING.values()):
        for most in (450_000, MOST):
            texts[f"w-{number}-{most}"] = text * (most // len(text.encode()))
    async with world_with(lambda ctx: STEPS[way](texts[ctx.workflow_id])(ctx)) as world:
        for workflow_id in texts:
            world.send(workflow_id, event)
            await settled(world)
        await goes_on(world)


@pytest.mark.parametrize("text", GROWING.values(), ids=GROWING)
@pytest.mark.parametrize("event", ["tell", "shout"])
@pytest.mark.parametrize("parts", [{"to": "W"}, {"what": "W"}, {"to": "W", "what": "W"}], ids=str)
async def test_what_a_machine_emits(parts: dict[str, str], event: str, text: str) -> None:
    """The same of what a branch declares."""

    def around(text: str) -> dict[str, Any]:
        payload = {"to": "v", "what": None} | dict.fromkeys(parts, text)
        return {"workflow_id": "w", "event": event, "payload": payload}

    async with world_with() as world:
        await begun(world)
        world.put(full(text, around, most=MOST // len(parts)), topic=EVENTS)
        await settled(world)
        await goes_on(world)


@pytest.mark.parametrize("room", [MAX_EVENT_BYTES // 9, 0])
async def test_a_log_without_room_beside_an_event(room: int) -> None:
    """The twin: where a letter may be no larger than its event, the shard stands still before it."""
    async with world_with() as world:
        await begun(world)
        world.broker.max_record_bytes = MAX_EVENT_BYTES - 1_000 + room
        world.put(full("x", about("event")), topic=EVENTS)
        if room:
            await goes_on(world)
        else:
            with pytest.raises(TimeoutError):
                await goes_on(world)
            world.audits = False
