"""Moving an app between logs: what arrives, what a crash may not change, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest

from event_center.client import moving
from event_center.client.migration import plan
from event_center.client.survey import Cargo
from event_center.errors import ConfigurationError, MigrationError
from event_center.log.memory import Ending
from event_center.model import Shard
from event_center.wire import migration as note_wire
from event_center.wire.entries import SHARD_KEY, ShardEntry, is_snapshot
from event_center.wire.migration import MIGRATION_KEY, Stage
from tests.client.two_logs import (
    ALL,
    SOURCE_SHARDS,
    WORKFLOWS,
    HalfWay,
    Memory,
    crashing,
    moved,
    snapshots,
)


@pytest.fixture
def source() -> HalfWay:
    """An app half-way."""
    return HalfWay()


def _totals(memory: Memory) -> Counter[str]:
    """The counters of all shards, and the workflows by where they are."""
    sums: Counter[str] = Counter()
    for entry in memory.counted():
        sums.update(entry.outcomes)
        sums.update({f"waiting {cause}": count for cause, count in entry.waiting.items()})
        sums.update({str(place): count for place, count in entry.counts.items()})
        names = ("read", "redelivered", "transitions", "timers", "runs", "jobs")
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
    await moved(source, target, frozenset({Cargo.BACKLOG}))
    assert target.lines("app.history") == [[], []]


@pytest.mark.parametrize("shards", [2, SOURCE_SHARDS])
async def test_killed_anywhere(source: HalfWay, shards: int) -> None:
    """Killed at any wait for the target and run again, it ends as if nothing had been."""
    whole = Memory(shards)
    await moved(source, whole)
    at, killed = 0, True
    while killed:
        at += 1
        target = Memory(shards)
        killed = await crashing(source, target, at)
        await moved(source, target)
        assert target.everything() == whole.everything(), f"killed at wait {at}"
    assert at > 60


async def test_killed_again_and_again(source: HalfWay) -> None:
    """Killed a little later each time, it comes to its end all the same."""
    whole, target = Memory(2), Memory(2)
    await moved(source, whole)
    at = 1
    while await crashing(source, target, at):
        at += 7
    assert target.everything() == whole.everything()


@pytest.mark.parametrize("ending", [Ending.LOST, Ending.WRITTEN, Ending.WRITTEN_LATER])
async def test_a_commit_that_nobody_knows_of(source: HalfWay, ending: Ending) -> None:
    """After any commit that was lost, or written without an answer, it says so, and goes on later."""
    whole = Memory(2)
    await moved(source, whole)
    for number in range(12):
        target = Memory(2)
        target.broker.faults.commits.extend([None] * (number * 3))
        target.broker.faults.commits.append(ending)
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
    assert (await plan(source.side, target.side, target.side, ALL)).earlier
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
        found, earlier = await plan(source.side, here, target.side, ALL)
        assert not earlier
        assert (found.workflows, found.waiting) == (WORKFLOWS, 10)
        assert found.records("app.history") == WORKFLOWS
    assert (target.broker._stores, target.lines("orders")) == before
