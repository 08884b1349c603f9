"""Stats: the sums over all shards, and how much is still to be read."""

from __future__ import annotations

import pytest

from event_center.client.stats import stats
from event_center.errors import FormatError
from event_center.model import Shard, Status
from event_center.wire.entries import SHARD_KEY, Counted, ShardEntry
from tests.client.shelf import Shelf, outgoing


async def test_a_log_without_a_cut_counts_nothing(shelf: Shelf) -> None:
    """Before the first cut everything is zero, and what was published is lag."""
    await shelf.log.publish([outgoing("orders", "o-1")] * 3)
    counted = await stats(shelf.log, shelf.app)
    assert counted["events"] == {
        "read": 0,
        "applied": 0,
        "ignored": 0,
        "rejected": 0,
        "duplicate": 0,
        "dead_lettered": 0,
        "forwarded": 0,
        "discarded": 0,
        "waiting": 0,
    }
    assert counted["waiting"] == {"queued": 0, "deferred": 0, "held": 0, "parked": 0}
    assert counted["workflows"] == {"total": 0, "by_state": {}, "by_status": {}}
    assert counted["lag"] == 3


async def test_shards_are_summed(shelf: Shelf) -> None:
    """Counters are the sums over all shards; the books balance as each shard's do."""
    one, two = ShardEntry(), ShardEntry()
    one.read, two.read = 5, 7
    one.outcomes["applied"], two.outcomes["applied"] = 4, 5
    one.waiting["queued"], two.waiting["deferred"] = 1, 2
    one.transitions, two.timers, two.runs, one.redelivered = 4, 1, 3, 2
    one.jobs, two.jobs = 3, 2
    place = Counted("order", 1, "running", Status.ACTIVE)
    one.counts = {place: 2, place._replace(state="done", status=Status.FINAL): 1}
    two.counts = {place: 1, place._replace(version=2): 4}
    shelf.shard_entry(0, one)
    shelf.shard_entry(1, two)
    counted = await stats(shelf.log, shelf.app)
    events = counted["events"]
    assert (events["read"], events["applied"], events["waiting"]) == (12, 9, 3)
    assert events["read"] == sum(events.values()) - events["read"]
    assert counted["waiting"] == {"queued": 1, "deferred": 2, "held": 0, "parked": 0}
    assert [counted[name] for name in ("transitions", "timers", "runs", "redelivered")] == [
        4,
        1,
        3,
        2,
    ]
    assert counted["jobs"] == 5
    assert counted["workflows"] == {
        "total": 8,
        "by_state": {"order": {"done": 1, "running": 7}},
        "by_status": {"active": 7, "final": 1},
    }


async def test_lag_is_what_lies_behind_the_offsets(shelf: Shelf) -> None:
    """Each consumed topic tells offset, watermark and lag of its partitions; letters are counted."""
    await shelf.log.publish([outgoing("orders", f"o-{n}") for n in range(10)])
    await shelf.log.publish([outgoing("app.commands", "o-1"), outgoing("app.inbox", "o-1")])
    await shelf.letter("o-1", b"{}")
    written = len(shelf.broker.line(("orders", 0)))
    entry = ShardEntry()
    entry.offsets = {"orders": written - 1}
    shelf.shard_entry(0, entry)
    counted = await stats(shelf.log, shelf.app)
    orders = counted["topics"]["orders"]
    assert orders["partitions"][0] == {
        "partition": 0,
        "offset": written - 1,
        "watermark": written,
        "lag": 1,
    }
    assert orders["lag"] == 1 + 10 - written
    assert counted["lag"] == orders["lag"] + 2
    assert (counted["letters"], counted["history"]) == (1, 0)


async def test_an_entry_of_another_release_is_an_error(shelf: Shelf) -> None:
    """A shard entry that can not be read is told, not counted as nothing."""
    shelf.cut(Shard(1), {SHARD_KEY: b'{"format": 99}'})
    with pytest.raises(FormatError, match="format 99"):
        await stats(shelf.log, shelf.app)
