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
from event_center.model import Outgoing

TYPE = "event_center."
CREATED = "created"
TIMER = "timer"
RUN = "run"
COMMAND = "command"
MIGRATED = "migrated"
LOST = "lost"
REMOVED = "removed"

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


class HistoryWriter:
    """Makes the history records of one shard."""

    __slots__ = ("_partition", "_source", "_topic")

    def __init__(self, topic: str, partition: int, source: str) -> None:
        self._topic = topic
        self._partition = partition
        self._source = source

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
