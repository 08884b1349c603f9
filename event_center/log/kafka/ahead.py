"""
One partition that is read ahead: what lies ready of it, how far it was read, and why it is stuck.

Promises: what was read and not handed out is counted in one place. `intake.py` fills it and takes from
it; the errors here name the partition, the offset and what to do.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from aiokafka.errors import UnsupportedCodecError

from event_center.errors import DataLost, LogError, LogUnavailable
from event_center.log.gates import Place
from event_center.model import Record


class Reached(NamedTuple):
    """How far one partition was read."""

    position: int
    """Everything below was looked at, markers included."""
    after: int
    """The offset after the newest record that was read, or where the gate was opened."""


class ReadAhead:
    """What was read of one partition behind an open gate."""

    __slots__ = ("after", "cursor", "end", "gap", "given", "ready", "seen")

    def __init__(self, start: int, cursor: int) -> None:
        self.ready: deque[Record] = deque()
        self.gap = cursor if 0 < start < cursor else 0
        """Retention has removed what came right before this offset, and the shard has to know."""
        self.given = start
        """As the gate's tap has it: the offset after the newest record handed out."""
        self.after = start
        self.cursor = cursor
        """Where reading goes on."""
        self.seen = cursor
        self.end = 0

    def watermark(self) -> int:
        """The offset after the newest committed record, as of the last answer of the broker."""
        return self.after if self.seen >= self.end else self.end


class Stuck:
    """Why one partition can not be read on, and when that is to be said next."""

    __slots__ = ("due_s", "error")

    def __init__(self, error: LogError) -> None:
        self.error = error
        self.due_s = float("-inf")


def truncated(place: Place, offset: int, end: int) -> DataLost:
    """The error for an offset behind the end of a partition."""
    return DataLost(
        f"{place[0]}/{place[1]} is to be read from offset {offset}, but it ends at {end}: its brokers "
        "have lost records that were read already, as an unclean election of a leader does, and new "
        "ones would be taken for these. Nothing was skipped: make the topic anew under another name "
        "and have its events published there"
    )


def packed(place: Place, offset: int, error: UnsupportedCodecError) -> LogUnavailable:
    """The error for records that can not be unpacked, from this offset on."""
    return LogUnavailable(
        f"{place[0]}/{place[1]} can not be read from offset {offset} on: its records are compressed in a "
        f"way that can not be unpacked here ({error}). Nothing was skipped, and other partitions are "
        "read: install event-center with all that it depends on (cramjam is missing or too old), and "
        "restart this process"
    )
