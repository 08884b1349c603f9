"""
What a migration leaves in the shards of its target: the note that says how far it is, and snapshots
that speak of no place in the log that they came from.

Promises: a note is part of the cut that it tells of, so that a migration that was killed goes on where
it was; a daemon that finds one which is not done refuses the shard (`engine.restoring`). The client
room's `migration` writes notes; docs/formats.md describes the bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from event_center.errors import ConfigurationError, FormatError
from event_center.wire.snapshot import NEXT

MIGRATION_FORMAT = 1
MIGRATION_KEY = b"migration"


class Stage(StrEnum):
    """How far a shard of the target is."""

    MOVING = "moving"
    """Entries and records are being copied."""
    MOVED = "moved"
    """All is there, and nobody has compared it yet."""
    DONE = "done"
    """The shard is whole, and a daemon may have served it since."""


class Note(NamedTuple):
    """How far the migration of one shard of the target is."""

    stage: Stage
    source: str
    """What messages call the log that it comes from."""
    log: str
    """The id of that log's inbox: another one means another log."""
    cuts: tuple[int, ...]
    """The number of cuts of each shard there: another one means that somebody worked on."""
    kinds: tuple[str, ...]
    """What is copied besides: `backlog`, `history`."""
    copied: dict[str, int]
    """`topic/partition` there → the offset before which every record for this shard is here."""

    def encode(self) -> bytes:
        """The entry's value."""
        return orjson.dumps({"format": MIGRATION_FORMAT, **self._asdict()})


def decode(value: bytes) -> Note:
    """
    Read a note back.

    Raises:
        FormatError: it was written by a newer release, or it is damaged.
    """
    try:
        body: dict[str, Any] = orjson.loads(value)
        if body["format"] != MIGRATION_FORMAT:
            raise FormatError(
                f"the note of a migration has format {body['format']}, this release reads "
                f"{MIGRATION_FORMAT}: run the release that wrote it, or a newer one"
            )
        return Note(
            stage=Stage(body["stage"]),
            source=body["source"],
            log=body["log"],
            cuts=tuple(body["cuts"]),
            kinds=tuple(body["kinds"]),
            copied=body["copied"],
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"the note of a migration can not be read ({error!r}): begin with an empty log again"
        ) from error


def check_whole(value: bytes) -> None:
    """
    Make sure that the migration into this shard has ended.

    Raises:
        ConfigurationError: it has not.
        FormatError: its note can not be read.
    """
    note = decode(value)
    if note.stage is not Stage.DONE:
        raise ConfigurationError(
            f"a migration from {note.source} into this log has not ended: run `event-center migrate` "
            "again, it goes on where it was; or go on with the old log, and remove this one"
        )


def unplaced(workflow_id: str, value: bytes) -> bytes:
    """
    A snapshot's value with an empty `seen`: the offsets of one log mean nothing in another.

    Raises:
        FormatError: it can not be read.
    """
    line, _, text = value.partition(b"\n")
    try:
        body = orjson.loads(text)
        body["seen"] = {}
    except (orjson.JSONDecodeError, TypeError) as error:
        raise FormatError(
            f"the snapshot of workflow {workflow_id!r} can not be read ({error!r}); {NEXT}"
        ) from error
    return b"%b\n%b" % (line, orjson.dumps(body))
