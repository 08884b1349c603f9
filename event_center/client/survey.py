"""
What a log holds that is to move into another one: workflows, waiting events, letters, what is unread.

Promises: it only reads; what it can not understand is refused here, before anything is written; it
counts everything anew from the entries themselves, so that promise P1 holds on the other side whatever
number of shards that has. `migration` makes a survey first; `moving` writes what it found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from event_center.client.app import App
from event_center.client.stats import shard_entry
from event_center.client.tally import Tally
from event_center.errors import FormatError, MigrationError
from event_center.log.ownership import offset_key
from event_center.log.port import Log
from event_center.model import Shard, Status
from event_center.wire import migration as note_wire
from event_center.wire import snapshot as snapshot_wire
from event_center.wire import waiting as waiting_wire
from event_center.wire.entries import (
    SHARD_KEY,
    Counted,
    ShardEntry,
    is_snapshot,
    is_waiting,
    waiting_of,
    workflow_of,
)
from event_center.wire.migration import MIGRATION_KEY
from event_center.wire.snapshot import STOPPED

SHOWN = 5
"""Problems that a message names one by one: who mends these has most likely mended all."""


class Cargo(StrEnum):
    """What can be copied besides the live state."""

    BACKLOG = "backlog"
    """Records that no daemon has read."""
    HISTORY = "history"


class Side(NamedTuple):
    """One of the two logs, and the app on it."""

    log: Log
    app: App
    partitioner: str
    """Its name, as in the settings."""


class Stretch(NamedTuple):
    """Records of one partition that are to be copied."""

    topic: str
    partition: int
    start: int
    stop: int

    @property
    def place(self) -> str:
        """What a note calls the partition."""
        return f"{self.topic}/{self.partition}"


@dataclass(kw_only=True, slots=True)
class Survey:
    """What was found."""

    log: str
    """The id of the log's inbox."""
    cuts: tuple[int, ...]
    shards: dict[Shard, ShardEntry]
    """What each shard of the target will have counted."""
    lag: dict[str, int]
    """Unread records of each topic."""
    stretches: list[Stretch]
    entries: Tally = field(default_factory=Tally)
    waiting: int = 0
    open_letters: int = 0

    @property
    def workflows(self) -> int:
        """How many there are."""
        return self.entries.count - self.waiting

    def records(self, topic: str) -> int:
        """How many records of a topic are to be copied, at most."""
        return sum(one.stop - one.start for one in self.stretches if one.topic == topic)


async def survey(source: Side, target: Side, kinds: frozenset[Cargo]) -> Survey:
    """
    Look at all of the source, as it will be in the target.

    Raises:
        MigrationError: something of it can not be moved; the message says what, and what to do.
        ConfigurationError: a migration into the source has not ended.
        FormatError: a shard entry can not be read.
    """
    log, app = source.log, source.app
    entries = [await shard_entry(log, shard) for shard in map(Shard, range(app.shards))]
    infos = await log.topics()
    _check_partitioner(source, entries)
    found = Survey(
        log=infos[app.inbox].id if app.inbox in infos else "",
        cuts=tuple(entry.cut for entry in entries),
        shards=_carried(entries, target),
        lag={},
        stretches=[],
    )
    for shard in map(Shard, range(app.shards)):
        await _Shelf(source, target, found).read(shard)
    _check_waiting(source, entries, found)
    for entry in found.shards.values():
        entry.read = sum(entry.outcomes.values()) + sum(entry.waiting.values())
    await _look_at_records(source, entries, found, kinds)
    return found


def _carried(entries: list[ShardEntry], target: Side) -> dict[Shard, ShardEntry]:
    """The totals of shard p go on in shard p, or where p lies if there are fewer."""
    made = {shard: ShardEntry() for shard in map(Shard, range(target.app.shards))}
    machines = {name: known for entry in entries for name, known in entry.machines.items()}
    for number, entry in enumerate(entries):
        into = made[Shard(number % target.app.shards)]
        into.takeovers += entry.takeovers
        into.redelivered += entry.redelivered
        into.transitions += entry.transitions
        into.timers += entry.timers
        into.runs += entry.runs
        for outcome, count in entry.outcomes.items():
            into.outcomes[outcome] += count
        for name, count in entry.lost.items():
            into.lost[name] = into.lost.get(name, 0) + count
    for entry in made.values():
        entry.cut = 1
        entry.shards = target.app.shards
        entry.partitioner = target.partitioner
        entry.machines = dict(machines)
    return made


def _check_partitioner(source: Side, entries: list[ShardEntry]) -> None:
    for entry in entries:
        if entry.partitioner not in {"", source.partitioner}:
            raise MigrationError(
                f"[engine] partitioner of the source is {source.partitioner!r}, but the workflows of "
                f"{source.log.where} live where {entry.partitioner!r} put them: name the settings that "
                "its daemon ran with"
            )


def _check_waiting(source: Side, entries: list[ShardEntry], found: Survey) -> None:
    """What waits is counted in two ways, and both must say the same."""
    told = sum(sum(entry.waiting.values()) for entry in entries)
    if told != found.waiting:
        raise MigrationError(
            f"{source.log.where} says that {told} events wait, and has {found.waiting} of them: it is "
            "damaged, or a daemon works on it; stop the daemon, or put back a copy of the log"
        )


class _Shelf:
    """Reads one shard of the source."""

    def __init__(self, source: Side, target: Side, found: Survey) -> None:
        self._source = source
        self._home = target.app.home
        self._found = found
        self._stopped: dict[str, str] = {}
        """What events of workflows that nothing moves are counted as."""
        self._said: Counter[str] = Counter()
        """How many waiting entries the snapshots speak of."""
        self._waiting: list[tuple[str, bool]] = []
        self._problems: list[str] = []

    async def read(self, shard: Shard) -> None:
        """
        Count everything, and check that it can be read.

        Raises:
            MigrationError: something can not; the message names the first few.
        """
        async for batch in self._source.log.entries(shard):
            for key, value in batch:
                try:
                    self._one(key, value)
                except (FormatError, ValueError) as error:
                    self._problems.append(str(error))
        self._compare()
        if self._problems:
            first = "\n".join(self._problems[:SHOWN])
            raise MigrationError(
                f"shard {shard} of {self._source.log.where} has {len(self._problems)} entries that this "
                f"release can not move; nothing was written:\n{first}"
            )
        for workflow_id, deferred in self._waiting:
            cause = "deferred" if deferred else "queued"
            cause = self._stopped.get(workflow_id, cause)
            self._found.shards[self._home(workflow_id)].waiting[cause] += 1

    def _one(self, key: bytes, value: bytes) -> None:
        if is_snapshot(key):
            self._snapshot(workflow_of(key), key, value)
        elif is_waiting(key):
            workflow_id, _ = waiting_of(key)
            self._waiting.append((workflow_id, waiting_wire.decode(value).deferred))
            self._found.entries.add(key, value)
            self._found.waiting += 1
        elif key == MIGRATION_KEY:
            note_wire.check_whole(value)
        elif key != SHARD_KEY:
            self._problems.append(f"the key {key[:80]!r} is none of this release")

    def _snapshot(self, workflow_id: str, key: bytes, value: bytes) -> None:
        snapshot = snapshot_wire.decode(workflow_id, value)
        where: Counted = snapshot.counted
        if snapshot.status in STOPPED:
            expected = snapshot.status is Status.EXPECTED
            self._stopped[workflow_id] = "held" if expected else "parked"
        if snapshot.waiting:
            self._said[workflow_id] = snapshot.waiting
        self._found.open_letters += snapshot.letters_last - snapshot.letters_next
        entry = self._found.shards[self._home(workflow_id)]
        entry.counts[where] = entry.counts.get(where, 0) + 1
        entry.jobs += len(snapshot.jobs)
        self._found.entries.add(key, note_wire.unplaced(workflow_id, value))

    def _compare(self) -> None:
        has = Counter(workflow_id for workflow_id, _ in self._waiting)
        for workflow_id in has | self._said:
            if has[workflow_id] != self._said[workflow_id]:
                self._problems.append(
                    f"workflow {workflow_id!r} has {has[workflow_id]} waiting entries, its snapshot "
                    f"says {self._said[workflow_id]}"
                )


# -- records -----------------------------------------------------------------------------------


async def watermarks(side: Side) -> dict[tuple[str, int], int]:
    """The watermark of every partition of the app's topics that exist."""
    infos = await side.log.topics()
    names = [*side.app.consumed(), side.app.dead_letters, side.app.history]
    return {
        (name, partition): await side.log.watermark(name, partition)
        for name in names
        for partition in range(infos[name].partitions if name in infos else 0)
    }


async def _look_at_records(
    source: Side, entries: list[ShardEntry], found: Survey, kinds: frozenset[Cargo]
) -> None:
    """Letters move always, history if it is asked for, and unread records too."""
    app = source.app
    whole = {app.dead_letters} | ({app.history} if Cargo.HISTORY in kinds else set())
    for (topic, partition), stop in (await watermarks(source)).items():
        if topic in whole and stop:
            found.stretches.append(Stretch(topic, partition, 0, stop))
        elif topic in app.consumed():
            start = _read_to(entries, app, topic, partition)
            found.lag[topic] = found.lag.get(topic, 0) + max(0, stop - start)
            if stop > start and Cargo.BACKLOG in kinds:
                found.stretches.append(Stretch(topic, partition, start, stop))


def _read_to(entries: list[ShardEntry], app: App, topic: str, partition: int) -> int:
    shard = partition % app.shards
    return entries[shard].offsets.get(offset_key(topic, partition, shard), 0)


def unread(lag: Mapping[str, int]) -> str:
    """The topics with unread records, as messages name them."""
    return ", ".join(f"{topic} {count:,}" for topic, count in lag.items() if count)
