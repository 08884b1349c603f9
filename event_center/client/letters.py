"""
Dead letters from the operator's side: look at them, and send their events on their way again.

A letter with a number is one of its workflow's sequence, and a command replays or discards it, in
order. Any other is published again. The CLI's `dead-letters` calls this; docs/cli.md says
when to do which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from heapq import heappop, heappush

from event_center.client.app import App
from event_center.client.commands import make_command
from event_center.client.workflows import snapshot_of
from event_center.errors import FormatError, Undecodable
from event_center.log.port import Log
from event_center.model import Event, Outgoing, Reason, Record
from event_center.wire import letter as wire
from event_center.wire.command import Command, Verb
from event_center.wire.envelope import inbox_record
from event_center.wire.letter import Letter


async def letters(log: Log, app: App) -> AsyncIterator[Letter]:
    """Every dead letter of the app, partition by partition, oldest first."""
    infos = await log.topics()
    for partition in range(infos[app.dead_letters].partitions):
        async for batch in log.read(app.dead_letters, partition):
            for record in batch:
                yield wire.read(app.dead_letters, partition, record)


async def letters_of(log: Log, app: App, workflow_id: str) -> list[Letter]:
    """The letters of one workflow, oldest first: all lie in the partition of its home."""
    home = app.home(workflow_id)
    found: list[Letter] = []
    async for batch in log.read(app.dead_letters, home):
        found += [wire.read(app.dead_letters, home, record) for record in batch]
    return [letter for letter in found if letter.workflow_id == workflow_id]


async def newest_letters(
    log: Log, app: App, limit: int, workflow_id: str | None = None
) -> tuple[list[Letter], int]:
    """
    The newest letters, oldest first; and how many there are. No more than these are ever held.

    Args:
        log: where the app is.
        app: whose letters.
        limit: so many at most.
        workflow_id: only letters of this workflow.
    """
    newest: list[tuple[int, int, Letter]] = []
    count = 0
    async for letter in letters(log, app):
        if workflow_id in {None, letter.workflow_id}:
            # The count keeps those of one moment in their order, and letters are never compared.
            heappush(newest, (letter.at_ms, count, letter))
            count += 1
            if len(newest) > limit:
                heappop(newest)
    return [letter for *_, letter in sorted(newest)], count


async def find_letter(log: Log, app: App, place: tuple[int, int]) -> Letter | None:
    """The letter at this partition and offset, or None."""
    partition, offset = place
    if partition >= (await log.topics())[app.dead_letters].partitions:
        return None
    found: Letter | None = None
    async for batch in log.read(app.dead_letters, partition, offset, offset + 1):
        for record in batch:
            found = wire.read(app.dead_letters, partition, record)
    return found


async def open_numbers(log: Log, app: App, workflow_id: str) -> range:
    """
    The numbers of a workflow's open letters: the first is to be dealt with next.

    Raises:
        FormatError: its snapshot can not be read.
    """
    snapshot = await snapshot_of(log, app, workflow_id)
    if snapshot is None:
        return range(0)
    return range(snapshot.letters_next, snapshot.letters_last)


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


def replay(app: App, letter: Letter) -> Command | Outgoing:
    """
    What to send so that the letter's event is decided again.

    A letter of a sequence gets a command. Any other is published to its topic again with its own
    bytes. But an event whose id its workflow has recorded would be a duplicate there: it goes by
    the inbox, without the id.

    Raises:
        Undecodable: the event of the letter can not be read.
        FormatError: the letter does not say where its event lay.
    """
    topic, partition, _ = origin_of(letter)
    if letter.number is not None:
        _, _, event = event_of(app, letter)
        args = {"number": letter.number, "event": event.name, "payload": event.payload}
        workflow_id = letter.workflow_id or ""
        return make_command(Verb.REPLAY, workflow_id, args=args, reason=f"letter {letter.position}")
    if letter.event is not None and letter.workflow_id is not None:
        workflow_id, machine, event = event_of(app, letter)
        if event.id is not None:
            again = Event(event.name, event.payload, None, event.time_ms, letter.headers)
            return inbox_record(app.inbox, app.home(workflow_id), workflow_id, machine, again)
    # Without a key the partitioner would choose anyhow: what has none stays where it was, or with its
    # shard, if the letter came from a log with more partitions.
    place = partition % app.shards if letter.key is None else None
    return Outgoing(topic, letter.key, letter.value, letter.headers, place)


def discard(letter: Letter) -> Command | None:
    """The command that drops a letter of a sequence; None: it is in none, and in nobody's way."""
    if letter.number is None:
        return None
    args = {"number": letter.number}
    reason = f"letter {letter.position}"
    return make_command(Verb.DISCARD, letter.workflow_id or "", args=args, reason=reason)
