"""
Moving an app from one log to another: its workflows, what waits, its letters, on request the rest.

The source is only read. Numbered steps, each of which may be the last before a crash; run again, it
goes on where it was and ends the same:
    1. surveyed: all of the source was read and understood; its daemons are stopped
    2. taken: every shard of the target is ours, and holds nothing, or what we left
    3. noted: every shard says that a migration is under way, so that no daemon serves it
    4. copied: entries, then records, each cut with its progress
    5. moved: the shard entries, with counters that add up
    6. compared: both sides hold the same, and nobody has touched the source meanwhile
    7. done: shard by shard, daemons may serve them

The terminal's `migrate` calls this through the app room. `survey` has step 1, `moving` the writing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from event_center.client.moving import CUT_PARTS, Placing, TargetShard, stage_of, taken
from event_center.client.survey import Cargo, Side, Stretch, Survey, survey, unread, watermarks
from event_center.client.tally import Tally
from event_center.errors import MigrationError
from event_center.model import Outgoing, Shard
from event_center.wire.entries import SHARD_KEY, is_snapshot, is_waiting, waiting_of, workflow_of
from event_center.wire.migration import MIGRATION_KEY, Note, Stage, decode, unplaced

Tell = Callable[[str, int, int], None]
"""Hears the step, what is done of it, and of how much."""


class Moved(NamedTuple):
    """What a migration did, or would do."""

    survey: Survey
    earlier: bool
    """It had ended before; nothing was written now, or would be."""


async def plan(source: Side, target: Side | None, layout: Side, kinds: frozenset[Cargo]) -> Moved:
    """
    What would move; nothing is written.

    Args:
        source: where the app is.
        target: where it is to go; None: that log is yet to be made.
        layout: the target's app, whether or not its log exists; its log is not looked at.
        kinds: what to copy besides the live state.

    Raises:
        MigrationError: it could not.
    """
    await _check_stopped(source)
    found = await survey(source, layout, kinds)
    notes = [] if target is None else await _notes(target)
    if target is not None:
        _check_notes(source, target, found, notes)
        if not notes:
            await _check_unused(target, found)
    stages = {note.stage for note in notes}
    if stages == {Stage.DONE}:
        _check_moved(source, found, kinds, notes[0])
    elif Stage.DONE not in stages:
        _check_lag(source, found, kinds)
    return Moved(found, earlier=stages == {Stage.DONE})


async def migrate(
    source: Side, target: Side, kinds: frozenset[Cargo], tell: Tell, *, cut_parts: int = CUT_PARTS
) -> Moved:
    """
    Move everything, or go on with a migration that was killed; in cuts of so many parts.

    Raises:
        MigrationError: it can not begin, or not go on; the message says what to do.
        LogError: one of the logs failed; run it again.
    """
    await _check_stopped(source)
    found = await survey(source, target, kinds)
    tell("surveyed", found.entries.count, found.entries.count)
    async with taken(target, cut_parts) as shards:
        stages = {stage_of(shard) for shard in shards.values()}
        if any(shard.foreign for shard in shards.values()):
            raise MigrationError(_not_empty(target))
        notes = [shard.note for shard in shards.values() if shard.note is not None]
        _check_notes(source, target, found, notes)
        if stages == {Stage.DONE}:
            _check_moved(source, found, kinds, notes[0])
        elif Stage.DONE not in stages:
            _check_lag(source, found, kinds)
            await _check_records(target, found, list(shards.values()))
            await _Migration(source, target, shards, found, kinds, tell).run()
        for shard in shards.values():
            if shard.note is not None and shard.note.stage is not Stage.DONE:
                await shard.note_down(shard.note._replace(stage=Stage.DONE))
                tell("done", shard.shard + 1, len(shards))
    return Moved(found, earlier=stages == {Stage.DONE})


async def _check_stopped(source: Side) -> None:
    there = await source.log.members()
    if there:
        raise MigrationError(
            f"a daemon runs on the source, {source.log.where}: {', '.join(there)}; stop it first (one "
            "that was killed, or has an instance_id, is forgotten after its session timeout)"
        )


def _check_lag(source: Side, found: Survey, kinds: frozenset[Cargo]) -> None:
    if sum(found.lag.values()) and Cargo.BACKLOG not in kinds:
        raise MigrationError(
            f"{source.log.where} has records that no daemon has read: {unread(found.lag)}; let one read "
            "them first (`event-center run --until-idle`), or copy them, --with-backlog"
        )


def _not_empty(target: Side) -> str:
    return (
        f"the target, {target.log.where}, is not empty: a daemon has worked on it; name an empty log, as "
        "another [log] path, or another [log.kafka] topic_prefix"
    )


def _check_notes(source: Side, target: Side, found: Survey, notes: list[Note]) -> None:
    """The target holds what this very migration left, if anything."""
    for note in notes:
        same = note.log == found.log
        if not same or (note.stage is not Stage.DONE and note.cuts != found.cuts):
            other = "another log" if not same else "a log on which a daemon has worked since"
            raise MigrationError(
                f"the target, {target.log.where}, holds a migration from {note.source}, which is "
                f"{other} than {source.log.where} as it is now: name an empty log, or remove this one"
            )


def _check_moved(source: Side, found: Survey, kinds: frozenset[Cargo], note: Note) -> None:
    """All that is asked for has moved: nothing was left in the source, or has come to it since."""
    left = sorted(set(kinds) - set(note.kinds))
    if left:
        raise MigrationError(
            f"{source.log.where} was moved before, without --with-{left[0]}: name an empty log to move "
            "all of it there"
        )
    since = ""
    if note.cuts != found.cuts:
        since = "a daemon has worked on it"
    elif sum(found.lag.values()) and Cargo.BACKLOG not in note.kinds:
        since = f"records were published to it ({unread(found.lag)})"
    if since:
        raise MigrationError(
            f"{source.log.where} was moved before, and {since} since: that is not in the target. Let "
            "nobody publish to it or run a daemon on it; to move it as it is now, name an empty log"
        )


async def _notes(target: Side) -> list[Note]:
    """What earlier migrations left in the target, as far as it can be seen without a lease."""
    found = [
        await target.log.entry(shard, MIGRATION_KEY)
        for shard in map(Shard, range(target.app.shards))
    ]
    return [decode(value) for value in found if value is not None]


async def _check_unused(target: Side, found: Survey) -> None:
    """As far as it can be seen without a lease."""
    for shard in map(Shard, range(target.app.shards)):
        if await target.log.entry(shard, SHARD_KEY) is not None:
            raise MigrationError(_not_empty(target))
    await _check_records(target, found, [])


async def _check_records(target: Side, found: Survey, shards: list[TargetShard]) -> None:
    """The center's own topics are empty, and so is every topic to which records are to be copied."""
    app = target.app
    if any(shard.note is not None for shard in shards):
        own: set[str] = set()
    else:
        own = {app.inbox, app.commands, app.history, app.dead_letters}
    copied = {one.topic for one in found.stretches}
    ours = {topic for topic in copied if any(shard.copied_from(topic) for shard in shards)}
    full: dict[str, int] = {}
    for (topic, _), watermark in (await watermarks(target)).items():
        if watermark and topic in (own | copied) - ours:
            full[topic] = full.get(topic, 0) + watermark
    if full:
        raise MigrationError(
            f"the target, {target.log.where}, has records already: {unread(full)}; what is copied would "
            "come behind them. Name an empty log; or, if only publishers have moved there, let a daemon "
            "read the source to its end and migrate without --with-backlog"
        )


class _Migration:
    """Steps 3 to 6."""

    def __init__(  # noqa: PLR0917 - made in one place, of six different things
        self,
        source: Side,
        target: Side,
        shards: dict[Shard, TargetShard],
        found: Survey,
        kinds: frozenset[Cargo],
        tell: Tell,
    ) -> None:
        self._source = source
        self._target = target
        self._shards = shards
        self._found = found
        self._tell = tell
        self._tallies: dict[str, Tally] = {}
        """By topic: what was to be copied."""
        self._kinds = kinds

    async def run(self) -> None:
        """Go from a target that is taken to one that is known to be right."""
        await self._note()
        await self._copy_entries()
        there, here = await self._source.log.topics(), await self._target.log.topics()
        sizes = {
            name: (there[name].partitions, here[name].partitions) for name in there.keys() & here
        }
        placing = Placing(self._source, self._target, sizes)
        for stretch in self._found.stretches:
            await self._copy_records(stretch, placing)
        for shard in self._shards.values():
            await shard.rest()
        await self._finish()
        await self._compare()

    async def _note(self) -> None:
        for shard in self._shards.values():
            earlier = shard.note.kinds if shard.note is not None else ()
            missing = sorted(set(earlier) - set(self._kinds))
            if missing:
                raise MigrationError(
                    "this migration was begun with "
                    f"{' and '.join(f'--with-{kind}' for kind in missing)}: say so again"
                )
        kinds = tuple(sorted(self._kinds))
        for shard in self._shards.values():
            found = self._found
            note = Note(Stage.MOVING, self._source.log.where, found.log, found.cuts, kinds, {})
            await shard.note_down(note)
            self._tell("noted", shard.shard + 1, len(self._shards))

    async def _copy_entries(self) -> None:
        home, done = self._target.app.home, 0
        for number in range(self._source.app.shards):
            async for batch in self._source.log.entries(Shard(number)):
                for key, value in batch:
                    if is_snapshot(key):
                        workflow_id = workflow_of(key)
                        moved = unplaced(workflow_id, value)
                        await self._shards[home(workflow_id)].put(key, moved)
                    elif is_waiting(key):
                        await self._shards[home(waiting_of(key)[0])].put(key, value)
                    else:
                        continue
                    done += 1
                self._tell("workflows", done, self._found.entries.count)
        for shard in self._shards.values():
            await shard.rest()
            self._tell("workflows", done, self._found.entries.count)

    async def _copy_records(self, stretch: Stretch, placing: Placing) -> None:
        tally = self._tallies.setdefault(stretch.topic, Tally())
        topic, place = stretch.topic, stretch.place
        async for batch in self._source.log.read(
            topic, stretch.partition, stretch.start, stretch.stop
        ):
            for record in batch:
                tally.record(record)
                partition = placing.of(stretch, record)
                shard = self._shards[Shard(partition % len(self._shards))]
                if not shard.has(place, record.offset):
                    at_ms = record.timestamp_ms
                    copy = Outgoing(
                        topic, record.key, record.value, record.headers, partition, at_ms
                    )
                    await shard.append(copy, place, record.offset)
            self._tell(topic, tally.count, self._found.records(topic))

    async def _finish(self) -> None:
        for shard in self._shards.values():
            if shard.note is not None:
                entry = self._found.shards[shard.shard]
                await shard.note_down(shard.note._replace(stage=Stage.MOVED), entry.encode())
                self._tell("moved", shard.shard + 1, len(self._shards))

    async def _compare(self) -> None:
        """
        Read both sides, and make sure that they are alike.

        Raises:
            MigrationError: they are not.
        """
        entries = Tally()
        for number in range(self._target.app.shards):
            async for batch in self._target.log.entries(Shard(number)):
                for key, value in batch:
                    if is_snapshot(key) or is_waiting(key):
                        entries.add(key, value)
                self._tell("compared", entries.count, self._found.entries.count)
        self._alike("workflows and waiting events", self._found.entries, entries)
        infos = await self._target.log.topics()
        for topic, tally in self._tallies.items():
            arrived = Tally()
            for partition in range(infos[topic].partitions):
                async for records in self._target.log.read(topic, partition):
                    for record in records:
                        arrived.record(record)
            self._alike(f"records of {topic}", tally, arrived)
        await self._check_untouched()

    def _alike(self, what: str, left: Tally, right: Tally) -> None:
        if left != right:
            raise MigrationError(
                f"the target has not the same {what} as the source: {right} instead of {left}; somebody "
                f"else wrote to {self._target.log.where} meanwhile: empty it, and begin again"
            )

    async def _check_untouched(self) -> None:
        await _check_stopped(self._source)
        again = await survey(self._source, self._target, self._kinds)
        if again.cuts != self._found.cuts or again.entries != self._found.entries:
            raise MigrationError(
                f"a daemon has worked on {self._source.log.where} meanwhile: stop it, empty the target, "
                "and begin again"
            )
        if again.lag != self._found.lag:
            raise MigrationError(
                f"records were published to {self._source.log.where} meanwhile: "
                f"{unread(again.lag)} are unread; stop its publishers, and run migrate again with "
                "--with-backlog"
            )
