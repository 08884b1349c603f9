"""
The history of an app as it grows: at first its end, then at each look what has come since.

Promises: no record is read twice; one look reads at most `LOOK` records of a partition, and what it passes
over so that it stays with a busy app is counted. `watch` listens to it.
"""

from __future__ import annotations

from typing import Any

from event_center.client.app import App
from event_center.log.port import Log
from event_center.wire import history as wire

LOOK = 5_000
"""
Records of a partition that one look reads: some 30 ms of work, so that who watches a busy app costs it
little.
"""


class Feed:
    """Where the reading of the history stands."""

    def __init__(self, log: Log, app: App) -> None:
        self._log = log
        self._topic = app.history
        self._next: dict[int, int] = {}
        self.passed_over = 0
        """Records that came between two looks, beyond what a look reads."""

    async def new(self) -> list[dict[str, Any]]:
        """
        What has come since the last look, oldest first in each partition.

        Raises:
            FormatError: a record can not be read.
        """
        info = (await self._log.topics()).get(self._topic)
        found: list[dict[str, Any]] = []
        for partition in range(0 if info is None else info.partitions):
            end = await self._log.watermark(self._topic, partition)
            start = self._start(partition, end)
            async for batch in self._log.read(self._topic, partition, start, end):
                found += [wire.read(record.value) for record in batch if record.value is not None]
            self._next[partition] = max(end, start)
        return found

    def _start(self, partition: int, end: int) -> int:
        """Where to read on."""
        known = self._next.get(partition)
        start = max(0, end - LOOK)
        if known is None:
            return start
        self.passed_over += max(0, start - known)
        return max(start, known)
