"""What the log of a project says, asked again and again in this process: no command starts so fast."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import app_of
from event_center.client.app import App
from event_center.client.stats import Stats, stats
from event_center.client.workflows import Wanted, list_workflows
from event_center.log.port import Log
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S, until_true


class Look:
    """An open log, and questions to it."""

    def __init__(self, log: Log, app: App) -> None:
        self.log = log
        self.app = app

    async def stats(self) -> Stats:
        """What the last cuts say."""
        return await stats(self.log, self.app)

    async def until(
        self, condition: Callable[[Stats], object], patience_s: float = PATIENCE_S
    ) -> Stats:
        """Ask until it is so."""
        found: Stats = {}

        async def looked() -> bool:
            found.update(await self.stats())
            return bool(condition(found))

        await until_true(looked, patience_s)
        return found

    async def has_read(self, count: int) -> Stats:
        """Wait until so many events are read."""
        return await self.until(lambda now: now["events"]["read"] >= count)

    async def states(self) -> dict[str, str]:
        """The state of every workflow."""
        rows, _ = await list_workflows(self.log, self.app, Wanted(), 10**9)
        return {row["workflow_id"]: row["state"] for row in rows}


@asynccontextmanager
async def looking(project: Project) -> AsyncIterator[Look]:
    """Open the log of a project, which publishers and daemons use in processes of their own."""
    settings = load_settings(project.settings)
    log = await open_log(settings)
    try:
        yield Look(log, app_of(settings))
    finally:
        await log.close()
