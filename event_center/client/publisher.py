"""
Publishing events: records in the plain JSON form that every topic without rules understands.

Promises: an event always has an id, so that sending it twice does no harm; what was returned is
durable. Calls that come while a write is under way share the next one, and an idle publisher writes
at once. `app.publishing` is the public face of this; the CLI uses it with records of its own.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable
from itertools import islice

import anyio
import orjson

from event_center.errors import InvariantError, LogError, Unknown
from event_center.log.port import Log
from event_center.model import (
    MAX_EVENT_ID,
    MAX_ID_BYTES,
    MAX_NAME,
    RESERVED,
    Json,
    Outgoing,
    Position,
    is_workflow_id,
    size_of,
)

BATCH = 500
"""
Records of one write: enough to share the cost of a commit, few enough to keep writers taking turns.
"""


def event_record(
    topic: str,
    *,
    workflow_id: str,
    event: str,
    payload: Json = None,
    event_id: str | None = None,
) -> Outgoing:
    """
    One event as a record; the log's partitioner places it by its workflow_id.

    Raises:
        ValueError: the workflow_id, the event or its id is nothing that a center takes in.
        TypeError: the payload can not be written as JSON.
    """
    check_workflow_id(workflow_id)
    if not isinstance(event, str) or not event:
        raise ValueError("the event has no name; give it the name that the machine accepts")
    check_event_name(event)
    check_event_id(event_id)
    body = {
        "workflow_id": workflow_id,
        "event": event,
        "id": event_id or uuid.uuid4().hex,
        "payload": payload,
    }
    return Outgoing(topic, workflow_id.encode(), orjson.dumps(body))


def check_event_name(event: str) -> None:
    """
    Refuse a name that only the center gives, or that it would make a dead letter of.

    Raises:
        ValueError: it begins with `@`, or is too long.
    """
    if event.startswith(RESERVED):
        raise ValueError(
            f"event {event[:80]!r}: names that begin with @ are the center's own; name an event that "
            "the machine accepts"
        )
    if len(event) > MAX_NAME:
        raise ValueError(
            f"event {event[:80]!r}... has {len(event)} characters, and a name has at most "
            f"{MAX_NAME}: put what is long into the payload"
        )


def check_event_id(event_id: str | None) -> None:
    """
    Refuse an id that the center would make a dead letter of.

    Raises:
        ValueError: it is too long.
    """
    text = "" if event_id is None else str(event_id)  # programs without types give numbers, too
    if len(text) > MAX_EVENT_ID:
        raise ValueError(
            f"the event's id {text[:80]!r}... has {len(text)} characters, and an id has at most "
            f"{MAX_EVENT_ID}: send a hash of it"
        )


def check_workflow_id(workflow_id: str) -> None:
    """
    Refuse what the center would make a dead letter of.

    Raises:
        ValueError: the id is empty, too long, or has control characters.
    """
    if not is_workflow_id(workflow_id):
        size = len(workflow_id.encode("utf-8", "replace"))
        raise ValueError(
            f"workflow_id {workflow_id[:80]!r} has {size} bytes; write 1 to {MAX_ID_BYTES}, without "
            "control characters"
        )


def check_size(record: Outgoing, max_bytes: int) -> None:
    """
    Refuse what a daemon would reject as too large: on Kafka it counts the key and the headers too.

    Raises:
        ValueError: the event has more than `max_bytes`.
    """
    size = size_of(record.key, record.value, record.headers)
    if size > max_bytes:
        raise ValueError(
            f"the event has {size} bytes with its key and headers, and on this log one has "
            f"at most {max_bytes}: keep what is large elsewhere, and send its name"
        )


class _Call:
    """The records of one call, until they are written."""

    __slots__ = ("error", "positions", "records", "taken")

    def __init__(self, records: list[Outgoing]) -> None:
        self.records = records
        self.taken = False
        self.positions: list[Position] | None = None
        self.error: LogError | None = None


class EventPublisher:
    """Publishes to one log; any number of asyncio tasks may use it at once."""

    def __init__(self, log: Log, max_bytes: int) -> None:
        self._log = log
        self._max_bytes = max_bytes
        self._calls: deque[_Call] = deque()
        """Bounded by the callers: each waits until what it published is durable."""
        self._writing = anyio.Lock()

    async def publish(
        self,
        topic: str,
        *,
        workflow_id: str,
        event: str,
        payload: Json = None,
        event_id: str | None = None,
    ) -> Position:
        """Publish one event, durably; raises as `event_record` and the log do."""
        record = event_record(
            topic,
            workflow_id=workflow_id,
            event=event,
            payload=payload,
            event_id=event_id,
        )
        return (await self.append([record]))[0]

    async def publish_many(self, records: Iterable[Outgoing]) -> list[Position]:
        """Publish records in their order, as many at once as a write takes."""
        positions: list[Position] = []
        rest = iter(records)
        while batch := list(islice(rest, BATCH)):
            positions += await self.append(batch)
        return positions

    async def append(self, records: list[Outgoing]) -> list[Position]:
        """
        Write the records all or nothing, together with those of calls that wait beside this one.

        A call that is cancelled before its turn writes nothing; one under way is finished.

        Raises:
            ValueError: one of them is too large; none was written.
            UnknownTopic, NotCommitted, Unknown: as `Log.publish`, for every call of the write.
        """
        for record in records:
            check_size(record, self._max_bytes)
        call = _Call(records)
        self._calls.append(call)
        try:
            async with self._writing:
                if not call.taken:
                    await self._write()
        finally:
            if not call.taken:
                self._calls.remove(call)
        if call.error is not None:
            raise call.error
        if call.positions is None:
            raise InvariantError(f"{len(records)} records were written, but nobody says where")
        return call.positions

    async def _write(self) -> None:
        """The longest waiting calls, up to a batch; the caller's own is the first of them."""
        calls: list[_Call] = []
        records: list[Outgoing] = []
        while self._calls and (not calls or len(records) + len(self._calls[0].records) <= BATCH):
            call = self._calls.popleft()
            call.taken = True
            calls.append(call)
            records += call.records
        # Others wait for this write: the one who makes it may not be cancelled half-way.
        with anyio.CancelScope(shield=True):
            try:
                positions = iter(await self._log.publish(records))
            except LogError as error:
                for call in calls:
                    call.error = error
                return
            except BaseException as error:  # a mistake, or we were cancelled: it goes on
                for call in calls:
                    call.error = Unknown(
                        f"the write that this one shared has ended by {error!r}: the events may be in "
                        "the log; publish them again with the same ids"
                    )
                    call.error.__cause__ = error
                raise
        for call in calls:
            call.positions = list(islice(positions, len(call.records)))
