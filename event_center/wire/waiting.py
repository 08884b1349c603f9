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
PARTS = (int, int, str, int, bool, int)

_dumps = orjson.dumps
_forms: dict[tuple[str, int, bool], bytes] = {}
"""By topic, partition and whether they are deferred: two at most for each partition that is read."""


class WaitingEntry(NamedTuple):
    """One event that waits, with where it was read."""

    record: Record
    topic: str
    partition: int
    deferred: bool
    """The machine set it aside in a state that does not accept it."""
    due_ms: int = 0
    """Until when it is held for a workflow that does not exist yet; 0: it is not."""


WaitingParts = tuple[Record, str, int, bool, int]
"""The parts of an entry without names, which cost what the rest of its bytes does."""


def encode(entry: WaitingParts) -> bytes:
    """The value of a waiting entry."""
    record, topic, partition, deferred, due_ms = entry
    offset, at_ms, key, value, headers = record
    if key is not None and value is not None and not headers and not due_ms:
        # Where callbacks wait most events do too: what such entries have in common is written once.
        form = _forms.get((topic, partition, deferred)) or _keep(topic, partition, deferred)
        return form % (offset, at_ms, _dumps(key.decode("latin-1")), value)
    about = {
        "format": WAITING_FORMAT,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "at": at_ms,
        "key": None if key is None else key.decode("latin-1"),
        "headers": [[name, said.decode("latin-1")] for name, said in headers],
        "null": value is None,
        "deferred": deferred,
    }
    if due_ms:
        about["due"] = due_ms
    return _dumps(about) + b"\n" + (value or b"")


def _keep(topic: str, partition: int, deferred: bool) -> bytes:
    """Keep what entries of one partition have in common, with places for offset, time, key and value."""
    named = _dumps(topic).replace(b"%", b"%%")
    said = b"true" if deferred else b"false"
    _forms[topic, partition, deferred] = made = (
        b'{"format":%d,"topic":%b,"partition":%d,"offset":%%d,"at":%%d,"key":%%b,"headers":[],'
        b'"null":false,"deferred":%b}\n%%b' % (WAITING_FORMAT, named, partition, said)
    )
    return made


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
        offset, at_ms, topic, partition, deferred, due_ms = shapes.check(
            (
                about["offset"],
                about["at"],
                about["topic"],
                about["partition"],
                about["deferred"],
                about.get("due", 0),
            ),
            PARTS,
        )
        headers = about["headers"]
        record = Record(
            offset=offset,
            timestamp_ms=at_ms,
            key=None if key is None else key.encode("latin-1"),
            value=None if about["null"] else text,
            headers=tuple([(shapes.text(name), said.encode("latin-1")) for name, said in headers]),
        )
        return WaitingEntry(record, topic, partition, deferred, due_ms)
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
