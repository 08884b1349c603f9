"""
What the newest history of an app tells about stays in a state, and about one workflow.

`dwell` measures stays; `why` compares how long a workflow is where it is with how long others were. No
more than `LOOKED_AT` records are read, the newest, so that an old log answers as fast as a young one;
the answer says whether that was all.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from event_center.client.app import App
from event_center.client.dwell import Whereabouts
from event_center.log.port import Log
from event_center.model import Record
from event_center.wire import history as wire
from event_center.wire.history import rfc3339

LOOKED_AT = 200_000
"""Records of the history that are read in all: somebody waits, and these take about a second."""
WEEK_MS = 7 * 86_400_000
"""Milliseconds that the stays go back: a week has its weekdays and its week-end."""


class Stays:
    """The stays of workflows of one machine in one configuration, while the history comes in."""

    def __init__(self, machine: str, state: str, since_ms: int) -> None:
        self.lengths_ms: list[int] = []
        self.complete = True
        """The history of the whole time was read."""
        self.own: list[dict[str, Any]] = []
        """What the history tells of the one workflow."""
        self._machine = machine
        self._state = state
        self._since = rfc3339(since_ms)
        self._whereabouts = Whereabouts()

    def take(self, told: dict[str, Any]) -> None:
        """One record; a stay elsewhere, or one that ended before, tells nothing."""
        ended = self._whereabouts.hear(told)
        here = ended is not None and (ended.machine, ended.state) == (self._machine, self._state)
        if ended is not None and here and told["at"] >= self._since:
            self.lengths_ms.append(ended.length_ms)

    def compared(self, length_ms: int) -> dict[str, Any]:
        """How a stay of this length compares, ready to be written as JSON."""
        lengths = sorted(self.lengths_ms)
        count = len(lengths)
        told: dict[str, Any] = {"stays": count, "since": self._since, "complete": self.complete}
        if count:
            shorter = bisect_left(lengths, length_ms)
            told["longer_than_percent"] = round(100 * shorter / count)
            told["median_s"] = lengths[(count - 1) // 2] / 1_000
            told["p95_s"] = lengths[min(count - 1, count * 95 // 100)] / 1_000
        return told


async def look_back(log: Log, app: App, workflow_id: str, stays: Stays) -> None:
    """
    Read the newest history into the stays.

    Raises:
        FormatError: a record of the history can not be read.
    """
    key, home = workflow_id.encode(), app.home(workflow_id)
    each = LOOKED_AT // app.shards
    for partition in range(app.shards):
        start = max(0, await log.watermark(app.history, partition) - each)
        stays.complete = stays.complete and not start
        async for batch in log.read(app.history, partition, start):
            for told in _told(batch):
                stays.take(told)
            if partition == home:
                stays.own += _told([record for record in batch if record.key == key])


def _told(batch: list[Record]) -> list[dict[str, Any]]:
    return [wire.read(record.value) for record in batch if record.value is not None]
