"""
History records: one CloudEvent per outcome, fired timer, finished run and command.

They leave in the cut that decides what they tell, keyed by workflow_id, so that `<app>.history` is the
audit log and a feed for others. The engine writes them; `history`, commands that wait for their
answer, and audits read them back.
docs/formats.md lists every field of `data` by type.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from event_center.errors import FormatError
from event_center.model import Event, Outgoing, OutgoingParts, Owed, Snapshot

TYPE = "event_center."
APPLIED = "applied"
CREATED = "created"
TIMER = "timer"
RUN = "run"
COMMAND = "command"
MIGRATED = "migrated"
LOST = "lost"
REMOVED = "removed"

SHAPES = 10_000
"""Shapes of which the form is kept: names of events may come from outside."""
SHAPE_BYTES = 2_000
"""The largest form that is kept: that of a name that a machine can have is shorter."""
MAX_DETAIL = 2_000
"""Characters of a detail that are told: what it quotes comes from outside, and has to fit the log."""

_dumps = orjson.dumps
_stamp: tuple[int, str, bytes] = (-1, "", b"")


def rfc3339(at_ms: int) -> str:
    """A time in UTC with milliseconds, as CloudEvents want it."""
    return (_stamp if _stamp[0] == at_ms else _stamped(at_ms))[1]


def _stamped(at_ms: int) -> tuple[int, str, bytes]:
    """The same beside its time, as text and as bytes."""
    global _stamp  # noqa: PLW0603 - one cut writes hundreds of records of one millisecond
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    _stamp = (at_ms, text, text.encode())
    return _stamp


def epoch_ms(text: str) -> int:
    """The milliseconds of a time that `rfc3339` has written."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


AppliedShape = tuple[str, int, str, str, int, str, str]
"""Machine, version, event, topic, partition, from and to: what many records of a shard have in common."""
DoneShape = tuple[str, int, str, str, int]
"""Machine, version, state, callback and attempt: the same of runs that are done."""
InternalShape = tuple[str, int, str, str, str, str]
"""Machine, version, event, kind, from and to: the same of applied events that are no records."""
Shape = AppliedShape | DoneShape | InternalShape | str
"""A kind is the shape of its records that have nothing more in common."""


class HistoryWriter:
    """
    Makes the history records of one shard.

    What many have in common is written once, as a form: bytes with a place for each part that differs.
    """

    __slots__ = ("_forms", "_partition", "_source", "_topic")

    def __init__(self, topic: str, partition: int, source: str) -> None:
        self._topic = topic
        self._partition = partition
        self._source = source
        self._forms: dict[Shape, bytes] = {}

    def record(  # noqa: PLR0917 - called per record: positional arguments are cheaper
        self, kind: str, workflow_id: str, origin: str, at_ms: int, data: dict[str, Any]
    ) -> Outgoing:
        """One record; `origin` is what it tells of, and with workflow and kind makes its id unique."""
        if len(data.get("detail", "")) > MAX_DETAIL:
            data |= {"detail": data["detail"][: MAX_DETAIL - 3] + "..."}
        form = self._forms.get(kind) or self._form(kind, kind, "%b", "%b")
        stamp = (_stamp if _stamp[0] == at_ms else _stamped(at_ms))[2]
        inner = _dumps(workflow_id)[1:-1]
        value = form % (inner, _dumps(origin)[1:-1], inner, stamp, _dumps(data))
        return Outgoing(self._topic, workflow_id.encode(), value, (), self._partition)

    def applied(  # noqa: PLR0917 - called per record: positional arguments are cheaper
        self,
        form: bytes,
        name: str,
        seq: int,
        offset: int,
        at_ms: int,
        event_id: str | None,
        result: str | None = None,
    ) -> OutgoingParts:
        """The record of an applied event that is a record, in the form of its shape."""
        stamp = (_stamp if _stamp[0] == at_ms else _stamped(at_ms))[2]
        key = name.encode()
        inner = _dumps(name)[1:-1] if '"' in name or "\\" in name else key
        more = b"" if event_id is None else b',"event_id":' + _dumps(event_id)
        if result is not None:
            more += b',"result":' + _dumps(result)
        value = form % (inner, offset, inner, stamp, seq, offset, more)
        return self._topic, key, value, (), self._partition, 0

    def internal(  # noqa: PLR0917 - called per record: positional arguments are cheaper
        self, snapshot: Snapshot, event: Event, before: str, kind: str, at_ms: int
    ) -> OutgoingParts:
        """The record of an applied event that is no record: a timer, or what a run has led to."""
        name = snapshot.workflow_id
        shape = (snapshot.machine, snapshot.version, event.name, kind, before, snapshot.state)
        form = self._forms.get(shape) or self._form_internal(shape)
        stamp = (_stamp if _stamp[0] == at_ms else _stamped(at_ms))[2]
        key, origin = name.encode(), _dumps(event.topic)[1:-1]
        inner = _dumps(name)[1:-1] if '"' in name or "\\" in name else key
        event_id = b"" if event.id is None else b',"event_id":' + _dumps(event.id)
        result = b"" if snapshot.result is None else b',"result":' + _dumps(snapshot.result)
        value = form % (inner, origin, inner, stamp, snapshot.seq, event_id, origin, result)
        return self._topic, key, value, (), self._partition, 0

    def done(self, snapshot: Snapshot, owed: Owed, at_ms: int) -> OutgoingParts:
        """The record of an entry callback that is done and returned nothing."""
        name, seq = snapshot.workflow_id, owed.seq
        shape = (snapshot.machine, snapshot.version, snapshot.state, owed.name, owed.attempt + 1)
        form = self._forms.get(shape) or self._form_done(shape)
        stamp = (_stamp if _stamp[0] == at_ms else _stamped(at_ms))[2]
        key = name.encode()
        inner = _dumps(name)[1:-1] if '"' in name or "\\" in name else key
        value = form % (inner, seq, inner, stamp, seq, inner, seq)
        return self._topic, key, value, (), self._partition, 0

    def form_of(self, snapshot: Snapshot, event: Event, before: str) -> bytes:
        """The form for an event that has moved its workflow from there to where it is."""
        shape = (
            snapshot.machine,
            snapshot.version,
            event.name,
            event.topic,
            event.partition,
            before,
            snapshot.state,
        )
        return self._forms.get(shape) or self.form(shape)

    def form(self, shape: AppliedShape) -> bytes:
        """The form in which `applied` writes all records of this shape."""
        machine, version, event, topic, partition, before, state = shape
        data = (
            f'{{"machine":{_quoted(machine)},"version":{version},"seq":%d,"event":{_quoted(event)},'
            f'"topic":{_quoted(topic)},"partition":{partition},"offset":%d,'
            f'"from":{_quoted(before)},"to":{_quoted(state)},"outcome":"{APPLIED}"%b}}'
        )
        return self._form(shape, APPLIED, f"{_quoted(topic)[1:-1]}/{partition}/%d", data)

    def _form_internal(self, shape: InternalShape) -> bytes:
        machine, version, event, kind, before, state = shape
        data = (
            f'{{"machine":{_quoted(machine)},"version":{version},"seq":%d,"event":{_quoted(event)}%b,'
            f'"origin":"%b","from":{_quoted(before)},"to":{_quoted(state)},"outcome":"{APPLIED}"%b}}'
        )
        return self._form(shape, kind, "%b", data)

    def _form_done(self, shape: DoneShape) -> bytes:
        machine, version, state, callback, attempt = shape
        called = _quoted(callback)
        data = (
            f'{{"machine":{_quoted(machine)},"version":{version},"seq":%d,"state":{_quoted(state)},'
            f'"callback":{called},"key":"%b/%d/{called[1:-1]}","attempt":{attempt},"outcome":"done"}}'
        )
        return self._form(shape, RUN, f"run/%d/{called[1:-1]}/{attempt}", data)

    def _form(self, shape: Shape, kind: str, origin: str, data: str) -> bytes:
        """Make and keep the form of a shape: a CloudEvent with places for its workflow and its time."""
        made = (
            f'{{"specversion":"1.0","type":"{TYPE}{kind}","source":{_quoted(self._source)},'
            f'"id":"%b/{origin}/{kind}","subject":"%b","time":"%b","data":{data}}}'
        ).encode()
        if len(made) <= SHAPE_BYTES:
            if len(self._forms) >= SHAPES:
                self._forms.clear()
            self._forms[shape] = made
        return made


def about(snapshot: Snapshot, event: Event) -> dict[str, Any]:
    """What the records of one event of a workflow have in common, whatever became of it."""
    data: dict[str, Any] = {
        "machine": snapshot.machine,
        "version": snapshot.version,
        "seq": snapshot.seq,
        "event": event.name,
    }
    if event.id is not None:
        data["event_id"] = event.id
    if event.offset >= 0:
        data["topic"] = event.topic
        data["partition"] = event.partition
        data["offset"] = event.offset
    else:
        data["origin"] = event.topic
    return data


def _quoted(text: str) -> str:
    """A text as JSON within a form."""
    return _dumps(text).decode().replace("%", "%%")


def read(value: bytes) -> dict[str, Any]:
    """
    One history record as a flat dict: `kind`, `workflow_id`, `at` and the fields of its data.

    Raises:
        FormatError: these are not the bytes of a history record.
    """
    try:
        body = orjson.loads(value)
        kind = str(body["type"]).removeprefix(TYPE)
        return {"kind": kind, "workflow_id": body["subject"], "at": body["time"], **body["data"]}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        msg = f"a history record can not be read ({error!r}): {value[:80]!r}"
        raise FormatError(msg) from error
