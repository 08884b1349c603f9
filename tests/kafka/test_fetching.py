"""What was read ahead: batches that are decoded when their turn comes, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from event_center.log.kafka import KafkaLog
from event_center.log.kafka.ahead import AHEAD, ReadAhead
from event_center.log.kafka.fetching import Fetched
from event_center.model import Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import joined


class Decoded(NamedTuple):
    """A record as aiokafka's parser makes it."""

    offset: int
    timestamp: int = 0
    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Packed:
    """A batch of these offsets that ends where it once did."""

    def __init__(self, offsets: range | list[int], next_offset: int) -> None:
        self._offsets = offsets
        self.next_offset = next_offset
        self.looked_at = 0

    def __iter__(self) -> Iterator[Decoded]:
        for offset in self._offsets:
            self.looked_at += 1
            yield Decoded(offset)


def taken(line: ReadAhead, count: int) -> list[int]:
    """The offsets of so many records."""
    return [record.offset for record in line.take(count)]


def test_batches_are_decoded_as_they_are_taken() -> None:
    """Records come in order and once; a batch that nobody has asked for is still bytes."""
    line = ReadAhead(2, 2, "a partition")
    batches = [Packed(range(4), 4), Packed(range(4, 8), 8), Packed(range(8, 10), 10)]
    line.lay(Fetched(list(batches), 11))
    assert [batch.looked_at for batch in batches] == [0, 0, 2]
    assert taken(line, 3) == [2, 3, 4]
    assert batches[1].looked_at == 1
    assert taken(line, 100) == [5, 6, 7, 8, 9]
    assert taken(line, 1) == []
    assert (line.given, line.after, line.cursor) == (10, 10, 11)


def test_what_compaction_has_removed_holds_nobody_up() -> None:
    """The watermark is that of the newest record that is there, not the end of its batch."""
    line = ReadAhead(0, 0, "a partition")
    line.lay(Fetched([Packed([0, 3], 5), Packed([6], 9), Packed([], 12)], 12))
    line.end = 12
    assert line.watermark() == 7
    assert taken(line, 3) == [0, 3, 6]
    assert line.given == line.after == 7
    line.lay(Fetched([], 14))
    assert (line.after, line.cursor) == (7, 14)


def test_a_gap_stands_between_what_was_read_before_and_after() -> None:
    """What was read before retention overtook comes first; what follows waits until the gap is told."""
    line = ReadAhead(1, 1, "a partition")
    line.lay(Fetched([Packed(range(1, 3), 3)], 3))
    line.gap = line.cursor = 8
    line.lay(Fetched([Packed(range(6, 10), 10)], 10))
    assert taken(line, 100) == [1, 2]
    assert taken(line, 100) == []
    line.gap = 0
    assert taken(line, 100) == [8, 9]


def test_reading_ahead_is_bounded() -> None:
    """A partition is read no further while enough of it lies ready, and again once it is taken."""
    line = ReadAhead(0, 0, "a partition")
    line.lay(Fetched([Packed(range(AHEAD), AHEAD)], AHEAD))
    assert not line.room
    line.take(1)
    assert line.room


async def test_aborted_records_are_passed(kafka_harness: KafkaHarness, kafka_log: KafkaLog) -> None:
    """Records of a transaction that was aborted are not read, and reading goes on behind them."""
    options = kafka_harness.options
    producer = AIOKafkaProducer(
        bootstrap_servers=options.bootstrap, transactional_id=f"{options.topic_prefix}stranger"
    )
    await producer.start()
    topic = options.topic_prefix + "orders"
    for value, commits in (b"no", False), (b"yes", True), (b"nor this", False):
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value, key=b"k", partition=0)
        await (producer.commit_transaction() if commits else producer.abort_transaction())
    await producer.stop()
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        [batch] = await member.fetched(1)
        assert [record.value for record in batch.records] == [b"yes"]
        assert (await member.group.watermarks(Shard(0)))["orders"] == batch.records[0].offset + 1


def test_of_the_batches_none_is_decoded_twice() -> None:
    """A batch that is handed out in parts is decoded once."""
    line = ReadAhead(0, 0, "a partition")
    batch = Packed(range(10), 10)
    line.lay(Fetched([batch], 10))
    assert [taken(line, 4), taken(line, 4), taken(line, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batch.looked_at == 10
