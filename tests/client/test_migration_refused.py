"""Moving an app between logs: what is refused, and what others do meanwhile that is found."""

from __future__ import annotations

import pytest

from event_center.client.migration import plan
from event_center.client.survey import Cargo
from event_center.errors import ConfigurationError, EventCenterError, MigrationError
from event_center.model import Outgoing, Shard
from event_center.wire import migration as note_wire
from event_center.wire.entries import SHARD_KEY, ShardEntry, snapshot_key, waiting_key
from event_center.wire.migration import MIGRATION_KEY
from tests.client.two_logs import (
    ALL,
    SOURCE_SHARDS,
    HalfWay,
    Memory,
    crashing,
    moved,
)


@pytest.fixture
def source() -> HalfWay:
    """An app half-way."""
    return HalfWay()


async def _refused(
    source: HalfWay, target: Memory, says: str, kinds: frozenset[Cargo] = ALL
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
    source.read_everything()
    target = Memory(2)
    await target.log.publish([Outgoing("orders", b"o-1", b"{}")])
    await moved(source, target, frozenset())
    assert sum(map(len, target.lines("orders"))) == 1


async def test_another_migration(source: HalfWay) -> None:
    """What another log left, or this one before somebody worked on it, is not mixed with it."""
    target = Memory(2)
    assert await crashing(source, target, 40)
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
    assert await crashing(source, target, 40)
    await _refused(source, target, "--with-history", frozenset({Cargo.BACKLOG}))
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
    assert await crashing(source, middle, 40)
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


async def test_what_came_after_the_end(source: HalfWay) -> None:
    """Run once more, it does not say of what came to the source since, or was left there, that it moved."""
    target, none = Memory(2), frozenset[Cargo]()
    source.read_everything()
    await moved(source, target, none)
    assert (await moved(source, target, none)).earlier
    await _refused(
        source, target, "moved before, without --with-history", frozenset({Cargo.HISTORY})
    )
    await source.log.publish([Outgoing("orders", b"o-1", b"{}")])
    await _refused(source, target, r"records were published to it \(orders 1\) since", none)
    with pytest.raises(MigrationError, match="since"):
        await plan(source.side, target.side, target.side, none)
    source.read_everything()
    source.entries[0].cut += 1
    source.put(0, SHARD_KEY, source.entries[0].encode())
    await _refused(source, target, "a daemon has worked on it since", none)


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
            source.side._replace(partitioner="crc32"), None, target.side, frozenset({Cargo.BACKLOG})
        )
