"""
Has the broker compact a topic now, and waits until it is done.

The cleaner never touches the newest segment, so each round appends one record, which begins a new one:
a removal of a key that nobody has, as any later cut of a shard might be. `tests/kafka/harness.py` and the
tests of compaction call this.
"""

from __future__ import annotations

from collections import Counter

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.waiting import until_true

AT_ONCE = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "1",
    "delete.retention.ms": "1",
    "segment.ms": "1",
    # The time of a test stands still in its records: by their own, no segment would ever be old.
    "message.timestamp.type": "LogAppendTime",
}
"""What lets a broker forget as fast as it can."""
NOBODY = b"compacting"
"""The key of the records that begin new segments."""


async def compacted(bootstrap: str, topic: str) -> None:
    """Wait until of all that is in partition 0 now, only the last values of keys are left."""
    place = TopicPartition(topic, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none")
    await admin.start()
    await producer.start()
    await reader.start()
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=AT_ONCE)
        await admin.alter_configs([resource])
        stop = (await reader.end_offsets([place]))[place]
        reader.assign([place])

        async def forgotten() -> bool:
            await producer.send_and_wait(topic, None, NOBODY, partition=0)
            left = [one for one in await _records(reader, place) if one.offset < stop]
            counts = Counter(one.key for one in left)
            return all(one.value is not None and counts[one.key] == 1 for one in left)

        await until_true(forgotten)
    finally:
        await reader.stop()
        await producer.stop()
        await admin.close()


async def _records(
    reader: AIOKafkaConsumer, place: TopicPartition
) -> list[ConsumerRecord[bytes, bytes]]:
    """All that the partition has now, removals too."""
    reader.seek(place, (await reader.beginning_offsets([place]))[place])
    end = (await reader.end_offsets([place]))[place]
    found: list[ConsumerRecord[bytes, bytes]] = []
    while await reader.position(place) < end:
        polled = await reader.getmany(place, timeout_ms=100)
        found += polled.get(place, [])
    return found
