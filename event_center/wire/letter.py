"""
Dead letters: the original bytes and headers of an event that could not be dealt with, and why.

The reasons stand in headers named after Kafka Connect's, so that a letter's value can be published again
as it is. The engine writes letters; `dead-letters list|show|replay` reads them back. Behind a letter
that is in no sequence an operator's program appends a *closing*, once it was replayed or discarded: no
letter is ever removed.
"""

from __future__ import annotations

from typing import NamedTuple

from event_center.errors import FormatError
from event_center.model import MAX_NAME, Headers, Outgoing, Position, Record

PREFIX = "__event_center.errors."
CLOSING = "__event_center.closing."


class Letter(NamedTuple):
    """One dead letter as it lies in `<app>.dead-letters`."""

    position: Position
    """Where the letter lies."""
    origin: str
    """Where the event lay: `topic/partition/offset`."""
    at_ms: int
    reason: str
    workflow_id: str | None
    machine: str | None
    event: str | None
    number: int | None
    """Its place in the workflow's sequence of open letters; None if it is not in one."""
    error: str | None
    message: str | None
    traceback: str | None
    callback: str | None
    """Which callback or guard failed, if one did."""
    attempts: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    """The event's own headers, without those that say why it is here."""


def write(
    topic: str, partition: int, record: Record, origin: str, *, why: dict[str, str]
) -> Outgoing:
    """
    A letter for this record; `why` holds the parts of the reason by their headers without the prefix.

    However long these are: the log has room for what the record had room in, and a little more.
    """
    reasons = tuple(
        (PREFIX + name, text[:MAX_NAME].encode("utf-8", "backslashreplace"))
        for name, text in why.items()
    )
    own = tuple(header for header in record.headers if not header[0].startswith(PREFIX))
    headers = (*own, (PREFIX + "origin", origin.encode()), *reasons)
    return Outgoing(topic, record.key, record.value, headers, partition)


def read(topic: str, partition: int, record: Record) -> Letter:
    """
    A letter back from its record.

    Raises:
        FormatError: the record has not the headers of a letter.
    """
    why = {
        name[len(PREFIX) :]: value.decode("utf-8", "replace")
        for name, value in record.headers
        if name.startswith(PREFIX)
    }
    position = Position(topic, partition, record.offset)
    try:
        origin, reason = why["origin"], why["reason"]
        number = int(why["number"]) if "number" in why else None
        attempts = int(why.get("attempts", "0"))
    except (KeyError, ValueError) as error:
        msg = f"the record at {position} is not a dead letter of this center ({error!r})"
        raise FormatError(msg) from error
    return Letter(
        position=position,
        origin=origin,
        at_ms=record.timestamp_ms,
        reason=reason,
        workflow_id=why.get("workflow_id"),
        machine=why.get("machine"),
        event=why.get("event"),
        number=number,
        error=why.get("exception.class.name"),
        message=why.get("exception.message"),
        traceback=why.get("exception.stacktrace"),
        callback=why.get("callback"),
        attempts=attempts,
        key=record.key,
        value=record.value,
        headers=tuple(h for h in record.headers if not h[0].startswith(PREFIX)),
    )


class Closing(NamedTuple):
    """What an operator did about a letter that is in no sequence."""

    partition: int
    at_ms: int
    origin: str
    """The letter's: it closes the newest one before it in its partition."""
    how: str
    """`replayed` or `discarded`."""
    by: str
    reason: str


def close(letter: Letter, how: str, by: str, reason: str) -> Outgoing:
    """The record that says what was done about a letter, by whom and why."""
    told = {"origin": letter.origin, "how": how, "by": by, "reason": reason}
    headers = tuple(
        (CLOSING + name, text.encode("utf-8", "replace")) for name, text in told.items()
    )
    topic, partition, _ = letter.position
    return Outgoing(topic, letter.key, None, headers, partition)


def closing_of(partition: int, record: Record) -> Closing | None:
    """The closing that a record of the dead letters is; None: it is a letter."""
    told = {
        name.removeprefix(CLOSING): value.decode("utf-8", "replace")
        for name, value in record.headers
        if name.startswith(CLOSING)
    }
    if "origin" not in told:
        return None
    how, by, reason = (told.get(name, "") for name in ("how", "by", "reason"))
    return Closing(partition, record.timestamp_ms, told["origin"], how, by, reason)
