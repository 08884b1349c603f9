"""
Keys of a shard's keyed store, and its shard entry: what the shard has read and what became of it.

The ledger writes these in every cut and a takeover reads them; `stats` reads the shard entry from the
log without a daemon. The bytes are described in docs/formats.md and may only change with a new format.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import orjson

from event_center.errors import FormatError, InvariantError
from event_center.model import Outcome, Status
from event_center.wire import shapes

SHARD_FORMAT = 1
SHARD_KEY = b"shard"
_SNAPSHOT = b"s:"
_WAITING = b"w:"
_TEXTS = {"topic_ids", "machines"}
"""The mappings that hold texts; all others hold numbers."""
_NOT_NOTED = {"partitioner": "", "owner": "", "takeovers": 0}
"""What stands for the fields that an earlier release did not write."""


class Counted(NamedTuple):
    """Where a workflow stands, as counted in the shard entry."""

    machine: str
    version: int
    state: str
    status: Status


def snapshot_key(workflow_id: str) -> bytes:
    """The key of a workflow's snapshot."""
    return _SNAPSHOT + workflow_id.encode()


def waiting_key(workflow_id: str, number: int) -> bytes:
    """The key of a workflow's waiting entry with this number; keys sort as the numbers do."""
    return b"%b%b\x00%012d" % (_WAITING, workflow_id.encode(), number)


def waiting_prefix(workflow_id: str) -> bytes:
    """What the keys of all waiting entries of a workflow begin with."""
    return b"%b%b\x00" % (_WAITING, workflow_id.encode())


def is_snapshot(key: bytes) -> bool:
    """Whether this is the key of a snapshot."""
    return key.startswith(_SNAPSHOT)


def is_waiting(key: bytes) -> bool:
    """Whether this is the key of a waiting entry."""
    return key.startswith(_WAITING)


SNAPSHOTS = _SNAPSHOT
"""The prefix of all snapshot keys."""


def workflow_of(key: bytes) -> str:
    """The workflow_id in a snapshot's key."""
    return key[len(_SNAPSHOT) :].decode()


def waiting_of(key: bytes) -> tuple[str, int]:
    """The workflow_id and the number in a waiting entry's key."""
    workflow_id, _, number = key[len(_WAITING) :].rpartition(b"\x00")
    return workflow_id.decode(), int(number)


_NO_OUTCOMES: dict[str, int] = dict.fromkeys(map(str, Outcome), 0)


class ShardEntry:
    """
    What a shard has read and what became of it, as of one cut.

    `read` counts every record taken in; `outcomes` and `waiting` say where each of them is. Both sides
    are counted in different places, and at every cut they are equal (promise P1).
    """

    __slots__ = (
        "counts",
        "cut",
        "jobs",
        "lost",
        "machines",
        "offsets",
        "outcomes",
        "owner",
        "partitioner",
        "read",
        "redelivered",
        "renewed",
        "runs",
        "shards",
        "takeovers",
        "timers",
        "topic_ids",
        "transitions",
        "waiting",
    )

    def __init__(self) -> None:
        self.cut = 0
        """The number of cuts made by all owners of this shard."""
        self.owner = ""
        """Who made the last cut: host and process id. Empty: a release that did not note it."""
        self.takeovers = 0
        """How many times a process has restored this shard and gone on to cut it."""
        self.offsets: dict[str, int] = {}
        """The next offset of each partition that is read, by the name of `log.ownership.offset_key`."""
        self.topic_ids: dict[str, str] = {}
        """The id that each topic had: another one means that it was deleted and made anew."""
        self.renewed: dict[str, int] = {}
        """How often the shard has gone on with a topic that was made anew."""
        self.lost: dict[str, int] = {}
        """Records that were gone before they were read, by the names of `offsets`; not in `read`."""
        self.shards = 0
        """The number of shards: another one means other homes. 0: not noted yet."""
        self.partitioner = ""
        """Its name: another one means other homes. Empty: written by a release that did not note it."""
        self.read = 0
        self.redelivered = 0
        self.outcomes = dict(_NO_OUTCOMES)
        self.waiting = {"queued": 0, "deferred": 0, "held": 0, "parked": 0}
        self.transitions = 0
        self.timers = 0
        """Timers that fired."""
        self.runs = 0
        """Runs of callbacks that ended, failed attempts included."""
        self.jobs = 0
        """Jobs of all workflows that have not ended: under way, to be tried again, or stopped."""
        self.counts: dict[Counted, int] = {}
        self.machines: dict[str, str] = {}
        """`name@version` → content hash of every machine version that ran in this shard."""

    def check(self) -> None:
        """
        Promise P1: every record that was read is somewhere.

        Raises:
            InvariantError: one is not.
        """
        if self.read != sum(self.outcomes.values()) + sum(self.waiting.values()):
            raise InvariantError(
                f"records do not add up: read {self.read}, outcomes {self.outcomes}, "
                f"waiting {self.waiting}"
            )

    def encode(self) -> bytes:
        """The entry's value."""
        return orjson.dumps(
            {
                "format": SHARD_FORMAT,
                "cut": self.cut,
                "owner": self.owner,
                "takeovers": self.takeovers,
                "offsets": self.offsets,
                "topic_ids": self.topic_ids,
                "renewed": self.renewed,
                "lost": self.lost,
                "shards": self.shards,
                "partitioner": self.partitioner,
                "read": self.read,
                "redelivered": self.redelivered,
                "outcomes": self.outcomes,
                "waiting": self.waiting,
                "transitions": self.transitions,
                "timers": self.timers,
                "runs": self.runs,
                "jobs": self.jobs,
                "counts": [[*place, n] for place, n in self.counts.items() if n],
                "machines": self.machines,
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> ShardEntry:
        """
        Read an entry back.

        Raises:
            FormatError: it was written by a newer release, or it is damaged.
        """
        try:
            body: dict[str, Any] = dict(_NOT_NOTED, **orjson.loads(value))
            if body["format"] != SHARD_FORMAT:
                msg = (
                    f"the shard entry has format {body['format']}, this release reads "
                    f"{SHARD_FORMAT}: run the release that wrote it, or a newer one"
                )
                raise FormatError(msg)
            entry = cls.__new__(cls)
            body = {"renewed": {}, "lost": {}, "shards": 0, "jobs": 0, **body}
            entry.counts = {
                Counted(machine, version, state, Status(status)): n
                for machine, version, state, status, n in body["counts"]
            }
            shapes.whole_numbers(entry.counts.values())
            plain = shapes.check([body[name] for name in _KINDS], _TYPES)
            for name, part in zip(_KINDS, plain, strict=True):
                setattr(entry, name, part)
            for name, least in _MAPPINGS.items():
                _check_mapping(name, body[name], least)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            msg = (
                f"the shard entry can not be read ({error!r}), so what was decided is not known: "
                "put back a copy of the log, or name another log in [log] of the settings and "
                "publish again what it is to decide"
            )
            raise FormatError(msg) from error
        return entry


_EMPTY = {name: getattr(ShardEntry(), name) for name in ShardEntry.__slots__ if name != "counts"}
_KINDS = {name: type(empty) for name, empty in _EMPTY.items()}
_TYPES = tuple(_KINDS.values())
_MAPPINGS = {name: empty.keys() for name, empty in _EMPTY.items() if isinstance(empty, dict)}
"""The mappings, and what each has at least."""


def _check_mapping(name: str, mapping: dict[str, Any], least: AbstractSet[str]) -> None:
    (shapes.texts if name in _TEXTS else shapes.whole_numbers)(mapping.values())
    if not mapping.keys() >= least:
        raise KeyError(f"{name} of {sorted(least)}")
