"""
What an audit is given, and what it answers: a log's contents as plain nouns, and broken promises.

Nothing here knows an engine of the log. `audit_sqlite` fills an `Evidence` from a file that kept its
cuts; a test can write one by hand. `audit` reads it and returns `Violation`s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from event_center.model import Position, Record

Place = tuple[str, int]
"""A topic and one of its partitions."""


class Promise(StrEnum):
    """The promises of docs/guarantees.md, by their numbers."""

    ONE_OUTCOME = "P1"
    ONCE = "P2"
    CALLBACKS = "P3"
    ORDER = "P4"
    WHOLE_CUTS = "P5"
    NEVER_BACK = "P6"
    TIMERS = "P7"
    QUIET = "P8"


Complaint = tuple[Promise, str]
"""A promise that is broken, and the story of how."""


class Violation(NamedTuple):
    """One broken promise."""

    promise: Promise
    workflow: str
    """The workflow that it was broken for; empty where it concerns a whole shard."""
    story: str
    """What was found, and where in the log."""

    def __str__(self) -> str:
        about = f" workflow {self.workflow!r}:" if self.workflow else ""
        return f"{self.promise}:{about} {self.story}"


class Started(NamedTuple):
    """One start of a callback, as the callback itself wrote it down."""

    workflow_id: str
    name: str
    key: str
    """The idempotency key that it was given."""
    attempt: int = 1
    time_ns: int = 0
    """When it started, by the clock that stamps the cuts; 0 where nobody looked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptCut:
    """One cut as its log kept it."""

    number: int
    shard: int
    epoch: int
    """Rises with each owner of the shard."""
    at_ms: int
    """Not later than the moment at which it became durable."""
    entries: Sequence[tuple[bytes, bytes | None]]
    """Puts and removals in the shard's keyed store, in the order of the cut."""
    records: Sequence[Position]
    """Where the records of the cut were appended, in its order."""
    offsets: Mapping[str, int]

    def __str__(self) -> str:
        return f"cut {self.number} of shard {self.shard}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Everything durable that a center has left behind, as of one moment."""

    app: str
    """The prefix of the center's own topics."""
    shards: int
    consumed: Sequence[str]
    """The topics that the center reads, its inbox and its commands included."""
    records: Mapping[Place, Sequence[Record]]
    """The records of every partition of every topic, oldest first."""
    cuts: Sequence[KeptCut]
    """Every cut since the log was made, in the order in which they were committed."""
    entries: Mapping[int, Mapping[bytes, bytes]]
    """What each shard's keyed store holds at the end."""
    every_outcome: bool = True
    """History holds every outcome (`history = "all"`), not only what moved a workflow."""
    idle_ms: int = 0
    """When the center was found idle at the end; 0 where nobody looked: P8 is not checked then."""

    set_back_ms: int = 0
    """How far clocks were set back in all: so much before its due time a timer may seem to fire."""

    @property
    def history(self) -> str:
        """The topic that tells what happened."""
        return f"{self.app}.history"

    @property
    def dead_letters(self) -> str:
        """The topic of dead letters."""
        return f"{self.app}.dead-letters"

    @property
    def inbox(self) -> str:
        """The topic of emitted and forwarded events."""
        return f"{self.app}.inbox"

    @property
    def commands(self) -> str:
        """The topic of operators' commands."""
        return f"{self.app}.commands"

    def record(self, position: Position) -> Record | None:
        """The record at this position; None if it is not there, or not any more."""
        records = self.records.get((position.topic, position.partition), ())
        index = position.offset  # where it lies, unless compaction or retention took others
        if index >= len(records) or records[index].offset != position.offset:
            index = bisect_left(records, position.offset, key=_offset)
        if index < len(records) and records[index].offset == position.offset:
            return records[index]
        return None

    def place(self, source: str, shard: int) -> Place:
        """Topic and partition of a source of a shard: `topic`, or `topic/partition`."""
        topic, _, partition = source.partition("/")
        return topic, int(partition) if partition else shard

    def sources(self, shard: int) -> dict[str, Place]:
        """What a shard reads: source → topic and partition."""
        return {
            topic if partition == shard else f"{topic}/{partition}": (topic, partition)
            for topic, partition in self.records
            if topic in self.consumed and partition % self.shards == shard
        }

    def between(self, place: Place, since: int, stop: int) -> int:
        """How many records lie between two offsets; those that retention removed count as well."""
        records = self.records.get(place, ())
        if (
            records
            and records[-1].offset == len(records) - 1
            and 0 <= since <= stop <= len(records)
        ):
            return stop - since
        first = records[0].offset if records else stop
        found = bisect_left(records, stop, key=_offset) - bisect_left(records, since, key=_offset)
        return found + max(0, min(first, stop) - since)


def _offset(record: Record) -> int:
    return record.offset
