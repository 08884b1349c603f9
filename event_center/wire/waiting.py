"""
Waiting entries as bytes: one line about the event, then the event's own bytes as its publisher wrote them.

An entry is written once, when a cut finds its event not yet decided, and removed once. It keeps the
whole record, so that the event can be decided, or become a letter, as if it had just been read.
The ledger writes entries, a takeover (`restoring`) and `show` read them back.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from event_center.errors import FormatError
from event_center.model import Record
from event_center.wire import shapes
from event_center.wire.snapshot import NEXT

WAITING_FORMAT = 1


class WaitingEntry(NamedTuple):
    """One event that waits, with where it was read."""

    record: Record
    topic: str
    partition: int
    deferred: bool
    """The machine set it aside in a state that does not accept it."""
    due_ms: int = 0
    """Until when it is held for a workflow that does not exist yet; 0: it is not."""


def encode(entry: WaitingEntry) -> bytes:
    """The value of a waiting entry."""
    record = entry.record
    headers: list[list[str]] = []
    if record.headers:
        headers = [[name, value.decode("latin-1")] for name, value in record.headers]
    about = {
        "format": WAITING_FORMAT,
        "topic": entry.topic,
        "partition": entry.partition,
        "offset": record.offset,
        "at": record.timestamp_ms,
        "key": None if record.key is None else record.key.decode("latin-1"),
        "headers": headers,
        "null": record.value is None,
        "deferred": entry.deferred,
    }
    if entry.due_ms:
        about["due"] = entry.due_ms
    return orjson.dumps(about) + b"\n" + (record.value or b"")


def decode(value: bytes) -> WaitingEntry:
    """
    Read a waiting entry back.

    Raises:
        FormatError: it was written by a newer release, or it is damaged.
    """
    line, _, text = value.partition(b"\n")
    try:
        about = orjson.loads(line)
        if about["format"] != WAITING_FORMAT:
            msg = (
                f"a waiting entry has format {about['format']}, this release reads "
                f"{WAITING_FORMAT}; {NEXT}"
            )
            raise FormatError(msg)
        key = about["key"]
        offset, at_ms = shapes.check((about["offset"], about["at"]), (int, int))
        headers = about["headers"]
        record = Record(
            offset=offset,
            timestamp_ms=at_ms,
            key=None if key is None else key.encode("latin-1"),
            value=None if about["null"] else text,
            headers=tuple((shapes.text(name), said.encode("latin-1")) for name, said in headers),
        )
        place = about["topic"], about["partition"], about["deferred"], about.get("due", 0)
        return WaitingEntry(record, *shapes.check(place, (str, int, bool, int)))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"a waiting entry can not be read ({error!r}): {value[:80]!r}; {NEXT}"
        raise FormatError(msg) from error


def check_count(workflow_id: str, found: int, said: int | None) -> None:
    """
    Make sure that a workflow has the waiting entries of which its snapshot speaks (None: it has none).

    Raises:
        FormatError: it has others: what waits for it is not known, so nothing may overtake it.
    """
    if found != (said or 0):
        speaks = "it has no snapshot" if said is None else f"its snapshot says {said}"
        raise FormatError(
            f"workflow {workflow_id!r} has {found} waiting entries, {speaks}: the log is damaged; {NEXT}"
        )
