"""
The nouns that every room shares: what lies in a log, what happens to a workflow, and its whole truth.

Nothing here does I/O, knows a clock or imports another module of the package. Times are whole
milliseconds since the Unix epoch in UTC (`_ms`); keys and values of records are bytes. The words are
those of docs/glossary.md.
"""

from __future__ import annotations

import re
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple, NewType

Shard = NewType("Shard", int)
"""The fenced unit of ownership: partition number p of every co-partitioned topic."""

Token = NewType("Token", int)
"""Names one assignment of a shard to a member; a later assignment has a greater one."""

Headers = tuple[tuple[str, bytes], ...]
HEADER_BYTES = 10
"""What a log needs at most beside a header's name and content, to tell where each of them ends."""

Json = Any
"""What `json.loads` can return. Payloads and data are the user's: nothing more is known of them."""


RESERVED = "@"
"""What the names of the center's own events begin with: timers, `@done`, `@error`."""

MAX_ID_BYTES = 512
"""Bytes of a workflow_id: it is a key in every topic of the app."""
MAX_NAME = 10_000
"""Characters of an event's name: history and letters repeat it, and have to fit the log."""
MAX_EVENT_ID = 1_000
"""Characters of an event's id: history repeats it."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_workflow_id(text: str) -> bool:
    """Whether a workflow can be called so: 1 to `MAX_ID_BYTES` bytes, no control characters."""
    if text.isascii():
        return text.isprintable() and 0 < len(text) <= MAX_ID_BYTES
    return len(text.encode("utf-8", "replace")) <= MAX_ID_BYTES and not _CONTROL.search(text)


def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """The bytes of a record, without what a log adds for each record or batch."""
    size = len(key or b"") + len(value or b"")
    if headers:
        size += sum(len(name.encode()) + len(content) + HEADER_BYTES for name, content in headers)
    return size


class Position(NamedTuple):
    """Where a record lies in a log; unique for as long as the topic exists."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Record(NamedTuple):
    """One record as it is read from a partition; its topic and partition stand in the batch."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Outgoing(NamedTuple):
    """One record on its way into a log. `partition=None`: the log's partitioner decides by the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int = 0
    """0: the log stamps the record with its own clock."""


OutgoingParts = tuple[str, bytes | None, bytes | None, Headers, int | None, int]
"""
The parts of an `Outgoing`, which is one with names: a cut has two for each event, and names cost what
two calls do.
"""


class Outcome(StrEnum):
    """What became of a record. Every record taken in gets exactly one of these, once (promise P1)."""

    APPLIED = "applied"
    IGNORED = "ignored"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    DEAD_LETTERED = "dead_lettered"
    FORWARDED = "forwarded"
    DISCARDED = "discarded"


class Reason(StrEnum):
    """Why a record was not applied: data for `history`, `show` and letters, not a sentence."""

    UNDECODABLE = "undecodable"
    NO_WORKFLOW_ID = "no_workflow_id"
    BAD_WORKFLOW_ID = "bad_workflow_id"
    WRONG_PARTITION = "wrong_partition"
    UNKNOWN_MACHINE = "unknown_machine"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_WORKFLOW = "unknown_workflow"
    OTHER_MACHINE = "other_machine"
    NOT_ACCEPTED = "not_accepted"
    INVALID_PAYLOAD = "invalid_payload"
    GUARD = "guard"
    FINISHED = "finished"
    FAILED = "failed"
    BEHIND_LETTER = "behind_letter"
    WAITING_FULL = "waiting_full"
    BY_OPERATOR = "by_operator"
    BAD_COMMAND = "bad_command"
    NOT_APPLICABLE = "not_applicable"
    UNREADABLE_SNAPSHOT = "unreadable_snapshot"
    TOO_LARGE = "too_large"
    EXPIRED = "expired"
    HELD_FULL = "held_full"


class Status(StrEnum):
    """How a workflow stands, beside the state of its machine."""

    ACTIVE = "active"
    RETRYING = "retrying"
    PARKED = "parked"
    PAUSED = "paused"
    FINAL = "final"
    EXPECTED = "expected"
    """There is no such workflow yet: events are held for it."""


ACTIVE = Status.ACTIVE
"""Looked up once: to read a member of an enumeration costs as much as a call."""


class Result(StrEnum):
    """How a finished workflow ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class Unhandled(StrEnum):
    """What a machine or state does with an event that it does not accept."""

    REJECT = "reject"
    IGNORE = "ignore"
    DEFER = "defer"
    DEAD_LETTER = "dead_letter"


class Event:
    """
    One event for one workflow: from a record, a due timer, or the result of a callback.

    A slotted class with a plain constructor, because the hot path makes one per record.
    """

    __slots__ = ("headers", "id", "name", "offset", "partition", "payload", "time_ms", "topic")

    def __init__(  # noqa: PLR0917 - one call per record: positional arguments are what makes it cheap
        self,
        name: str,
        payload: Json = None,
        id: str | None = None,  # noqa: A002 - the word of the domain and of CloudEvents
        time_ms: int = 0,
        headers: Headers = (),
        topic: str = "",
        partition: int = -1,
        offset: int = -1,
    ) -> None:
        self.name = name
        self.payload = payload
        self.id = id
        self.time_ms = time_ms
        self.headers = headers
        self.topic = topic
        self.partition = partition
        self.offset = offset

    @property
    def origin(self) -> str:
        """What makes this event unlike any other: `topic/partition/offset`, or `timer/…`, `run/…`."""
        if self.offset < 0:
            return self.topic
        return f"{self.topic}/{self.partition}/{self.offset}"

    def __repr__(self) -> str:
        return f"Event({self.name!r}, {self.payload!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event):
            return NotImplemented
        return _parts_of(self) == _parts_of(other)

    __hash__ = None  # type: ignore[assignment]  # payloads are mutable


_parts_of = attrgetter(*Event.__slots__)


class Owed(NamedTuple):
    """A run that must happen: the callback `name`, owed by the transition with number `seq`."""

    name: str
    seq: int
    attempt: int = 0
    """Attempts that ended, counted when they end; a failure of the infrastructure adds none."""
    due_ms: int = 0
    """Not before this time; 0 is at once."""
    starts: int = 0
    """
    Takeovers that found this attempt without a result; 1 also after one that was cut off. More than 0: it
    may have happened.
    """


class Timer(NamedTuple):
    """A pending `after` of the current state entry."""

    id: str
    """The name of the machine's timer event, as `@after/24h`."""
    seq: int
    """The seq at which its state was entered: a timer of an older entry is stale."""
    due_ms: int


class Refusal(NamedTuple):
    """One of the last events that a workflow refused, kept for `show`."""

    at_ms: int
    event: str
    reason: str
    detail: str = ""


class Failure(NamedTuple):
    """The last error of a callback, kept until its workflow moves on."""

    callback: str
    type: str
    message: str
    at_ms: int
    attempt: int
    traceback: str = ""
    """Where it was raised, file by file, and what caused it; without values."""


class Snapshot:
    """
    The whole truth of one workflow, as the compacted topic keeps it (docs/formats.md).

    Slotted and mutable: there is one live object per busy workflow, and the turn swaps its fields in
    one synchronous block. The values of the fields are replaced, never changed in place (`seen` is
    the exception), so that a callback's context stays true to the moment of its run. Optional parts
    are None or empty and cost nothing in the bytes.
    """

    __slots__ = (
        "cause",
        "closed_at_ms",
        "counted",
        "data",
        "deciding_attempt",
        "deciding_due_ms",
        "deciding_event",
        "deciding_starts",
        "earlier",
        "entered_at_ms",
        "failure",
        "ids",
        "jobs",
        "letters_last",
        "letters_next",
        "loop",
        "machine",
        "memory",
        "over_ms",
        "owed",
        "parked",
        "refusals",
        "relieved",
        "result",
        "seen",
        "seq",
        "size",
        "state",
        "status",
        "timers",
        "version",
        "waiting",
        "waiting_next",
        "workflow_id",
    )

    def __init__(  # noqa: PLR0915 - a line per field
        self, workflow_id: str, machine: str, version: int, state: str
    ) -> None:
        self.workflow_id = workflow_id
        self.machine = machine
        self.version = version
        self.state = state
        """The configuration: the name of one leaf, or of several joined by `|` (parallel regions)."""
        self.status = ACTIVE
        self.seq = 0
        self.data: dict[str, Json] = {}
        self.entered_at_ms = 0
        self.result: str | None = None
        self.closed_at_ms = 0
        self.over_ms = 0
        """Since when it is finished and nothing of it is owed, waits, or is an open letter; else 0."""
        self.owed: tuple[Owed, ...] = ()
        """Entry callbacks; the next event waits for them."""
        self.jobs: tuple[Owed, ...] = ()
        """What its states invoke; nothing waits for it. One with attempts and no due time has failed."""
        self.memory: dict[str, str] | None = None
        """What the machine's history states bring back: leaves joined by `|`, by their names."""
        self.cause: Event | None = None
        """The event whose transition owes the runs; kept while some are owed, for their context."""
        self.earlier: dict[int, Event] | None = None
        """The causes of runs that are still owed by earlier transitions, and of all jobs, by their seq."""
        self.timers: tuple[Timer, ...] = ()
        self.seen: dict[str, int] = {}
        """The highest offset recorded of each topic (`topic/partition` where not co-partitioned)."""
        self.ids: tuple[int, ...] = ()
        """64-bit hashes of the last 64 event ids recorded, oldest first."""
        self.refusals: tuple[Refusal, ...] = ()
        self.waiting = 0
        """How many waiting entries this workflow has in the keyed store."""
        self.waiting_next = 0
        """The number of the next waiting entry; begins again once no entry is left."""
        self.letters_next = 0
        """The open letter to be replayed next; letters are open while this is below `letters_last`."""
        self.letters_last = 0
        """One more than the number of the last letter written in sequence."""
        self.deciding_attempt = 0
        """Failed attempts to decide one event."""
        self.deciding_due_ms = 0
        self.deciding_event = ""
        """Which one, if no waiting entry holds it: a timer, a result, a replay. Empty: the head."""
        # Takeovers that found the callbacks of the event at the head without an end.
        self.deciding_starts = 0
        self.parked: str | None = None
        """Why it is parked: failed, crashed, loop, no_place, cut_failed."""
        self.failure: Failure | None = None
        self.loop = 0
        """Transitions since the last record from outside, those of timers left out (1,000 park it)."""
        # Where the shard's counts have this workflow now; not part of the bytes.
        self.counted: Any = None
        # No fewer bytes than its data and the causes of its runs take; not part of the bytes either.
        self.size = 0
        # Its bytes once its run is done, if nothing else has changed by then since the last cut.
        self.relieved: bytes | None = None


class Snapshotted(NamedTuple):
    """What the first line of a snapshot tells without decoding the rest."""

    format: int
    machine: str
    version: int
    state: str
    status: str
    """A `Status`, or what stands for it where the line can not be read."""
    due_ms: int
    """When this workflow next needs its shard: the least due time of timers and retries, or 0."""
    needs: str
    """
    `t` has timers, `o` owes a run, `w` has waiting entries, `s` is stopped (parked, paused, expected),
    `j` has jobs, `e` has ended, and due is since when.
    """
