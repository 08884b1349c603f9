"""
Which event each consumed record carries, and for whom: the audit's own reading of publishers' bytes.

Plain JSON objects and CloudEvents, structured and binary, and the records of the inbox are
understood; a topic with rules of its own needs a reader, which whoever asks for the audit brings.
`audit_shard` asks here for the event at a position, and in which order a workflow's events lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from event_center.model import Event, Position, Record
from event_center.testing.audit_evidence import Evidence, Place


class WrittenEvent(NamedTuple):
    """An event as its publisher wrote it."""

    workflow_id: str
    name: str
    payload: Any
    id: str | None


ReadEvent = Callable[[Record], WrittenEvent | None]
"""A record to its event; None if it carries none that a center could decide."""


def read_plain(record: Record) -> WrittenEvent | None:
    """A plain JSON object, or a CloudEvent."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    try:
        body = orjson.loads(record.value or b"")
    except ValueError:
        return None
    key = None if record.key is None else record.key.decode("utf-8", "replace")
    if "ce_specversion" in headers:
        subject = headers.get("ce_workflow_id") or headers.get("ce_subject") or key
        return _written(subject, headers.get("ce_type"), body, headers.get("ce_id"))
    if not isinstance(body, dict):
        return None
    structured = "specversion" in body
    name = body.get("event", body.get("type") if structured else None)
    subject = body.get("workflow_id", body.get("subject") if structured else None)
    payload = body["payload"] if "payload" in body else body.get("data", body)
    return _written(key if subject is None else subject, name, payload, body.get("id"))


def _written(workflow_id: Any, name: Any, payload: Any, event_id: Any) -> WrittenEvent | None:
    texts = [str(one) if type(one) is int else one for one in (workflow_id, name, event_id)]
    if not all(isinstance(one, str) and one for one in texts[:2]):
        return None
    return WrittenEvent(texts[0], texts[1], payload, texts[2])


class Events:
    """All consumed records, as events."""

    def __init__(self, evidence: Evidence, readers: Mapping[str, ReadEvent]) -> None:
        self._evidence = evidence
        self._events: dict[Position, Event | None] = {}
        self._written: dict[Position, WrittenEvent | None] = {}
        self._orders: dict[str, dict[Place, list[int]]] = {}
        for place, records in evidence.records.items():
            topic, partition = place
            if topic not in evidence.consumed or topic == evidence.commands:
                continue
            read = readers.get(topic, read_plain)
            for record in records:
                written = read(record)
                self._written[Position(topic, partition, record.offset)] = written
                if written is not None:
                    places = self._orders.setdefault(written.workflow_id, {})
                    places.setdefault(place, []).append(record.offset)

    def written(self, position: Position) -> WrittenEvent | None:
        """The event at this position; None if there is none that can be read."""
        return self._written.get(position)

    def event(self, position: Position) -> Event | None:
        """The same as the machine room takes it."""
        if position not in self._events:
            self._events[position] = self._read(position)
        return self._events[position]

    def _read(self, position: Position) -> Event | None:
        written, record = self.written(position), self._evidence.record(position)
        if written is None or record is None:
            return None
        stamp = record.timestamp_ms
        return Event(written.name, written.payload, written.id, stamp, record.headers, *position)

    def of(self, position: Position | None, origin: str) -> Event | None:
        """The event that a history record tells of: at a position, or of a replayed letter."""
        return self.replayed(origin) if position is None else self.event(position)

    def order(self, workflow_id: str, place: Place) -> list[int]:
        """The offsets of all events of a workflow in one partition."""
        return self._orders.get(workflow_id, {}).get(place, [])

    def places(self, workflow_id: str) -> Iterable[Place]:
        """Where events of a workflow lie."""
        return self._orders.get(workflow_id, ())

    def replayed(self, origin: str) -> Event | None:
        """The event of a replayed letter, out of the command that asked for it; None if it is none."""
        kind, _, rest = origin.partition("/")
        number, _, position = rest.partition("/")
        if kind != "letter" or not number.isdigit():
            return None
        topic, partition, offset = position.rsplit("/", 2)
        record = self._evidence.record(Position(topic, int(partition), int(offset)))
        args = orjson.loads((record and record.value) or b"{}").get("args", {})
        return Event(args.get("event", ""), args.get("payload"), None, 0, (), origin)
