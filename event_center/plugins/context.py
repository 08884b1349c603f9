"""
The context of one run: what a callback may know of its workflow, and what it may send.

A context belongs to one run and is made for each, so it copies nothing until it is asked to. What
is emitted and published is only collected here; the engine room reads it when the callback has
returned, and it leaves with the cut that records the run, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

from event_center.errors import PermanentError, PluginError
from event_center.machine.value import copied
from event_center.model import (
    MAX_EVENT_ID,
    MAX_NAME,
    RESERVED,
    Event,
    Headers,
    Json,
    Owed,
    Snapshot,
)

NOT_RESERVED = "names that begin with @ are the center's own; give the event another name"


_None = type(None)
_dumps, _loads = orjson.dumps, orjson.loads
_emitted = tuple.__new__
"""Makes a named tuple of its parts without the detour over its constructor."""

SENDS = 10_000
"""Events and records that one attempt may send: all of them are in memory, and leave in one cut."""
SEND_BYTES = 64 * 1024**2
"""What these may have together: as much as one event of an embedded log, and more than others need."""


def too_long(name: str, event_id: object) -> str:
    """What of an event is longer than history can tell, and how long it may be; empty: nothing."""
    if len(name) > MAX_NAME:
        return f"its name has {len(name)} characters, and may have {MAX_NAME}"
    if isinstance(event_id, str) and len(event_id) > MAX_EVENT_ID:
        return f"its id has {len(event_id)} characters, and may have {MAX_EVENT_ID}"
    return ""


class Emitted(NamedTuple):
    """An event that a callback sends to a workflow, through the inbox."""

    workflow_id: str
    event: str
    payload: Json
    id: str | None
    machine: str | None = None
    """The machine of the workflow that this event creates, if there is none yet."""


class Published(NamedTuple):
    """A record that a callback sends to a topic outside."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers


class Context:
    """
    What a callback gets: its workflow as the run finds it, the event, and ways to send.

    `event`, `payload` and `data` are the callback's own copies, made when they are asked for: what it
    does to them changes neither the workflow nor its next attempt.
    """

    __slots__ = (
        "_data",
        "_data_copy",
        "_event",
        "_event_copy",
        "_key",
        "_log",
        "_sent",
        "_seq",
        "_topics",
        "_whose",
        "attempt",
        "deadline_ms",
        "emitted",
        "machine",
        "published",
        "state",
        "workflow_id",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        event: Event,
        key: str | Owed,
        topics: frozenset[str] = frozenset(),
        *,
        attempt: int = 1,
        deadline_ms: int = 0,
    ) -> None:
        self.workflow_id = self._whose = snapshot.workflow_id
        self.machine = snapshot.machine
        self.state = snapshot.state
        self._seq = snapshot.seq
        # What the engine keeps for the next attempt; nothing of it is handed out.
        self._event = event
        self._event_copy: Event | None = None
        # Of an entry callback what owes it: few ask for the key, and to make it costs as much as a call.
        self._key = key
        self.attempt = attempt
        """1 for the first attempt."""
        self.deadline_ms = deadline_ms
        """When this attempt times out, in milliseconds since the epoch."""
        self.emitted: list[Emitted] | None = None
        self.published: list[Published] | None = None
        self._topics = topics
        # The accept replaces a workflow's data and never changes them in place, so the reference
        # stays true to the moment of this run, and the copy can wait until it is asked for.
        self._data = snapshot.data
        self._data_copy: dict[str, Json] | None = None
        self._log: FilteringBoundLogger | None = None
        self._sent: tuple[int, int] | None = None
        """How many events and records were sent, and their bytes."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this run, also after a crash and on another machine."""
        key = self._key
        return key if isinstance(key, str) else f"{self._whose}/{key.seq}/{key.name}"

    @property
    def event(self) -> Event:
        """A copy of the event that led to this run."""
        if self._event_copy is None:
            event = self._event
            self._event_copy = Event(
                event.name,
                copied(event.payload),
                event.id,
                event.time_ms,
                event.headers,
                event.topic,
                event.partition,
                event.offset,
            )
        return self._event_copy

    @property
    def payload(self) -> Json:
        """The payload of `event`."""
        return self.event.payload

    @property
    def data(self) -> dict[str, Json]:
        """A copy of the workflow's data; only `assign` in the machine changes them."""
        if self._data_copy is None:
            self._data_copy = copied(self._data)
        return self._data_copy

    @property
    def log(self) -> FilteringBoundLogger:
        """A structlog logger that knows this workflow, its state and seq, the event and the attempt."""
        if self._log is None:
            self._log = structlog.get_logger().bind(
                machine=self.machine,
                workflow_id=self.workflow_id,
                state=self.state,
                seq=self._seq,
                event_name=self._event.name,
                attempt=self.attempt,
            )
        return self._log

    def emit(
        self,
        event: str | Event,
        payload: Json = None,
        *,
        workflow_id: str | None = None,
        id: str | None = None,  # noqa: A002 - the word of the domain and of CloudEvents
        machine: str | None = None,
    ) -> None:
        """
        Send an event to a workflow, this one by default, through the inbox.

        The payload is taken as it is now: what is done to it afterwards changes nothing.

        Args:
            event: the event's name, or an `Event` with its payload and id.
            payload: anything that JSON can say; stands before the payload of an `Event`.
            workflow_id: of the workflow that is to hear of it.
            id: for finding duplicates; stands before the id of an `Event`.
            machine: of a workflow that does not exist yet, and that this event creates.

        Raises:
            PluginError: the event has no name or a reserved one, or a part of it is not JSON.
            PermanentError: with it this attempt would send more than one may.
        """
        if isinstance(event, Event):
            name = event.name
            payload = event.payload if payload is None else payload
            id = event.id if id is None else id  # noqa: A001 - as above
        else:
            name = event
        receiver = self.workflow_id if workflow_id is None else workflow_id
        if not (isinstance(name, str) and name and isinstance(receiver, str) and receiver):
            raise PluginError(
                f"{self._where()} emitted {name!r} to workflow {receiver!r}; both are names, "
                "neither may be empty"
            )
        if name.startswith(RESERVED):
            raise PluginError(f"{self._where()} emitted {name!r}; {NOT_RESERVED}")
        # Not `str | None`, which would make a union of types anew with each call.
        if not (isinstance(id, (str, int, _None)) and isinstance(machine, (str, _None))):
            raise PluginError(
                f"{self._where()} emitted {name!r} with the id {type(id).__name__} and the machine "
                f"{type(machine).__name__}; both are texts or left out"
            )
        if long := too_long(name, id):
            raise PluginError(f"{self._where()} emitted {name[:80]!r}: {long}")
        try:
            sent = _dumps((receiver, name, payload, id, machine))
        except TypeError as error:
            raise not_json(f"{self._where()}: what it emitted as {name!r}", error) from error
        self._weigh(len(sent))
        if self.emitted is None:
            self.emitted = []
        # What the callback does to the payload from now on is no part of the event.
        self.emitted.append(_emitted(Emitted, _loads(sent)))

    def publish(
        self,
        topic: str,
        payload: Json | bytes,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> None:
        """
        Send a record to a topic that `[publish] topics` of the settings declares.

        Args:
            topic: where to.
            payload: the record's value: bytes as they are, anything else as JSON.
            key: of the record; the workflow_id by default, so that what one workflow sends stays
                in order.
            headers: of the record.

        Raises:
            PluginError: the topic is not declared, the payload is not JSON, or key and headers are not
                what a log can hold.
            PermanentError: with it this attempt would send more than one may.
        """
        if topic not in self._topics:
            declared = ", ".join(sorted(self._topics)) or "none"
            raise PluginError(
                f"{self._where()} published to the topic {topic!r}, which is not declared; add it "
                f"to `[publish] topics` of the settings (declared: {declared})"
            )
        if not isinstance(payload, bytes):
            try:
                payload = _dumps(payload)
            except TypeError as error:
                raise not_json(f"{self._where()}: what is published to {topic!r}", error) from error
        named: Headers = ()
        if headers:
            where = f"{self._where()}: a header of what is published to {topic!r}"
            named = tuple(
                (_text(name, where), _raw(value, where)) for name, value in headers.items()
            )
        if key is None:
            sender = self.workflow_id.encode()
        else:
            sender = _raw(key, f"{self._where()}: the key of what is published to {topic!r}")
        self._weigh(len(payload) + len(sender))
        if self.published is None:
            self.published = []
        self.published.append(Published(topic, sender, payload, named))

    def _weigh(self, size: int) -> None:
        """What is sent has a limit in number and in bytes: once reached it will be so each time."""
        sent, so_far = (0, 0) if self._sent is None else self._sent
        if sent >= SENDS or so_far + size > SEND_BYTES:
            raise PermanentError(
                f"{self._where()} has sent {sent} events and records of {so_far} bytes, and one attempt "
                f"may send {SENDS} and {SEND_BYTES} bytes: send them in portions, each from a run of "
                "its own"
            )
        self._sent = sent + 1, so_far + size

    def _where(self) -> str:
        return f"a callback of machine {self.machine}, workflow {self.workflow_id}"


def encoded(payload: Json, where: str) -> bytes:
    """
    What JSON makes of it.

    Raises:
        PluginError: it can not say it; `where` begins the message.
    """
    try:
        return _dumps(payload)
    except TypeError as error:
        raise not_json(where, error) from error


def not_json(where: str, error: TypeError) -> PluginError:
    """The error of what JSON can not say; `where` begins the message."""
    return PluginError(f"{where} is not JSON: {error}; send what JSON can say")


def _raw(text: str | bytes, where: str) -> bytes:
    return text if isinstance(text, bytes) else _text(text, where).encode()


def _text(text: str, where: str) -> str:
    """A text that every log can hold: plain, and without halves of characters."""
    try:
        return str.encode(text).decode()
    except (TypeError, UnicodeEncodeError) as error:
        raise PluginError(f"{where} is no text: {error}; make a text of it") from error
