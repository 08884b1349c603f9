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
from event_center.model import Event, Outgoing, Owed, Snapshot

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
"""Shapes of which the texts are kept, some 1 kB each: names of events may come from outside."""

_dumps = orjson.dumps
_outgoing = tuple.__new__
"""Makes a named tuple of a tuple without the detour over its constructor."""
_stamp: tuple[int, str] = (-1, "")


def rfc3339(at_ms: int) -> str:
    """A time in UTC with milliseconds, as CloudEvents want it."""
    global _stamp  # noqa: PLW0603 - one cut writes hundreds of records of one millisecond
    if _stamp[0] != at_ms:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
        _stamp = (at_ms, moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    return _stamp[1]


def epoch_ms(text: str) -> int:
    """The milliseconds of a time that `rfc3339` has written."""
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


AppliedShape = tuple[str, int, str, str, int, str, str]
"""Machine, version, event, topic, partition, from and to: what many records of a shard have in common."""
DoneShape = tuple[str, int, str, str, int]
"""Machine, version, state, callback and attempt: the same of runs that are done."""
Shape = AppliedShape | DoneShape


class HistoryWriter:
    """Makes the history records of one shard."""

    __slots__ = ("_partition", "_shapes", "_source", "_topic")

    def __init__(self, topic: str, partition: int, source: str) -> None:
        self._topic = topic
        self._partition = partition
        self._source = source
        self._shapes: dict[Shape, tuple[str, ...]] = {}

    def record(  # noqa: PLR0917 - called per record: positional arguments are cheaper
        self, kind: str, workflow_id: str, origin: str, at_ms: int, data: dict[str, Any]
    ) -> Outgoing:
        """One record; `origin` is what it tells of, and with workflow and kind makes its id unique."""
        body = {
            "specversion": "1.0",
            "type": TYPE + kind,
            "source": self._source,
            "id": f"{workflow_id}/{origin}/{kind}",
            "subject": workflow_id,
            "time": _stamp[1] if _stamp[0] == at_ms else rfc3339(at_ms),
            "data": data,
        }
        parts = (self._topic, workflow_id.encode(), _dumps(body), (), self._partition, 0)
        return _outgoing(Outgoing, parts)

    def applied(self, snapshot: Snapshot, event: Event, before: str, at_ms: int) -> Outgoing:
        """
        The record of an applied event that is a record, byte for byte as `record` would make it.

        There is one for each event: what those of one shape have in common is written once, as text.
        """
        name = snapshot.workflow_id
        shape = (
            snapshot.machine,
            snapshot.version,
            event.name,
            event.topic,
            event.partition,
            before,
            snapshot.state,
        )
        texts = self._shapes.get(shape) or self._keep(shape, self._texts_applied(shape))
        begin, place, subject, time, data, what, end = texts
        stamp = _stamp[1] if _stamp[0] == at_ms else rfc3339(at_ms)
        inner = _inner(name)
        offset, seq = str(event.offset), str(snapshot.seq)
        more = "" if event.id is None else f',"event_id":{_quoted(event.id)}'
        if snapshot.result is not None:
            more = f'{more},"result":"{snapshot.result}"'
        value = (
            f"{begin}{inner}{place}{offset}{subject}{inner}{time}{stamp}{data}{seq}{what}{offset}{end}"
            f"{more}}}}}"
        ).encode()
        return _outgoing(Outgoing, (self._topic, name.encode(), value, (), self._partition, 0))

    def done(self, snapshot: Snapshot, owed: Owed, at_ms: int) -> Outgoing:
        """The record of an entry callback that is done and returned nothing, made like `applied`."""
        name = snapshot.workflow_id
        shape = (snapshot.machine, snapshot.version, snapshot.state, owed.name, owed.attempt + 1)
        texts = self._shapes.get(shape) or self._keep(shape, self._texts_done(shape))
        begin, subject, time, data, key, end = texts
        stamp = _stamp[1] if _stamp[0] == at_ms else rfc3339(at_ms)
        inner = _inner(name)
        seq = str(owed.seq)
        value = (
            f"{begin}{inner}/run/{seq}{subject}{inner}{time}{stamp}{data}{seq}{key}{inner}/{seq}{end}"
        ).encode()
        return _outgoing(Outgoing, (self._topic, name.encode(), value, (), self._partition, 0))

    def _keep(self, shape: Shape, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Keep the texts around what differs in the records of one shape."""
        if len(self._shapes) >= SHAPES:
            self._shapes.clear()
        self._shapes[shape] = texts
        return texts

    def _texts_applied(self, shape: AppliedShape) -> tuple[str, ...]:
        machine, version, event, topic, partition, before, state = shape
        return (
            self._begin(APPLIED),
            f"/{_quoted(topic)[1:-1]}/{partition}/",
            f'/{APPLIED}","subject":"',
            '","time":"',
            f'","data":{{"machine":{_quoted(machine)},"version":{version},"seq":',
            f',"event":{_quoted(event)},"topic":{_quoted(topic)},"partition":{partition},"offset":',
            f',"from":{_quoted(before)},"to":{_quoted(state)},"outcome":"{APPLIED}"',
        )

    def _texts_done(self, shape: DoneShape) -> tuple[str, ...]:
        machine, version, state, callback, attempt = shape
        return (
            self._begin(RUN),
            f'/{_quoted(callback)[1:-1]}/{attempt}/{RUN}","subject":"',
            '","time":"',
            f'","data":{{"machine":{_quoted(machine)},"version":{version},"seq":',
            f',"state":{_quoted(state)},"callback":{_quoted(callback)},"key":"',
            f'/{_quoted(callback)[1:-1]}","attempt":{attempt},"outcome":"done"}}}}',
        )

    def _begin(self, kind: str) -> str:
        """What a record of this kind begins with, up to its workflow."""
        source = _quoted(self._source)
        return f'{{"specversion":"1.0","type":"{TYPE}{kind}","source":{source},"id":"'


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
    """A text as JSON."""
    return _dumps(text).decode()


def _inner(workflow_id: str) -> str:
    """A workflow_id as it stands within a JSON text: it has no control characters (`is_workflow_id`)."""
    plain = '"' not in workflow_id and "\\" not in workflow_id
    return workflow_id if plain else _quoted(workflow_id)[1:-1]


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
