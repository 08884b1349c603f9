"""
The writing side of a migration: the shards of the target, each with its lease and what it gets next.

Promises: what goes into a shard goes through its lease; a cut that appends records says in the same
commit how far it has come, so that none is appended twice; entries may be put twice, as they are the
same. `migration` fills these; `wire.migration` has the note that every cut carries.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio

from event_center.client.survey import Side, Stretch
from event_center.errors import (
    Fenced,
    FormatError,
    MigrationError,
    NotCommitted,
    Undecodable,
    Unknown,
)
from event_center.log.port import Assigned, Cut, Group, Lease
from event_center.model import Outgoing, Record, Shard
from event_center.wire import command, letter
from event_center.wire import migration as note_wire
from event_center.wire.entries import SHARD_KEY
from event_center.wire.migration import MIGRATION_KEY, Note, Stage

CUT_PARTS = 2_000
"""Entries and records in one cut: few enough that no broker and no disk is kept long."""
CUT_BYTES = 2_000_000
"""Bytes of entries and records in one cut: two batches on Kafka, and a moment of a disk."""
TAKE_S = 60.0
"""
How long the group of the target may take to give us every shard: nobody else is in it, so that what
takes a minute hangs.
"""


class TargetShard:
    """One shard of the target, while it is ours."""

    def __init__(self, lease: Lease, cut_parts: int) -> None:
        self.shard = lease.shard
        self.note: Note | None = None
        """What an earlier migration left; None: nothing did."""
        self.foreign = 0
        """Entries of somebody else: workflows, or a shard entry without a note."""
        self._lease = lease
        self._cut_parts = cut_parts
        self._cut = Cut()
        self._size = 0
        self._copied: dict[str, int] = {}

    async def look(self) -> None:
        """See what the shard holds already."""
        entries = 0
        async for batch in self._lease.restore():
            for key, value in batch:
                if key == MIGRATION_KEY:
                    self.note = note_wire.decode(value)
                    self._copied = dict(self.note.copied)
                else:
                    entries += 1
        self.foreign = 0 if self.note is not None else entries

    def has(self, place: str, offset: int) -> bool:
        """Whether this record of the source is here already, or in the cut that comes."""
        return offset < self._copied.get(place, 0)

    def copied_from(self, topic: str) -> bool:
        """Whether records of this topic were copied before."""
        return any(place.rpartition("/")[0] == topic for place in self._copied)

    async def put(self, key: bytes, value: bytes) -> None:
        """One entry."""
        self._cut.entries[key] = value
        await self._grew(len(key) + len(value))

    async def append(self, record: Outgoing, place: str, offset: int) -> None:
        """One record, which lay there in the source."""
        self._cut.records.append(record)
        self._copied[place] = offset + 1
        await self._grew(len(record.key or b"") + len(record.value or b""))

    async def note_down(self, note: Note, shard_entry: bytes | None = None) -> None:
        """Commit what was gathered, with the note of how far this is, and the shard entry if it is done."""
        self.note = note._replace(copied=dict(self._copied))
        cut = self._cut
        cut.entries[MIGRATION_KEY] = self.note.encode()
        if shard_entry is not None:
            cut.entries[SHARD_KEY] = shard_entry
        try:
            # Ctrl-C waits for a cut that is under way, so that what is told then is what is there.
            with anyio.CancelScope(shield=True):
                await self._lease.commit(cut)
        except (Fenced, Unknown, NotCommitted) as error:
            raise MigrationError(
                f"the migration stopped in shard {self.shard} of its target: {error}; run it again, it "
                "goes on where it was"
            ) from error
        self._cut, self._size = Cut(), 0

    async def rest(self) -> None:
        """Commit what was gathered."""
        if self.note is not None and (self._cut.entries or self._cut.records):
            await self.note_down(self.note)

    async def release(self) -> None:
        """Give the shard up."""
        await self._lease.release()

    async def _grew(self, size: int) -> None:
        self._size += size
        parts = len(self._cut.entries) + len(self._cut.records)
        if parts >= self._cut_parts or self._size >= CUT_BYTES:
            await self.rest()


@asynccontextmanager
async def taken(target: Side, cut_parts: int) -> AsyncIterator[dict[Shard, TargetShard]]:
    """
    Become the owner of every shard of the target, which gets at most so many parts in a cut.

    Raises:
        MigrationError: somebody else is in its group.
        LogError: it can not be reached.
    """
    there = await target.log.members()
    if there:
        raise MigrationError(
            f"a daemon runs on the target, {target.log.where}: {', '.join(there)}; stop it first "
            "(one that was killed, or has an instance_id, is forgotten after its session timeout)"
        )
    app = target.app
    group = await target.log.join(app.consumed(), app.shards, urgent=(app.commands,))
    shards: dict[Shard, TargetShard] = {}
    try:
        await _take(group, shards, target, cut_parts)
        yield shards
        for shard in shards.values():
            await shard.release()
    finally:
        with anyio.CancelScope(shield=True):
            await group.leave()


async def _take(
    group: Group, shards: dict[Shard, TargetShard], target: Side, cut_parts: int
) -> None:
    try:
        async with asyncio.timeout(TAKE_S):
            while len(shards) < group.shards:
                change = await group.changes()
                if not isinstance(change, Assigned):
                    raise MigrationError(_taken_away(change.shard, target))
                lease = await group.lease(change.shard, change.token)
                shards[change.shard] = TargetShard(lease, cut_parts)
                await shards[change.shard].look()
    except Fenced as error:
        raise MigrationError(
            f"the target was not given to us: {error}; run migrate again"
        ) from error
    except TimeoutError as error:
        raise MigrationError(
            f"{target.log.where} gave {len(shards)} of its {group.shards} shards within {TAKE_S:g} s: "
            "somebody else is in its group; stop them, and run migrate again"
        ) from error


def _taken_away(shard: Shard, target: Side) -> str:
    return (
        f"shard {shard} of the target, {target.log.where}, went to somebody else: stop the daemons that "
        "run on it, and run migrate again; it goes on where it was"
    )


class Placing:
    """Where the records of the source lie in the target."""

    def __init__(
        self, source: Side, target: Side, partitions: Mapping[str, tuple[int, int]]
    ) -> None:
        """
        Compare the two sides.

        Args:
            source: where records come from.
            target: where they go.
            partitions: how many each topic has there, and here.
        """
        self._app = target.app
        self._partitions = partitions
        self._alike = (source.app.shards, source.partitioner) == (
            target.app.shards,
            target.partitioner,
        )

    def of(self, stretch: Stretch, record: Record) -> int:
        """
        The partition of the target: the same if both sides are alike, else that of the workflow's home.

        What belongs to no workflow, and all of a topic with fewer partitions than shards, is dealt
        round by its partition, which keeps its order.
        """
        there, here = self._partitions[stretch.topic]
        if self._alike and there == here:
            return stretch.partition
        workflow_id = self._workflow(stretch, record) if here >= self._app.shards else None
        return stretch.partition % here if workflow_id is None else self._app.home(workflow_id)

    def _workflow(self, stretch: Stretch, record: Record) -> str | None:
        """Whose record it is, as far as that decides where it lies."""
        app = self._app
        try:
            if stretch.topic == app.history:
                return (record.key or b"").decode() or None
            if stretch.topic == app.commands:
                return command.decode(record.value).workflow_id
            if stretch.topic == app.dead_letters:
                found = letter.read(stretch.topic, stretch.partition, record)
                return None if found.number is None else found.workflow_id
            return app.envelopes[stretch.topic].read(record, stretch.partition)[0]
        except (FormatError, Undecodable, UnicodeDecodeError):
            return None


def stage_of(shard: TargetShard) -> Stage | None:
    """How far a shard is; None: nothing was written."""
    return None if shard.note is None else shard.note.stage
