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
from tests.waiting import until_true


class Look:
    """An open log, and questions to it."""

    def __init__(self, log: Log, app: App) -> None:
        self.log = log
        self.app = app
        self.seen: list[Stats] = []

    async def stats(self) -> Stats:
        """What the last cuts say; kept for the test to look back at."""
        self.seen.append(await stats(self.log, self.app))
        return self.seen[-1]

    async def until(self, condition: Callable[[Stats], object]) -> Stats:
        """Ask until it is so."""
        found: Stats = {}

        async def looked() -> bool:
            found.update(await self.stats())
            return bool(condition(found))

        await until_true(looked)
        return found

    async def has_read(self, count: int) -> Stats:
        """Wait until so many events are read."""
        return await self.until(lambda now: now["events"]["read"] >= count)

    async def states(self) -> dict[str, str]:
        """The state of every workflow."""
        rows, _ = await list_workflows(self.log, self.app, Wanted(), 10**9)
        return {row["workflow_id"]: row["state"] for row in rows}

    def owner_changes(self) -> int:
        """How often a shard was seen to have another owner than before, a process that had died."""
        owners: dict[int, str] = {}
        changes = 0
        for seen in self.seen:
            for one in seen["shards"]:
                before = owners.get(one["shard"])
                changes += before is not None and before != one["owner"]
                if one["owner"]:
                    owners[one["shard"]] = one["owner"]
        return changes


@asynccontextmanager
async def looking(project: Project) -> AsyncIterator[Look]:
    """Open the log of a project, which publishers and daemons use in processes of their own."""
    settings = load_settings(project.settings)
    log = await open_log(settings)
    try:
        yield Look(log, app_of(settings))
    finally:
        await log.close()
