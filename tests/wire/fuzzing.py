"""
Damaged bytes and texts of every form: each ends in what was read, or in the one error of its form.

Inputs are made from good ones: a value somewhere inside is another one, bytes are cut, doubled or
changed, or all of it is noise. `tests/fuzzing.py` runs it, and knows the machines' own forms besides.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
import orjson
import typer

from event_center.app.settings import load_settings
from event_center.cli.event_lines import Line, line_record, read_lines
from event_center.cli.options import duration, json_value
from event_center.errors import (
    ConfigurationError,
    EventCenterError,
    ExchangeError,
    FormatError,
    Undecodable,
)
from event_center.machine import load
from event_center.machine.exchange_import import yaml_from_xstate
from event_center.machine.exchange_xstate import xstate_of
from event_center.model import Event, Failure, Owed, Record, Refusal, Snapshot, Status, Timer
from event_center.wire import command, history, letter, migration, snapshot, waiting
from event_center.wire.command import Command, Verb
from event_center.wire.entries import Counted, ShardEntry
from event_center.wire.envelope import Envelope, Rules
from event_center.wire.migration import Note, Stage
from event_center.wire.waiting import WaitingEntry

ROOT = Path(__file__).resolve().parents[2]
ODD: list[Any] = [
    None, True, 0, -1, 2, 2**31, 2**63, 2**64 - 1, -(2**63), 1e308, 0.5, "", "a", "@a", "é" * 90, "\ufffd",
    "\x00", "2026-11-23T05:00:00Z", "9999-12-31T23:59:59.999999+14:00", "0001-01-01T00:00:00-14:00",
    "9" * 5_000, [], [1], {}, {"a": 1}, [[]], "active", "final", "1\t2",
]  # fmt: skip
BYTES = [
    b"",
    b"\n",
    b"\t",
    b"\x00",
    b"\xff\xfe",
    b"{",
    b"}",
    b"[" * 300,
    b'"',
    b"1e999",
    b"null",
    b"\\ud800",
]


def damaged(random: Random, value: bytes) -> bytes:
    """Good bytes, made worse."""
    kind = random.randrange(6)
    if kind == 0:
        return random.randbytes(random.randrange(40))
    if kind < 4:
        return _reshaped(random, value)
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(len(value) + 1)
        end = place + random.choice([0, 0, 1, 2, 20])
        value = value[:place] + random.choice([*BYTES, random.randbytes(2)]) + value[end:]
    return value


def _reshaped(random: Random, value: bytes) -> bytes:
    """The JSON in it, with another value somewhere."""
    lines = value.split(b"\n", 1)
    number = random.randrange(len(lines))
    try:
        body = orjson.loads(lines[number])
    except orjson.JSONDecodeError:
        return value[: random.randrange(len(value) + 1)]
    lines[number] = orjson.dumps(reshaped(random, body))
    return b"\n".join(lines)


def reshaped(random: Random, body: Any) -> Any:
    """A value with another one somewhere inside."""
    inside = list(body) if isinstance(body, dict) else range(len(body)) if _is_list(body) else []
    if not inside or random.random() < 0.2:
        return random.choice(ODD)
    chosen: Any = random.choice(list(inside))
    changed = dict(body) if isinstance(body, dict) else dict(enumerate(body))
    if random.random() < 0.2:
        del changed[chosen]
    else:
        changed[chosen] = reshaped(random, changed[chosen])
    return changed if isinstance(body, dict) else list(changed.values())


def _is_list(body: object) -> bool:
    return isinstance(body, list | tuple)


# -- good ones -------------------------------------------------------------------------------------


@cache
def _snapshot() -> bytes:
    full = Snapshot("w", "order", 1, "running")
    full.seq, full.entered_at_ms, full.data = 7, 5, {"a": {"b": [1]}}
    full.seen, full.ids = {"orders": 4}, (1, 2**63)
    full.timers = (Timer("@after/1s", 7, 9), Timer("@hold", 7, 10))
    full.owed, full.jobs = (Owed("work", 2), Owed("more", 1, 5)), (Owed("job", 7),)
    full.cause = Event("go", {"a": 1}, "id", 5, (("h", b"1"),), "orders", 1, 2)
    full.earlier = {6: full.cause}
    full.refusals = (Refusal(5, "go", "unknown_event", "no"),)
    full.failure = Failure("work", "OSError", "gone", 5, 2)
    full.waiting, full.waiting_next, full.letters_next, full.letters_last = 2, 3, 1, 2
    full.deciding_attempt, full.deciding_due_ms, full.deciding_event = 1, 5, "id"
    full.status, full.parked, full.loop, full.memory = Status.PARKED, "failed", 3, {"h": "x"}
    value, _ = snapshot.encode(full)
    return value


@cache
def _shard() -> bytes:
    entry = ShardEntry()
    entry.counts = {Counted("order", 1, "running", Status.ACTIVE): 3}
    entry.offsets, entry.topic_ids, entry.machines = (
        {"orders": 5},
        {"orders": "x"},
        {"order@1": "h"},
    )
    return entry.encode()


HEADERS = ((f"{letter.PREFIX}origin", b"orders/0/5"), (f"{letter.PREFIX}reason", b"failed"))
NUMBERED = (*HEADERS, (f"{letter.PREFIX}number", b"3"), (f"{letter.PREFIX}attempts", b"2"))
ENTRY = WaitingEntry(Record(5, 6, b"w", b'{"event":"go"}', (("a", b"1"),)), "orders", 0, True, 7)
COMMAND = Command("id", Verb.SET_STATE, "w", "me", "why", {"state": "done", "data": {"a": 1}})
NOTE = Note(Stage.MOVING, "the log", "id", (1, 2), ("backlog",), {"orders/0": 5})
HISTORY = orjson.dumps(
    {
        "type": "event_center.applied",
        "subject": "w",
        "time": "2026",
        "data": {"seq": 1, "event": "go"},
    }
)
PLAIN = orjson.dumps({"workflow_id": "w", "event": "go", "id": 5, "payload": {"a": [1, {"b": 2}]}})
CLOUD = orjson.dumps(
    {
        "specversion": "1.0",
        "type": "go",
        "source": "/s",
        "id": "1",
        "subject": "w",
        "time": "2026-11-23T05:00:00Z",
        "data": {"a": 1},
    }
)


@cache
def _envelopes() -> list[Envelope]:
    by_rules = Rules(
        "=body.kind", "=body.payload.a[0]", "=body.event + '!'", "=body.id", "=headers.h"
    )
    by_time = Rules(
        "order", "=key", "go", None, "=body.data if 'data' in body else body", "=body.time"
    )
    return [
        Envelope("orders", Rules("order")),
        Envelope("orders", by_rules),
        Envelope("orders", by_time),
    ]


# -- the forms -------------------------------------------------------------------------------------


def _read(error: type[EventCenterError], read: Callable[[], object]) -> str:
    """What became of it."""
    try:
        read()
    except error:
        return "refused"
    return "read"


def try_bytes(name: str, random: Random) -> str:
    """Bytes of a form whose one error is FormatError."""
    value = damaged(random, GOOD[name]())
    return _read(FormatError, lambda: READ[name](value))


def read_snapshot(value: bytes) -> None:
    """As a takeover does, and as one that only counts."""
    snapshot.peek(value)
    snapshot.decode("w", value)
    migration.unplaced("w", value)


def try_envelope(random: Random) -> str:
    """A record of anybody's, read in each way that a topic can have."""
    value = None if random.random() < 0.02 else damaged(random, random.choice([PLAIN, CLOUD]))
    headers = tuple(
        (name, random.choice([b"1.0", b"w", b"\xff", b"2026-13-45", b""]))
        for name in random.sample(
            ["ce_specversion", "ce_type", "ce_id", "ce_subject", "ce_time", "h", "content-type"],
            random.choice([0, 0, 3, 6]),
        )
    )
    key = random.choice([None, b"w", b"\xff", b""])
    record = Record(5, random.choice([0, 5, 2**62]), key, value, headers)
    envelope = random.choice(_envelopes())

    def whole() -> None:
        workflow_id, _, event = envelope.read(record, 0)
        orjson.dumps([workflow_id, event.name, event.payload, event.id, event.time_ms])

    return _read(Undecodable, whole)


def try_letter(random: Random) -> str:
    """A record of the dead-letter topic."""
    headers = [list(one) for one in NUMBERED]
    for _ in range(random.randrange(3)):
        one = random.choice(headers)
        one[random.randrange(2)] = random.choice([b"", b"-1", b"x", b"9" * 5_000, b"\xff"])
    read = tuple(
        (n if isinstance(n, str) else "x", v if isinstance(v, bytes) else b"") for n, v in headers
    )
    return _read(FormatError, lambda: letter.read("l", 0, Record(5, 6, b"w", b"{}", read)))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="event-center-fuzz-"))


@cache
def _settings_texts() -> list[str]:
    page = (ROOT / "docs/configuration.md").read_text("utf-8")
    blocks = [block.split("```")[0] for block in page.split("```toml\n")[1:]]
    return [(ROOT / "config/event-center.toml").read_text("utf-8"), *blocks]


WORDS = [
    "=",
    "[",
    "]",
    "[[",
    "{",
    "}",
    '"',
    "'''",
    "\\",
    "\n",
    ".",
    "-1",
    "true",
    "1e999",
    "nan",
    "30s",
    '"5 MB"',
]
WORDS += [
    "2026-11-23T05:00:00Z",
    '"\\u0000"',
    '""',
    "[]",
    "log",
    "kind",
    "kafka",
    "topics",
    "\x00",
    "é",
    "9" * 30,
]


def try_settings(random: Random) -> str:
    """A settings file."""
    text = random.choice(_settings_texts())
    for _ in range(random.randrange(1, 5)):
        lines = text.split("\n")
        number = random.randrange(len(lines))
        name, is_pair, _ = lines[number].lstrip("# ").partition(" = ")
        if is_pair and random.random() < 0.6:
            lines[number] = f"{name} = {random.choice(WORDS)}"
        else:
            place = random.randrange(len(lines[number]) + 1)
            lines[number] = lines[number][:place] + random.choice(WORDS) + lines[number][place:]
        text = "\n".join(lines)
    file = _folder() / f"{os.getpid()}.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return _read(ConfigurationError, lambda: load_settings(file))


def try_typed(random: Random) -> str:
    """What somebody types: a payload, or a duration."""
    text = damaged(random, PLAIN).decode("utf-8", "surrogateescape")
    numbers = ["1", "-1", "1e9", "9" * 400, "5 ", "0x5", "٣", "1_0", ".5", "inf", "nan"]
    read: Callable[[], object] = lambda: json_value(text)  # noqa: E731 - one of two
    if random.random() < 0.3:
        text = random.choice(numbers) + random.choice(["ms", "s", "m", "h", "d", "", "y", "ss"])
        read = lambda: duration(text)  # noqa: E731 - the other
    try:
        read()
    except typer.BadParameter:
        return "refused"
    return "read"


def try_line(random: Random) -> str:
    """A line of a file of events."""
    line = Line(1, damaged(random, random.choice([PLAIN, CLOUD])))
    envelope = random.choice([None, *_envelopes()])
    event_id = random.choice([None, "a"])
    return _read(
        Undecodable, lambda: line_record("orders", line, envelope=envelope, event_id=event_id)
    )


def try_file(random: Random) -> str:
    """A compressed file of events, damaged anywhere."""
    file = _folder() / f"{os.getpid()}.gz"
    content = gzip.compress(b"\n".join([PLAIN] * random.randrange(50)), mtime=0)
    place = random.randrange(len(content))
    file.write_bytes(content[:place] + random.randbytes(random.randrange(3)) + content[place + 1 :])

    async def lines() -> None:
        async for _ in read_lines(file):
            pass

    return _read(ConfigurationError, lambda: anyio.run(lines))


@cache
def _charts() -> list[Any]:
    files = sorted((ROOT / "machines").glob("*.yaml"))
    return [orjson.loads(orjson.dumps(xstate_of(load(file).definition)[0])) for file in files]


def try_xstate(random: Random) -> str:
    """A machine of another tool."""
    chart = random.choice(_charts())
    for _ in range(random.randrange(1, 4)):
        changed = reshaped(random, chart)
        chart = (
            changed
            if isinstance(changed, dict) and isinstance(changed.get("states"), dict)
            else chart
        )
    return _read(ExchangeError, lambda: yaml_from_xstate(chart))


GOOD: dict[str, Callable[[], bytes]] = {
    "snapshots": _snapshot,
    "waiting": lambda: waiting.encode(ENTRY),
    "shards": _shard,
    "commands": COMMAND.encode,
    "migrations": NOTE.encode,
    "history": lambda: HISTORY,
}
"""What is damaged, of each form whose one error is FormatError."""
READ: dict[str, Callable[[bytes], object]] = {
    "snapshots": read_snapshot,
    "waiting": waiting.decode,
    "shards": ShardEntry.decode,
    "commands": command.decode,
    "migrations": migration.decode,
    "history": history.read,
}
"""How each form is read whose one error is FormatError."""
TRIES: dict[str, Callable[[Random], str]] = {
    "envelopes": try_envelope,
    **{name: partial(try_bytes, name) for name in GOOD},
    "letters": try_letter,
    "settings": try_settings,
    "typed": try_typed,
    "lines": try_line,
    "files": try_file,
    "xstate": try_xstate,
}
