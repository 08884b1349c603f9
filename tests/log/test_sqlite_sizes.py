"""Sizes on the embedded log: what could not be written again is a note of its size in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center.log.port import TOO_LARGE
from event_center.log.sqlite.reader import MAX_EVENT_BYTES, PIECE_BYTES
from event_center.model import Outgoing, size_of
from tests.log.harness import SqliteHarness, flat, joined


async def test_an_event_that_is_too_large_is_a_note_of_its_size(tmp_path: Path) -> None:
    """A daemon fetches the events around it whole; whoever reads the log finds the event as it is."""
    harness = SqliteHarness(tmp_path)
    log = await harness.open()
    await log.create({"orders": 1})
    size = MAX_EVENT_BYTES + 1
    values = [b"before", b"x" * size, b"y" * MAX_EVENT_BYTES, b"after"]
    await log.publish([Outgoing("orders", None, value, partition=0) for value in values])
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        found = flat(await member.fetched(4), "orders", 0)
    notes = [dict(record.headers).get(TOO_LARGE) for record in found]
    assert notes == [None, b"%d" % size, None, None]
    assert [len(record.value or b"") for record in found] == [6, 1, MAX_EVENT_BYTES, 5]
    read = [record async for batch in log.read("orders", 0) for record in batch]
    assert [len(record.value or b"") for record in read] == [6, size, MAX_EVENT_BYTES, 5]
    await harness.close()


async def test_key_and_headers_count_as_well(tmp_path: Path) -> None:
    """Where the value has room by itself: to the byte, as the size of every record is counted."""
    harness = SqliteHarness(tmp_path)
    log = await harness.open()
    await log.create({"orders": 1})
    key, headers = b"k" * 512, (("\u00e9", bytes(range(256)) * 400), ("none", b""))
    room = MAX_EVENT_BYTES - size_of(key, None, headers)
    for more in (0, 1):
        value = b"x" * (room + more)
        await log.publish([Outgoing("orders", key, value, headers, partition=0)])
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        fits, over = flat(await member.fetched(2), "orders", 0)
    assert (len(fits.value or b""), fits.headers) == (room, headers)
    assert (over.key, over.value) == (key, b"\xff")
    assert over.headers == ((TOO_LARGE, b"%d" % (MAX_EVENT_BYTES + 1)),)
    await harness.close()


async def test_a_fetch_of_many_partitions_is_bounded_too(tmp_path: Path) -> None:
    """However many partitions have large events: the others have their turn next, and none is lost."""
    harness = SqliteHarness(tmp_path)
    log = await harness.open()
    await log.create({"orders": 12})
    values = [b"x" * 4_000_000] * 12
    records = [Outgoing("orders", b"k", value, partition=q) for q, value in enumerate(values)]
    await log.publish(records)
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        weights: list[int] = []
        places: list[int] = []
        while len(places) < 12:
            batches = await member.group.fetch(member.tokens, 1_000)
            found = [record for batch in batches for record in batch.records]
            weights.append(sum(len(record.value or b"") for record in found))
            places += [batch.partition for batch in batches]
    assert sorted(places) == list(range(12))
    assert max(weights) <= 2 * PIECE_BYTES
    await harness.close()


@pytest.mark.parametrize("part", ["key", "headers"])
async def test_large_keys_and_headers_bound_a_read_too(tmp_path: Path, part: str) -> None:
    """Whatever it is of a record that is large, in a read and in a fetch."""
    harness = SqliteHarness(tmp_path)
    log = await harness.open()
    await log.create({"orders": 6})
    large = b"x" * 4_000_000
    key, headers = (large, ()) if part == "key" else (None, (("name", large),))
    # In one partition, and in each of them.
    places = [0] * 5 + list(range(6))
    await log.publish([Outgoing("orders", key, b"", headers, partition=q) for q in places])
    pieces = [len(batch) async for batch in log.read("orders", 0)]
    counts: list[int] = []
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        while sum(counts) < len(places):
            batches = await member.group.fetch(member.tokens, 1_000)
            counts.append(sum(len(batch.records) for batch in batches))
    assert sum(pieces) == 6
    # A piece ends with the row that is too much, a fetch with the piece.
    assert max(pieces) <= 3
    assert max(counts) <= 5
    await harness.close()


async def test_many_large_events_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    """What one read brings into memory is bounded by bytes, however few rows that is."""
    harness = SqliteHarness(tmp_path)
    log = await harness.open()
    await log.create({"orders": 1})
    small = [b"small"] * 100
    values = small + [b"%d" % number + b"x" * 4_000_000 for number in range(12)]
    await log.publish([Outgoing("orders", b"k", value, partition=0) for value in values])
    pieces = [batch async for batch in log.read("orders", 0)]
    assert sum(map(len, pieces)) == len(values)
    weights = [sum(len(record.value or b"") for record in batch) for batch in pieces]
    assert max(weights) <= 2 * PIECE_BYTES
    await harness.close()
