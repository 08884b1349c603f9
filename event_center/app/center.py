"""
The center: a daemon on one log, to be run by the terminal or inside one's own asyncio program.

    async with Center.open("config/event-center.toml") as center:
        await center.run()

`open` checks everything that can be checked before the first record is read, takes the daemon's lock
and opens the log; `run` owns shards until `stop`. The engine's `member` has the next step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import structlog

from event_center.app.opening import open_log
from event_center.app.pulse import Pulse
from event_center.app.settings import Settings, load_settings
from event_center.app.systemd import Systemd
from event_center.app.wiring import make_plan, wall_clock_ms
from event_center.engine.member import Member
from event_center.engine.plan import Plan
from event_center.errors import InvariantError
from event_center.log.kafka import KafkaLog
from event_center.log.port import Log
from event_center.log.sqlite import DaemonLock
from event_center.model import Shard
from event_center.wire.history import rfc3339

log = structlog.get_logger()


class Center:
    """One daemon. Make it with `open`."""

    def __init__(
        self, settings: Settings, log: Log, plan: Plan, *, lock: DaemonLock | None = None
    ) -> None:
        self.settings = settings
        self.log = log
        self._plan = plan
        self._member = Member(log, plan)
        self._say = None if lock is None else lock.say
        if isinstance(log, KafkaLog):
            self._say = log.say
        self._stopping = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        config: Path | str | Settings | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Center]:
        """
        Check the settings, machines and plugins, open the log and take its lock.

        Args:
            config: a settings file, settings made in code, or None for the default places.
            overrides: settings over those of the file, nested as in it.

        Raises:
            ConfigurationError, DefinitionError, PluginError: something does not fit; it says what.
            LogInUse: another daemon runs on this log, which only one can use.
            LogUnavailable: the log can not be opened.
        """
        settings = _settings(config, overrides or {})
        plan = make_plan(settings)
        async with AsyncExitStack() as stack:
            lock = None
            if settings.log.kind == "sqlite":
                # On Kafka daemons share the work; the brokers see to it that each shard has one.
                path, since = settings.under_root(settings.log.path), rfc3339(wall_clock_ms())
                lock = stack.enter_context(DaemonLock(path, since=since))
            opened = await open_log(settings)
            stack.push_async_callback(opened.close)
            await stack.enter_async_context(plugins_open(plan))
            yield cls(settings, opened, plan, lock=lock)

    async def run(self, *, until_idle: bool = False) -> None:
        """
        Read, decide and publish until `stop`.

        Args:
            until_idle: end by itself once all that the log holds is decided and no callback runs.

        Raises:
            ConfigurationError: a machine or a topic is not what it was when the log was written.
            LogError: the log failed for good.
        """
        log.info("center.started", app=self._plan.app, machines=sorted(self._plan.machines))
        try:
            with Systemd() as systemd:
                await self._run(systemd, until_idle=until_idle)
        except BaseExceptionGroup as group:
            raise first_of(group) from group
        log.info("center.stopped", app=self._plan.app)

    async def _serve(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        await self._member.run(task_status=task_status)
        if not self._stopping.is_set():
            # Cancelled by nobody we know: without this the process would live on and serve nothing.
            raise InvariantError(
                "the member has ended, and nobody asked it to: start the daemon again"
            )

    async def _run(self, systemd: Systemd, *, until_idle: bool) -> None:
        shards = self._plan.home.shards
        pulse = Pulse(self._member, shards=shards, say=self._say, systemd=systemd)
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._serve, name="member")
            tasks.start_soon(pulse.run, name="pulse")
            if until_idle:
                tasks.start_soon(self._stop_when_idle, name="until idle")
            await self._stopping.wait()
            pulse.stopping()
            await self._member.stop()
            tasks.cancel_scope.cancel()

    async def stop(self) -> None:
        """Stop the intake, finish or owe what runs, make the last cut and leave; `run` then ends."""
        self._stopping.set()

    async def _stop_when_idle(self) -> None:
        await self._member.until_idle()
        self._stopping.set()

    async def quiet(self) -> list[Shard]:
        """The shards of this center of which all is decided and durable, and no callback runs."""
        return await self._member.quiet()

    @property
    def serving(self) -> bool:
        """Whether every shard is restored and takes records."""
        owners = self._member.owners.values()
        return len(owners) == self._plan.home.shards and all(owner.ready for owner in owners)

    @property
    def restored(self) -> int:
        """Workflows restored so far."""
        return sum(owner.restored for owner in self._member.owners.values())

    @property
    def lag(self) -> int:
        """Records that are not taken in yet, as far as the last fetches told."""
        return self._member.lag

    @property
    def limits(self) -> dict[str, str]:
        """The limits that are reached now, by name (docs/limits.md), and what waits because of each."""
        return {one.limit: one.meaning for one in self._member.reached()}

    @property
    def totals(self) -> dict[str, int]:
        """Records by outcome, and `read` and `waiting`, as of now: the next cut makes them durable."""
        totals: dict[str, int] = {"read": 0, "waiting": 0}
        for owner in self._member.owners.values():
            for name, count in owner.totals().items():
                totals[name] = totals.get(name, 0) + count
        return totals


@asynccontextmanager
async def plugins_open(plan: Plan) -> AsyncIterator[None]:
    """Hold the lifespans of all plugins open, and say what of them nobody uses."""
    async with AsyncExitStack() as stack:
        for bound in plan.bound.values():
            for warning in bound.warnings:
                log.warning("plugin.unused", what=warning)
            for lifespan in bound.lifespans:
                await stack.enter_async_context(lifespan())
        yield


def first_of(error: BaseException) -> BaseException:
    """The first error inside groups of errors: what a user can act on."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _settings(config: Path | str | Settings | None, overrides: Mapping[str, Any]) -> Settings:
    if isinstance(config, Settings):
        return config
    return load_settings(None if config is None else Path(config), overrides)
