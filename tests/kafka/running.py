"""A center in this process on the broker, with names of its own there, and what it has decided."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from event_center import Center
from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import app_of
from event_center.client.stats import Stats, stats
from event_center.client.workflows import show
from event_center.log.port import Log
from event_center.model import Record
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.log.harness import records_of

MACHINE = """
machine: counter
version: 1
initial: open
perpetual: true
data: {n: 0}
states:
  open: {on: {add: {assign: {n: =data.n + 1}}}}
"""
SETTINGS = """
machines = ["counter.yaml"]
[log]
kind = "kafka"
partitions = 4
[log.kafka]
bootstrap = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = 1
session_timeout = "6s"
heartbeat = "100ms"
"""
TOPIC = """
[topics.events]
machine = "counter"
"""


class Running:
    """One app on the broker; its center runs while `decided` waits."""

    def __init__(self, folder: Path) -> None:
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.topic = f"{self.prefix}events"
        """As others name it."""
        self.settings = folder / "event-center.toml"
        (folder / "counter.yaml").write_text(MACHINE, encoding="utf-8")
        self.configure()

    def configure(self, more: str = TOPIC) -> None:
        """Write the settings file; `more` stands behind the table `[log.kafka]`."""
        text = SETTINGS.format(bootstrap=bootstrap(), prefix=self.prefix) + more
        self.settings.write_text(text, encoding="utf-8")

    def producer(self, **options: Any) -> Producer:
        """A producer that knows nothing of us; words of its options have dots."""
        dotted = {name.replace("_", "."): value for name, value in options.items()}
        return Producer({"bootstrap.servers": bootstrap(), **dotted})

    @asynccontextmanager
    async def log(self) -> AsyncIterator[Log]:
        """The app's log, its topics made."""
        log = await open_log(load_settings(self.settings))
        try:
            yield log
        finally:
            await log.close()

    async def prepare(self) -> None:
        """Make the topics."""
        async with self.log():
            pass

    async def decided(self) -> Stats:
        """Run a center until everything is decided; what became of it."""
        async with Center.open(self.settings) as center:
            await center.run(until_idle=True)
            return await stats(center.log, app_of(center.settings))

    async def counts(self, workflows: int) -> list[int]:
        """How often each workflow has counted."""
        app = app_of(load_settings(self.settings))
        found = []
        async with self.log() as log:
            for number in range(workflows):
                shown = await show(log, app, f"w{number}")
                found.append(0 if shown is None else shown["data"]["n"])
        return found

    async def letters(self) -> list[Record]:
        """The dead letters."""
        async with self.log() as log:
            found = [await records_of(log, "event-center.dead-letters", q) for q in range(4)]
        return [record for records in found for record in records]

    async def close(self) -> None:
        """Leave nothing on the broker."""
        await KafkaHarness(bootstrap()).remove_topics(self.prefix)
