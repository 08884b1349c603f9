"""
The audit's own reading of docs/formats.md: snapshots, waiting entries, shard entries, history, letters.

Written apart from the wire room on purpose: a mistake there must not be believed here. `audit_shard`
reads cuts through this; bytes that do not fit raise FormatError with the place where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import orjson

from event_center.errors import FormatError
from event_center.model import Json, Position, Record, Timer

SHARD_KEY = b"shard"
TYPE = "event_center."
LETTER = "__event_center.errors."
CLOSING = "__event_center.closing."
FORWARDED_FROM = "__event_center.forwarded.from"

T = TypeVar("T")


class Shot(NamedTuple):
    """One snapshot, as far as the audit looks at it."""

    machine: str
    version: int
    state: str
    status: str
    seq: int
    data: dict[str, Json]
    owed: tuple[tuple[str, int], ...]
    """Names and seqs of the owed runs."""
    jobs: tuple[tuple[str, int], ...]
    """Names and seqs of the jobs."""
    timers: tuple[Timer, ...]
    waiting: int
    result: str | None
    letters: tuple[int, int]
    failed: str
    """The last error of a callback, and which callback; empty: there is none."""
    tried: tuple[str, int] = "", 0
    """What no entry holds and could not be decided yet, and when that was tried; empty: there is none."""

    @property
    def stopped(self) -> bool:
        """Whether nothing of its own moves the workflow."""
        return self.status in {"parked", "paused", "expected"}


class WaitingEntry(NamedTuple):
    """One waiting entry."""

    position: Position
    deferred: bool


class Told(NamedTuple):
    """One history record."""

    kind: str
    workflow_id: str
    at_ms: int
    data: dict[str, Any]
    position: Position | None
    """The record whose outcome this tells; None if it tells of something else."""
    origin: str
    """What this tells of: a position, or `timer/...`, `run/...`, `letter/...`."""

    def get(self, name: str) -> Any:
        """One field of its data; None where it has none."""
        return self.data.get(name)


def workflow_of(key: bytes) -> str | None:
    """The workflow whose snapshot this key holds; None for another key."""
    return key[2:].decode() if key.startswith(b"s:") else None


def position_of(text: str) -> Position:
    """A position as history writes it: `topic/partition/offset`."""
    topic, partition, offset = text.rsplit("/", 2)
    return Position(topic, int(partition), int(offset))


def waiting_of(key: bytes) -> tuple[str, int] | None:
    """Workflow and number of the waiting entry under this key; None for another key."""
    if not key.startswith(b"w:"):
        return None
    workflow_id, _, number = key[2:].rpartition(b"\x00")
    return workflow_id.decode(), int(number)


def _reading(what: str, where: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise FormatError(
            f"{where}: {what} is not as docs/formats.md says ({error!r}); look at its bytes"
        ) from error


def read_snapshot(value: bytes, where: str) -> Shot:
    """
    A snapshot.

    Raises:
        FormatError: it is none.
    """

    def read() -> Shot:
        line, _, text = value.partition(b"\n")
        _, machine, version, state, status, _ = line.decode().split("\t")
        body = orjson.loads(text)
        callback, kind, message, at_ms, *_ = body.get("failure", ("", "", "", 0))
        return Shot(
            machine=machine,
            version=int(version),
            state=state,
            status=status,
            seq=body["seq"],
            data=body["data"],
            owed=tuple((owed[0], owed[1]) for owed in body.get("owed", ())),
            jobs=tuple((job[0], job[1]) for job in body.get("jobs", ())),
            timers=tuple(Timer(*timer) for timer in body.get("timers", ())),
            waiting=body.get("waiting", [0])[0],
            result=body.get("result"),
            letters=tuple(body.get("letters", (0, 0))),
            failed=f"{callback} failed with {kind}: {message}" if callback else "",
            tried=("".join(body.get("deciding", ())[2:3]), at_ms),
        )

    return _reading("a snapshot", where, read)


def read_waiting(value: bytes, where: str) -> WaitingEntry:
    """
    A waiting entry.

    Raises:
        FormatError: it is none.
    """

    def read() -> WaitingEntry:
        about = orjson.loads(value.partition(b"\n")[0])
        position = Position(about["topic"], about["partition"], about["offset"])
        return WaitingEntry(position, about["deferred"])

    return _reading("a waiting entry", where, read)


class ShardState(NamedTuple):
    """One shard entry."""

    cut: int
    offsets: Mapping[str, int]
    read: int
    outcomes: Mapping[str, int]
    waiting: Mapping[str, int]
    transitions: int
    timers: int
    counts: Mapping[tuple[str, int, str, str], int]
    lost: int = 0
    """Records that were gone before they were read."""
    renewed: Mapping[str, int] = MappingProxyType({})
    """How often the shard has gone on with a topic that was made anew."""
    jobs: int = 0
    """Jobs of all its workflows."""


EMPTY = ShardState(0, {}, 0, {}, {}, 0, 0, {})
"""A shard before its first cut."""


def read_shard(value: bytes, where: str) -> ShardState:
    """
    A shard entry.

    Raises:
        FormatError: it is none.
    """

    def read() -> ShardState:
        body = orjson.loads(value)
        return ShardState(
            cut=body["cut"],
            offsets=body["offsets"],
            read=body["read"],
            outcomes=body["outcomes"],
            waiting=body["waiting"],
            transitions=body["transitions"],
            timers=body["timers"],
            counts={(m, v, state, status): n for m, v, state, status, n in body["counts"]},
            lost=sum(body.get("lost", {}).values()),
            renewed=body.get("renewed", {}),
            jobs=body.get("jobs", 0),
        )

    return _reading("a shard entry", where, read)


@lru_cache(1)
def _at_ms(time: str) -> int:
    """A moment as history writes it; records that follow each other are often of the same one."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)


def read_history(record: Record, where: str) -> Told:
    """
    A history record.

    Raises:
        FormatError: it is none.
    """

    def read() -> Told:
        body = orjson.loads(record.value or b"")
        kind = body["type"].removeprefix(TYPE)
        data, position = body["data"], None
        if kind != "created" and "offset" in data:
            position = Position(data["topic"], data["partition"], data["offset"])
        origin = str(data.get("origin", "")) if position is None else str(position)
        return Told(kind, body["subject"], _at_ms(body["time"]), data, position, origin)

    return _reading("a history record", where, read)


class Lettered(NamedTuple):
    """What a dead letter says of itself."""

    origin: str
    reason: str
    workflow_id: str
    number: int | None
    """Its place in its workflow's sequence; None if it is in none."""


def is_closing(record: Record) -> bool:
    """Whether an operator's program has appended it behind a letter: no cut writes these."""
    return any(name.startswith(CLOSING) for name, _ in record.headers)


def read_letter(record: Record, where: str) -> Lettered:
    """
    A dead letter.

    Raises:
        FormatError: it is none.
    """

    def read() -> Lettered:
        why = {name.removeprefix(LETTER): value.decode() for name, value in record.headers}
        number = int(why["number"]) if "number" in why else None
        return Lettered(why["origin"], why["reason"], why.get("workflow_id", ""), number)

    return _reading("a dead letter", where, read)
