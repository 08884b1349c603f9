"""
The broker of the Kafka cases, and topics on it: what one measurement needs, apart from all others.

One broker is started when the first case asks for it, and ends with this process. Promises: a backlog
is staged in an open transaction and appears all at once, so that publishing it costs the measured
time nothing; topics of a measurement are gone after it. The Kafka cases call this.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from event_center.log.kafka import KafkaLog, KafkaOptions, open_kafka
from event_center.log.partitioner import murmur2
from scripts.broker import Broker
from tests.bench.work import APP, TOPIC, clock, record
from tests.kafka.broker import FOLDER

STAGED_MS = 300_000
"""How long a staged backlog may stay unpublished."""
BATCH_BYTES = 256 * 1024
SESSION_S = 2.0
CPU_CLOCK = 2
"""What Linux makes the CPU clock of a process of, with its id; /proc counts hundredths of a second."""
Landing = tuple[int, bytes, bytes]
"""Partition, key and value of a record."""


@functools.cache
def broker() -> Broker:
    """
    The broker of this process.

    Raises:
        NoBroker: there is no Java, or no Kafka to run; it says what to do.
    """
    folder = Path(tempfile.mkdtemp(prefix="event-center-bench-", dir=os.environ.get(FOLDER)))
    started = Broker(folder / "node-1")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(started.remove)
    started.start()
    return started


def broker_cpu_s() -> float:
    """User and system time of the broker so far."""
    pid = broker().pid
    if pid is None:
        raise RuntimeError("the broker of the benchmark has ended; it was to run until the end")
    return process_cpu_s(pid)


def process_cpu_s(pid: int) -> float:
    """User and system time of a process so far, all of its threads; to the nanosecond."""
    return time.clock_gettime(~pid << 3 | CPU_CLOCK)


def home(key: bytes, shards: int) -> int:
    """The partition of a key."""
    return murmur2(key) % shards


class Staged:
    """Records that were sent and that nobody can read before `reveal`."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def reveal(self) -> None:
        """Let all of them be read."""
        await self._producer.commit_transaction()


class Site:
    """Topics with names of their own on the broker."""

    def __init__(self, options: KafkaOptions, shards: int) -> None:
        self.options = options
        self.shards = shards
        self._logs: list[KafkaLog] = []
        self._clients: list[Any] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, shards: int) -> AsyncIterator[Self]:
        """A site that is cleared away again."""
        prefix = f"b{uuid.uuid4().hex[:8]}."
        site = cls(options_at(broker().bootstrap, prefix), shards)
        try:
            yield site
        finally:
            await site._clear()

    async def log(self) -> KafkaLog:
        """A log of the center on this site."""
        log = await open_kafka(self.options, clock=clock)
        self._logs.append(log)
        return log

    def real(self, topic: str) -> str:
        """The name that a topic has in the cluster."""
        return self.options.topic_prefix + topic

    async def producer(self, name: str) -> AIOKafkaProducer:
        """A bare transactional producer."""
        made = AIOKafkaProducer(
            bootstrap_servers=self.options.bootstrap,
            transactional_id=self.real(name),
            transaction_timeout_ms=STAGED_MS,
            max_batch_size=BATCH_BYTES,
        )
        await made.start()
        self._clients.append(made)
        return made

    async def consumer(self, topic: str) -> tuple[AIOKafkaConsumer, list[TopicPartition]]:
        """A bare consumer of a topic from its beginning, and its partitions."""
        made = AIOKafkaConsumer(
            bootstrap_servers=self.options.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
        )
        await made.start()
        self._clients.append(made)
        places = [TopicPartition(self.real(topic), q) for q in range(self.shards)]
        made.assign(places)
        for place in places:
            made.seek(place, 0)
        return made, places

    async def stage(self, events: int, workflows: int, *, ids: bool = False) -> Staged:
        """Events that go round the workflows."""
        records = (record(number, workflows, ids=ids) for number in range(events))
        keyed = ((r.key or b"", r.value or b"") for r in records)
        return await self.stage_in(TOPIC, ((home(k, self.shards), k, v) for k, v in keyed))

    async def stage_in(self, topic: str, landings: Iterable[Landing]) -> Staged:
        """Records of one topic."""
        producer = await self.producer(f"backlog-{uuid.uuid4().hex}")
        await producer.begin_transaction()
        open_batches: dict[int, Any] = {}
        sent, real = [], self.real(topic)
        for partition, key, value in landings:
            batch = open_batches.get(partition)
            if batch is None or batch.append(timestamp=None, key=key, value=value) is None:
                if batch is not None:
                    sent.append(await producer.send_batch(batch, real, partition=partition))
                batch = open_batches[partition] = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        for partition, batch in open_batches.items():
            sent.append(await producer.send_batch(batch, real, partition=partition))
        for future in sent:
            await future
        return Staged(producer)

    async def _clear(self) -> None:
        for client in self._clients:
            await client.stop()
        for log in self._logs:
            await log.close()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.options.bootstrap)
        await admin.start()
        try:
            # Other libraries put words of their own before the names that they are given.
            names = [
                name for name in await admin.list_topics() if self.options.topic_prefix in name
            ]
            await admin.delete_topics(names)
        finally:
            await admin.close()


def options_at(bootstrap: str, prefix: str) -> KafkaOptions:
    """How the cases and their processes open a log."""
    return KafkaOptions(
        bootstrap=bootstrap,
        app=APP,
        group="bench",
        topic_prefix=prefix,
        replication_factor=1,
        session_timeout_s=SESSION_S,
        heartbeat_s=SESSION_S / 10,
    )
