"""The log on Kafka for the tests that are about this engine alone; the contract has its own fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from event_center.log.kafka import KafkaLog
from scripts.broker import Broker
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.kafka.running import Running


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test's own, where brokers can be had."""
    bootstrap()
    made = Broker(tmp_path / "broker")
    made.start()
    yield made
    made.remove()


@pytest_asyncio.fixture
async def kafka_harness() -> AsyncIterator[KafkaHarness]:
    """Names of its own on the broker."""
    made = KafkaHarness(bootstrap())
    yield made
    await made.close()


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """An app with topics of its own on the broker."""
    made = Running(tmp_path)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def kafka_log(kafka_harness: KafkaHarness) -> KafkaLog:
    """A log with two topics."""
    opened = await kafka_harness.open()
    await opened.create({"orders": 4, "history": 4})
    return opened
