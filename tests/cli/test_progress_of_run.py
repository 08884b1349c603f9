"""The bar of `run`: it looks at the log, and never decides whether the center lives."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.app.settings import Settings
from event_center.app.wiring import app_of
from event_center.cli.running import until_told
from event_center.errors import LogUnavailable
from event_center.log.memory import MemoryBroker, MemoryLog
from tests.log.harness import clock


class Stalled:
    """A log that gives no answer to its first questions, as a cluster that stands still."""

    def __init__(self, log: MemoryLog, count: int) -> None:
        self.left = count
        self._log = log

    async def entry(self, *asked: Any) -> bytes | None:
        if self.left:
            self.left -= 1
            raise LogUnavailable("it does not answer")
        return await self._log.entry(*asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.mark.looptime
async def test_a_cluster_that_stands_still_while_a_center_starts() -> None:
    """P8: what the bar shows is asked again; found by `scripts/chaos --faults 200 --seed 1`."""
    stalled: Any = Stalled(MemoryLog(MemoryBroker(), clock=clock), 3)
    told = await until_told(stalled, app_of(Settings()))
    assert stalled.left == 0
    assert told["events"]["read"] == 0
