"""Events of any producer, through librdkafka: partitioners, keys, headers, compression, transactions."""

from __future__ import annotations

import pytest
from aiokafka.admin import NewTopic

from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.kafka.running import TOPIC, Running
from tests.waiting import PATIENCE_S

WORKFLOWS = 24


def event(number: int, *, named: bool = True) -> bytes:
    """One event of a workflow, whose id may stand in the key alone."""
    name = f'"workflow_id": "w{number}", ' if named else ""
    return f'{{{name}"event": "add"}}'.encode()


class TestPartitioners:
    @pytest.mark.parametrize(
        ("theirs", "ours", "forwards"),
        [
            ("consistent_random", "murmur2", True),  # the default of librdkafka
            ("murmur2_random", "murmur2", False),  # the default of Java
            ("consistent_random", "crc32", False),
        ],
    )
    async def test_every_event_reaches_its_home(
        self, running: Running, theirs: str, ours: str, *, forwards: bool
    ) -> None:
        """Where the partitioners agree nothing is forwarded; else all is decided all the same."""
        running.configure(f'[engine]\npartitioner = "{ours}"\n{TOPIC}')
        await running.prepare()
        producer = running.producer(partitioner=theirs)
        for number in range(WORKFLOWS):
            producer.produce(running.topic, event(number, named=False), key=f"w{number}")
        producer.flush(PATIENCE_S)
        told = await running.decided()
        assert (told["events"]["forwarded"] > 0) == forwards
        assert told["events"]["applied"] == WORKFLOWS
        assert await running.counts(WORKFLOWS) == [1] * WORKFLOWS

    @pytest.mark.parametrize("partitions", [1, 9])
    async def test_topics_of_other_sizes(self, running: Running, partitions: int) -> None:
        """A topic may have more or fewer partitions than there are shards; each event counts once."""
        running.configure(f"{TOPIC}partitions = {partitions}\n")
        await running.prepare()
        producer = running.producer()
        for number in range(WORKFLOWS):
            place = number % partitions
            producer.produce(running.topic, event(number), key=f"w{number}", partition=place)
        producer.flush(PATIENCE_S)
        told = await running.decided()
        assert told["events"]["applied"] == WORKFLOWS
        assert told["lag"] == 0
        assert (await running.decided())["events"]["applied"] == WORKFLOWS
        assert await running.counts(WORKFLOWS) == [1] * WORKFLOWS


class TestRecords:
    async def test_without_a_key(self, running: Running) -> None:
        """As kcat writes them: the body names the workflow, the partition is any."""
        await running.prepare()
        producer = running.producer()
        for number in range(WORKFLOWS):
            producer.produce(running.topic, event(number), partition=number % 4)
        producer.flush(PATIENCE_S)
        assert (await running.decided())["events"]["applied"] == WORKFLOWS
        assert await running.counts(WORKFLOWS) == [1] * WORKFLOWS

    async def test_tombstones_and_nonsense(self, running: Running) -> None:
        """What carries no event becomes a letter, bytes and headers as they were; others go on."""
        await running.prepare()
        producer = running.producer()
        nonsense = (None, b"", b"\xff\xfe", b"[1]")
        for value in nonsense:
            headers: list[tuple[str, str | bytes | None]] = [("empty", None), ("raw", b"\xff")]
            producer.produce(running.topic, value, key="w0", headers=headers)
        producer.produce(running.topic, None)
        producer.produce(running.topic, event(0), key="w0")
        producer.flush(PATIENCE_S)
        told = await running.decided()
        assert told["events"]["dead_lettered"] == len(nonsense) + 1
        assert told["events"]["applied"] == 1
        letters = await running.letters()
        assert {record.value for record in letters} == set(nonsense)
        assert [dict(record.headers).get("raw") for record in letters].count(b"\xff") == 4
        assert [dict(record.headers).get("empty") for record in letters].count(b"") == 4

    async def test_cloud_events_in_headers(self, running: Running) -> None:
        """Binary CloudEvents, whose headers say what they are; a header may have no value."""
        await running.prepare()
        producer = running.producer()
        headers = [
            ("ce_specversion", "1.0"),
            ("ce_type", "add"),
            ("ce_source", "/test"),
            ("ce_subject", "w0"),
            ("content-type", "application/json"),
            ("trace", None),
        ]
        for number in range(2):
            producer.produce(running.topic, b"{}", headers=[*headers, ("ce_id", str(number))])
        producer.flush(PATIENCE_S)
        assert (await running.decided())["events"]["applied"] == 2
        assert await running.counts(1) == [2]

    async def test_too_large(self, running: Running) -> None:
        """An event that the center could not write again is rejected, and those behind it go on."""
        configs = {"max.message.bytes": "5000000"}
        async with KafkaHarness(bootstrap()).admin() as admin:
            await admin.create_topics([NewTopic(running.topic, 4, 1, topic_configs=configs)])
        await running.prepare()
        producer = running.producer(message_max_bytes=4_000_000)
        body = b'{"workflow_id": "w0", "event": "add", "payload": "%b"}' % (b"x" * 2_000_000)
        for value in (event(0), body, event(0)):
            producer.produce(running.topic, value, key="w0", partition=0)
        producer.flush(PATIENCE_S)
        told = await running.decided()
        assert (told["events"]["rejected"], told["events"]["applied"]) == (1, 2)
        assert await running.counts(1) == [2]

    async def test_compressed(self, running: Running) -> None:
        """Batches of every codec are read."""
        await running.prepare()
        codecs = ("gzip", "lz4", "snappy", "zstd")
        for codec in codecs:
            producer = running.producer(compression_type=codec, linger_ms=50)
            for number in range(200):
                name = number % WORKFLOWS
                producer.produce(running.topic, event(name), key=f"w{name}")
            producer.flush(PATIENCE_S)
        assert (await running.decided())["events"]["applied"] == 200 * len(codecs)


class TestTransactions:
    async def test_what_is_aborted_is_not_seen(self, running: Running) -> None:
        """Only committed events are decided, and markers behind them make no lag."""
        await running.prepare()
        producer = running.producer(transactional_id=f"{running.prefix}theirs")
        producer.init_transactions(PATIENCE_S)
        for commits in (True, False, True, False):
            producer.begin_transaction()
            for number in range(WORKFLOWS):
                producer.produce(running.topic, event(number), key=f"w{number}")
            producer.flush(PATIENCE_S)
            if commits:
                producer.commit_transaction(PATIENCE_S)
            else:
                producer.abort_transaction(PATIENCE_S)
        told = await running.decided()
        assert told["events"]["applied"] == 2 * WORKFLOWS
        assert told["lag"] == 0
        assert await running.counts(WORKFLOWS) == [2] * WORKFLOWS
