"""
What is delivered of an event that is so large that it could not be written again.

Promises: it is the same on every log that has such limits: Kafka, and the log in memory, which stands for
it in tests. The embedded log asks SQLite itself (`sqlite/reader.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from event_center.log.port import TOO_LARGE
from event_center.model import Record, size_of

_VALUE, _HEADERS = attrgetter("value"), attrgetter("headers")

NEAR_BYTES = 100_000
"""
A value that is nearer to the limit is looked at with its key: so many bytes are more than enough for
one. What has headers is looked at in any case.
"""


def fitting(records: Sequence[Record], most: int) -> Sequence[Record]:
    """The same records; in place of one that has more bytes than `most` a note of its size."""
    longest = max(map(len, filter(None, map(_VALUE, records))), default=0)
    if longest > most - NEAR_BYTES or any(map(_HEADERS, records)):
        return [_fitting(record, most) for record in records]
    return records


def _fitting(record: Record, most: int) -> Record:
    size = size_of(record.key, record.value, record.headers)
    if size <= most:
        return record
    return record._replace(value=b"\xff", headers=((TOO_LARGE, b"%d" % size),))
