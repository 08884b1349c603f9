"""
What is sent about a dead letter: its event on its way again, or the record that it was discarded.

A letter of its workflow's sequence gets a command, decided in the order of the sequence. Any other
goes to its topic again, together with a closing that says so: both or neither. The CLI's
`dead-letters` calls this; docs/cli.md says when to do which.
"""

from __future__ import annotations

from typing import NamedTuple

from event_center.client.app import App
from event_center.client.commands import command_record, make_command, requester
from event_center.errors import FormatError, TooLarge, Undecodable
from event_center.model import Event, Json, Outgoing, Reason, Record, size_of
from event_center.wire.command import Command, Verb
from event_center.wire.envelope import inbox_record
from event_center.wire.letter import Letter, close

REPLAYED = "replayed"
DISCARDED = "discarded"


class Edited(NamedTuple):
    """What takes the place of a letter's payload, or of all that it carried."""

    payload: Json = None
    value: bytes | None = None
    """The whole value, of an event that can not be read."""


def event_of(app: App, letter: Letter) -> tuple[str, str | None, Event]:
    """
    The workflow_id, machine and event in a letter, by the rules that its topic has today.

    Raises:
        Undecodable: the settings have no such topic any more, or its rules do not read the event.
    """
    topic, partition, offset = origin_of(letter)
    envelope = app.envelopes.get(topic)
    if envelope is None:
        raise Undecodable(
            Reason.UNDECODABLE,
            f"the letter at {letter.position} came from topic {topic!r}, which the settings do not "
            f"have; add [topics.{topic}], then replay it",
        )
    record = Record(offset, letter.at_ms, letter.key, letter.value, letter.headers)
    try:
        return envelope.read(record, partition)
    except Undecodable as error:
        raise Undecodable(
            error.reason, f"the letter at {letter.position} can not be read: {error}"
        ) from error


def origin_of(letter: Letter) -> tuple[str, int, int]:
    """
    Where the event lay: topic, partition and offset.

    Raises:
        FormatError: the letter does not say so.
    """
    topic, _, rest = letter.origin.rpartition("/")
    topic, _, partition = topic.rpartition("/")
    if not topic or not partition.isdigit() or not rest.isdigit():
        raise FormatError(
            f"the letter at {letter.position} has the origin {letter.origin!r}, which is no place "
            "in a log; it can not be replayed"
        )
    return topic, int(partition), int(rest)


def replay(
    app: App,
    letter: Letter,
    edited: Edited | None = None,
    reason: str = "",
    *,
    max_bytes: int,
) -> Command | list[Outgoing]:
    """
    What to send so that the letter's event is decided again.

    A letter of a sequence gets a command. Any other is published to its topic again with its own
    bytes. But an event whose id its workflow has recorded would be a duplicate there: it goes by
    the inbox, with an id of the letter's own; so does one with another payload.

    JSON that is written anew can be larger than it was, and a daemon refuses an event of more than
    `max_bytes`: what is larger is refused here, before a letter counts as replayed.

    Raises:
        TooLarge: the record that would be written is; the message says what can be done.
        Undecodable: the event of the letter can not be read.
        FormatError: the letter does not say where its event lay.
    """
    topic, partition, _ = origin_of(letter)
    if letter.number is not None:
        _, _, event = event_of(app, letter)
        payload = event.payload if edited is None else edited.payload
        args = {"number": letter.number, "event": event.name, "payload": payload}
        workflow_id = letter.workflow_id or ""
        why = reason or f"letter {letter.position}"
        command = make_command(Verb.REPLAY, workflow_id, args=args, reason=why)
        _check_size(command_record(app, command), letter, max_bytes)
        return command
    closing = close(letter, REPLAYED, requester(), reason)
    whole = edited is not None and edited.value is not None
    readable = letter.workflow_id is not None and letter.event is not None
    if not whole and (readable or edited is not None):
        workflow_id, machine, event = event_of(app, letter)
        if edited is not None or event.id is not None:
            payload = event.payload if edited is None else edited.payload
            own = f"replay/{letter.origin}"
            again = Event(event.name, payload, own, event.time_ms, letter.headers)
            home = app.home(workflow_id)
            record = inbox_record(app.inbox, home, workflow_id, machine, again)
            _check_size(record, letter, max_bytes)
            return [record, closing]
    # Without a key the partitioner would choose anyhow: what has none stays where it was, or with its
    # shard, if the letter came from a log with more partitions.
    place = partition % app.shards if letter.key is None else None
    value = edited.value if whole and edited else letter.value
    record = Outgoing(topic, letter.key, value, letter.headers, place)
    _check_size(record, letter, max_bytes)  # it may have come in on a log that takes more
    return [record, closing]


def _check_size(record: Outgoing, letter: Letter, max_bytes: int) -> None:
    """
    Refuse what the daemon would.

    Raises:
        TooLarge: the record has more bytes than an event of this log.
    """
    size = size_of(record.key, record.value, record.headers)
    if size > max_bytes:
        raise TooLarge(
            f"letter {letter.position} would be replayed by a record of {size} bytes in {record.topic}, "
            f"and on this log one has at most {max_bytes}: replay it with a smaller payload (--payload "
            "or --edit), or discard it"
        )


def discard(letter: Letter, reason: str) -> Command | list[Outgoing]:
    """The command that drops a letter of a sequence; of any other the record that nobody wants it."""
    if letter.number is None:
        return [close(letter, DISCARDED, requester(), reason)]
    args = {"number": letter.number}
    return make_command(Verb.DISCARD, letter.workflow_id or "", args=args, reason=reason)
