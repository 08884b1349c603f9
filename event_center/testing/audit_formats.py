"""
The audit's own reading of docs/formats.md: snapshots, waiting entries, shard entries, history, letters.

Written apart from the wire room on purpose: a mistake there must not be believed here. `audit_shard`
reads cuts through this; bytes that do not fit raise FormatError with the place where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, wraps
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

S = TypeVar("S")
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


def is_snapshot(key: bytes) -> bool:
    """Whether this key holds the snapshot of a workflow."""
    return key.startswith(b"s:")


def workflow_of(key: bytes) -> str:
    """The workflow whose snapshot this key holds."""
    return key[2:].decode()


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


def _documented(what: str) -> Callable[[Callable[[S], T]], Callable[..., T]]:
    """Called with where the bytes lie as well, which is only said of those that do not fit."""

    def of(read: Callable[[S], T]) -> Callable[..., T]:
        @wraps(read)
        def reading(source: S, where: object, workflow_id: str | None = None) -> T:
            try:
                return read(source)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                place = f"{where}" if workflow_id is None else f"{where}, workflow {workflow_id!r}"
                raise FormatError(
                    f"{place}: {what} is not as docs/formats.md says ({error!r}); look at its bytes"
                ) from error

        return reading

    return of


@_documented("a snapshot")
def read_snapshot(value: bytes) -> Shot:
    """
    A snapshot.

    Raises:
        FormatError: it is none.
    """
    line, _, text = value.partition(b"\n")
    _, machine, version, state, status, _ = line.decode().split("\t")
    body = orjson.loads(text)
    get = body.get
    callback, kind, message, at_ms, *_ = get("failure", ("", "", "", 0))
    return Shot(
        machine=machine,
        version=int(version),
        state=state,
        status=status,
        seq=body["seq"],
        data=body["data"],
        owed=tuple([(owed[0], owed[1]) for owed in get("owed", ())]),
        jobs=tuple([(job[0], job[1]) for job in get("jobs", ())]),
        timers=tuple([Timer(*timer) for timer in get("timers", ())]),
        waiting=get("waiting", [0])[0],
        result=get("result"),
        letters=tuple(get("letters", (0, 0))),
        failed=f"{callback} failed with {kind}: {message}" if callback else "",
        tried=("".join(get("deciding", ())[2:3]), at_ms),
    )


@_documented("a waiting entry")
def read_waiting(value: bytes) -> WaitingEntry:
    """
    A waiting entry.

    Raises:
        FormatError: it is none.
    """
    about = orjson.loads(value.partition(b"\n")[0])
    position = Position(about["topic"], about["partition"], about["offset"])
    return WaitingEntry(position, about["deferred"])


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


@_documented("a shard entry")
def read_shard(value: bytes) -> ShardState:
    """
    A shard entry.

    Raises:
        FormatError: it is none.
    """
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


@lru_cache(1)
def _at_ms(time: str) -> int:
    """A moment as history writes it; records that follow each other are often of the same one."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)


@_documented("a history record")
def read_history(record: Record) -> Told:
    """
    A history record.

    Raises:
        FormatError: it is none.
    """
    body = orjson.loads(record.value or b"")
    kind = body["type"].removeprefix(TYPE)
    data, position = body["data"], None
    if kind != "created" and "offset" in data:
        position = Position(data["topic"], data["partition"], data["offset"])
    origin = str(data.get("origin", "")) if position is None else str(position)
    return Told(kind, body["subject"], _at_ms(body["time"]), data, position, origin)


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


@_documented("a dead letter")
def read_letter(record: Record) -> Lettered:
    """
    A dead letter.

    Raises:
        FormatError: it is none.
    """
    why = {name.removeprefix(LETTER): value.decode() for name, value in record.headers}
    number = int(why["number"]) if "number" in why else None
    return Lettered(why["origin"], why["reason"], why.get("workflow_id", ""), number)
