"""Moving an app between logs: what arrives, what a crash may not change, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest

from event_center.client import moving
from event_center.client.migration import plan
from event_center.client.survey import Kind
from event_center.errors import ConfigurationError, EventCenterError, MigrationError
from event_center.log.memory import Ending
from event_center.model import Outgoing, Shard
from event_center.wire import migration as note_wire
from event_center.wire.entries import SHARD_KEY, ShardEntry, is_snapshot, snapshot_key, waiting_key
from event_center.wire.migration import MIGRATION_KEY, Stage
from tests.client.two_logs import (
    ALL,
    SOURCE_SHARDS,
    WORKFLOWS,
    HalfWay,
    Memory,
    moved,
    snapshots,
)


@pytest.fixture
def source() -> HalfWay:
    """An app half-way."""
    return HalfWay()


@pytest.fixture(autouse=True)
def _small_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many cuts, so that a crash can come between any two."""
    monkeypatch.setattr(moving, "CUT_PARTS", 3)


def _totals(memory: Memory) -> Counter[str]:
    """The counters of all shards, and the workflows by where they are."""
    sums: Counter[str] = Counter()
    for entry in memory.counted():
        sums.update(entry.outcomes)
        sums.update({f"waiting {cause}": count for cause, count in entry.waiting.items()})
        sums.update({str(place): count for place, count in entry.counts.items()})
        names = ("read", "redelivered", "transitions", "timers", "runs")
        sums.update({name: getattr(entry, name) for name in names})
    return sums


def _contents(memory: Memory, topic: str) -> list[tuple[object, ...]]:
    """The records of a topic, wherever they lie."""
    return sorted((tuple(r[1:]) for line in memory.lines(topic) for r in line), key=repr)


@pytest.mark.parametrize("shards", [1, 2, SOURCE_SHARDS, 5])
async def test_everything_arrives(source: HalfWay, shards: int) -> None:
    """With any number of shards: every workflow at home, with all but where it was read; P1 holds."""
    target = Memory(shards)
    before = source.everything()
    done = await moved(source, target)
    assert source.everything() == before
    assert (done.survey.workflows, done.survey.waiting) == (WORKFLOWS, 10)
    there, here = snapshots(source), snapshots(target)
    assert here.keys() == there.keys()
    for workflow_id, (shard, snapshot) in here.items():
        assert shard == target.app.home(workflow_id)
        assert snapshot.seen == {}
        former = there[workflow_id][1]
        names = [name for name in type(snapshot).__slots__ if name != "seen"]
        assert all(getattr(snapshot, name) == getattr(former, name) for name in names)
    waits = {key: value for key, (_, value) in source.store().items() if not is_snapshot(key)}
    arrived = {key: value for key, (_, value) in target.store().items() if not is_snapshot(key)}
    assert arrived == waits
    assert _totals(target) == _totals(source)
    for entry in target.counted():
        assert entry.read == sum(entry.outcomes.values()) + sum(entry.waiting.values())
        assert (entry.offsets, entry.topic_ids, entry.shards) == ({}, {}, shards)
        assert entry.machines == {"order@1": "abc"}


@pytest.mark.parametrize("shards", [1, SOURCE_SHARDS, 5])
async def test_records_arrive(source: HalfWay, shards: int) -> None:
    """Letters, history and what nobody has read are there, byte for byte, at their workflows' homes."""
    target = Memory(shards)
    await moved(source, target)
    for topic in ("app.dead-letters", "app.history", "app.inbox", "app.commands"):
        assert _contents(target, topic) == _contents(source, topic)
    unread = [r[1:] for line in source.lines("orders") for r in line]
    for record in source.lines("orders")[0][:2]:
        unread.remove(record[1:])
    assert _contents(target, "orders") == sorted(unread, key=repr)
    for shard, line in enumerate(target.lines("orders")):
        named = [record.key.decode() for record in line if record.key]
        assert all(target.app.home(workflow_id) == shard for workflow_id in named)
    if shards == SOURCE_SHARDS:
        assert target.lines("app.dead-letters") == source.lines("app.dead-letters")


async def test_without_history(source: HalfWay) -> None:
    """History stays behind unless it is asked for."""
    target = Memory(2)
    await moved(source, target, frozenset({Kind.BACKLOG}))
    assert target.lines("app.history") == [[], []]


async def _crashing(source: HalfWay, target: Memory, at: int) -> bool:
    """Migrate with a process that is killed at its so-manieth wait for the target; whether it was."""
    log, count = target.log, 0

    async def kill(_place: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            log.crash()
            raise KeyboardInterrupt

    log.faults.on_await = kill
    try:
        await moved(source, target)
    except KeyboardInterrupt:
        return True
    finally:
        log.faults.on_await = None
        target.log = target.opened()
    return False


@pytest.mark.parametrize("shards", [2, SOURCE_SHARDS])
async def test_killed_anywhere(source: HalfWay, shards: int) -> None:
    """Killed at any wait for the target and run again, it ends as if nothing had been."""
    whole = Memory(shards)
    await moved(source, whole)
    at, killed = 0, True
    while killed:
        at += 1
        target = Memory(shards)
        killed = await _crashing(source, target, at)
        await moved(source, target)
        assert target.everything() == whole.everything(), f"killed at wait {at}"
    assert at > 60


async def test_killed_again_and_again(source: HalfWay) -> None:
    """Killed a little later each time, it comes to its end all the same."""
    whole, target = Memory(2), Memory(2)
    await moved(source, whole)
    at = 1
    while await _crashing(source, target, at):
        at += 7
    assert target.everything() == whole.everything()


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.WRITTEN, Ending.WRITTEN_LATER])
async def test_a_commit_that_nobody_knows_of(source: HalfWay, ending: Ending) -> None:
    """After any commit that was lost, or written without an answer, it says so, and goes on later."""
    whole = Memory(2)
    await moved(source, whole)
    for number in range(12):
        target = Memory(2)
        target.broker.faults.commits.extend([*[None] * (number * 3), ending])  # type: ignore[list-item]
        with pytest.raises(MigrationError, match="run it again"):
            await moved(source, target)
        await moved(source, target)
        assert target.everything() == whole.everything()


async def test_twin_without_progress(source: HalfWay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the progress in the cuts, records of a migration that was killed come twice."""
    target = Memory(2)

    def kill(step: str, _done: int, _total: int) -> None:
        if step == "moved":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await moved(source, target, tell=kill)
    monkeypatch.setattr(moving.TargetShard, "has", lambda *_: False)
    with pytest.raises(MigrationError, match="not the same records of"):
        await moved(source, target)


async def test_a_target_that_is_not_whole_is_not_served(source: HalfWay) -> None:
    """From the first cut to the last step each shard refuses a daemon, and says the way out."""
    stages: Counter[Stage] = Counter()

    def look(_step: str, _done: int, _total: int) -> None:
        notes = [target.broker.store(Shard(shard)).get(MIGRATION_KEY) for shard in range(2)]
        if None in notes:
            return
        for value in filter(None, notes):
            note = note_wire.decode(value)
            stages[note.stage] += 1
            if note.stage is not Stage.DONE:
                with pytest.raises(ConfigurationError, match="run `event-center migrate` again"):
                    note_wire.check_whole(value)

    target = Memory(2)
    await moved(source, target, tell=look)
    assert set(stages) == set(Stage)
    for shard in range(2):
        note_wire.check_whole(target.broker.store(Shard(shard))[MIGRATION_KEY])


async def test_run_again_after_the_end(source: HalfWay) -> None:
    """Run once more it writes nothing and says so, though a daemon has worked on the target since."""
    target = Memory(2)
    assert not (await moved(source, target)).earlier
    served = ShardEntry()
    served.cut = 99
    target.put(0, SHARD_KEY, served.encode())
    before = target.everything()
    assert (await moved(source, target)).earlier
    assert target.everything() == before


async def test_and_back(source: HalfWay) -> None:
    """What moved to another log with other shards, and from there to a third, is what it was."""
    middle, last = Memory(5), Memory(SOURCE_SHARDS)
    await moved(source, middle)
    await moved(middle, last)
    assert _totals(last) == _totals(source)
    assert last.store().keys() == source.store().keys()
    for topic in ("app.dead-letters", "app.history"):
        assert _contents(last, topic) == _contents(source, topic)


async def test_a_plan_changes_nothing(source: HalfWay) -> None:
    """A plan tells what would move, of an empty target and of one that is yet to be made."""
    target = Memory(2)
    before = target.broker._stores, target.lines("orders")
    for here in (target.side, None):
        found = await plan(source.side, here, target.side, ALL)
        assert (found.workflows, found.waiting) == (WORKFLOWS, 10)
        assert found.records("app.history") == WORKFLOWS
    assert (target.broker._stores, target.lines("orders")) == before


# -- what is refused ---------------------------------------------------------------------------


async def _refused(
    source: HalfWay, target: Memory, says: str, kinds: frozenset[Kind] = ALL
) -> None:
    with pytest.raises(EventCenterError, match=says):
        await moved(source, target, kinds)


async def test_unread_records(source: HalfWay) -> None:
    """Unread records are copied, or the migration does not begin; nothing is written."""
    target = Memory(2)
    await _refused(source, target, r"orders \d+.*--with-backlog", frozenset())
    assert target.store() == {}
    with pytest.raises(MigrationError, match="--with-backlog"):
        await plan(source.side, None, target.side, frozenset())


@pytest.mark.parametrize("which", ["source", "target"])
async def test_a_daemon_that_runs(source: HalfWay, which: str) -> None:
    """Neither side may have a daemon at work; the message names it."""
    target = Memory(2)
    busy = source if which == "source" else target
    group = await busy.opened().join(["orders"], busy.app.shards)
    await _refused(source, target, f"a daemon runs on the {which}.*member 0")
    await group.leave()
    await moved(source, target)


async def test_a_target_in_use(source: HalfWay) -> None:
    """A target that a daemon has worked on, or that has records, is refused."""
    target = Memory(2)
    target.put(1, SHARD_KEY, ShardEntry().encode())
    await _refused(source, target, "not empty")
    with pytest.raises(MigrationError, match="not empty"):
        await plan(source.side, target.side, target.side, ALL)
    for topic in ("app.inbox", "app.dead-letters", "app.history", "orders"):
        target = Memory(2)
        await target.log.publish([Outgoing(topic, b"o-1", b"{}")])
        await _refused(source, target, f"has records already: {topic} 1")


async def test_publishers_may_go_first(source: HalfWay) -> None:
    """Where everything was read, publishers may have moved already: their records are left as they are."""
    for shard, entry in enumerate(source.entries):
        for topic in source.app.consumed():
            entry.offsets[topic] = len(source.lines(topic)[shard])
        source.put(shard, SHARD_KEY, entry.encode())
    target = Memory(2)
    await target.log.publish([Outgoing("orders", b"o-1", b"{}")])
    await moved(source, target, frozenset())
    assert len(_contents(target, "orders")) == 1


async def test_another_migration(source: HalfWay) -> None:
    """What another log left, or this one before somebody worked on it, is not mixed with it."""
    target = Memory(2)
    assert await _crashing(source, target, 40)
    source.entries[1].cut += 1
    source.put(1, SHARD_KEY, source.entries[1].encode())
    await _refused(source, target, "a daemon has worked since")
    other = HalfWay()
    info = other.broker.infos["app.inbox"]
    other.broker.infos["app.inbox"] = info._replace(id="another")
    await _refused(other, target, "another log")


async def test_begun_with_more(source: HalfWay) -> None:
    """What was to be copied when it began has to be said again; more may be asked for."""
    target = Memory(2)
    assert await _crashing(source, target, 40)
    await _refused(source, target, "--with-history", frozenset({Kind.BACKLOG}))
    await moved(source, target)


async def test_what_can_not_be_read(source: HalfWay) -> None:
    """Entries that this release can not read are named, before anything is written."""
    target = Memory(2)
    source.put(0, b"new", b"")
    await _refused(source, target, "b'new' is none of this release")
    del source.broker._stores[Shard(0)][b"new"]
    home = source.app.home("o-1")
    source.put(home, snapshot_key("o-1"), b"2\torder\t1\trunning\tactive\t0\n{}")
    await _refused(source, target, "'o-1'.*format 2")
    assert target.store() == {}


async def test_what_waits_is_not_what_is_said(source: HalfWay) -> None:
    """A waiting entry too few is damage, and is named."""
    home = source.app.home("o-5")
    del source.broker._stores[home][waiting_key("o-5", 1)]
    await _refused(source, Memory(2), "'o-5' has 1 waiting entries, its snapshot says 2")


async def test_the_source_is_itself_not_whole(source: HalfWay) -> None:
    """From a log into which a migration has not ended nothing is moved."""
    middle = Memory(2)
    assert await _crashing(source, middle, 40)
    with pytest.raises(ConfigurationError, match="has not ended"):
        await moved(middle, Memory(3))


async def test_published_meanwhile(source: HalfWay) -> None:
    """Records that came into the source during the migration are found, and copied by the next run."""
    target = Memory(2)
    late = Outgoing("orders", b"o-3", b'{"late": 1}', (), 0)
    told: list[object] = []

    def publish(step: str, _done: int, _total: int) -> None:
        if step == "moved" and not told:
            told.append(source.broker.append([late], 5))

    with pytest.raises(MigrationError, match=r"published.*meanwhile"):
        await moved(source, target, tell=publish)
    await moved(source, target)
    assert b'{"late": 1}' in [r.value for line in target.lines("orders") for r in line]


async def test_a_daemon_starts_meanwhile(source: HalfWay) -> None:
    """A daemon that has begun on the source, though it has cut nothing yet, is found before the end."""
    target = Memory(2)
    log = source.opened()

    async def start(place: str) -> None:
        if place == "entries" and not await source.log.members():
            await log.join(["orders"], SOURCE_SHARDS)

    target.log.faults.on_await = start
    with pytest.raises(MigrationError, match="a daemon runs on the source"):
        await moved(source, target)
    target.log.faults.on_await = None
    await log.close()
    await moved(source, target)


async def test_a_daemon_works_meanwhile(source: HalfWay) -> None:
    """A cut of the source during the migration is found, and the target is not set free."""
    target = Memory(2)

    def cut(step: str, _done: int, _total: int) -> None:
        if step == "moved":
            source.entries[0].cut += 1
            source.put(0, SHARD_KEY, source.entries[0].encode())

    with pytest.raises(MigrationError, match="has worked on"):
        await moved(source, target, tell=cut)
    with pytest.raises(ConfigurationError, match="has not ended"):
        note_wire.check_whole(target.broker.store(Shard(0))[MIGRATION_KEY])


async def test_somebody_else_writes(source: HalfWay) -> None:
    """What did not come from the source is found when both sides are compared."""
    target = Memory(2)

    def publish(step: str, _done: int, _total: int) -> None:
        if step == "moved":
            target.broker.append([Outgoing("app.dead-letters", b"x", b"{}", (), 0)], 5)

    with pytest.raises(MigrationError, match=r"not the same records of app\.dead-letters"):
        await moved(source, target, tell=publish)


async def test_another_partitioner(source: HalfWay) -> None:
    """The settings of the source have to be those that its daemon ran with."""
    target = Memory(2)
    with pytest.raises(MigrationError, match="crc32"):
        await plan(
            source.side._replace(partitioner="crc32"), None, target.side, frozenset({Kind.BACKLOG})
        )
