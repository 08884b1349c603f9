"""
Moving an app between the logs of two settings files: what may be moved where, and who may be at work.

Promises: the source is opened so that nothing of it changes, and locked against daemons of this
machine; a dry run makes no log. The terminal's `migrate` calls `move` or `would_move`;
`client.migration` has the steps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from event_center.app.opening import open_log, reach_log
from event_center.app.settings import Settings
from event_center.app.wiring import app_of, sizes_of, wall_clock_ms
from event_center.client import migration
from event_center.client.migration import Moved, Tell
from event_center.client.survey import Cargo, Side
from event_center.errors import ConfigurationError, LogUnavailable
from event_center.log.port import Log
from event_center.log.sqlite import DaemonLock
from event_center.wire.history import rfc3339


async def move(source: Settings, target: Settings, kinds: frozenset[Cargo], tell: Tell) -> Moved:
    """
    Move everything, or go on with a migration that was killed.

    Args:
        source: the settings that the app ran with.
        target: those that it is to run with.
        kinds: what to copy besides the live state.
        tell: hears how far it is.

    Raises:
        ConfigurationError: the two do not belong together.
        MigrationError: it can not begin, or not go on.
        LogError: one of the logs failed, or is in use.
    """
    _check_pair(source, target)
    async with _read(source) as there, _written(target) as here:
        return await migration.migrate(there, here, kinds, tell)


async def would_move(source: Settings, target: Settings, kinds: frozenset[Cargo]) -> Moved:
    """
    What `move` would do; it raises the same.

    The target is looked at as far as it exists.
    """
    _check_pair(source, target)
    async with _read(source) as there:
        if target.log.kind == "sqlite" and not target.under_root(target.log.path).is_file():
            return await migration.plan(there, None, _side(target, there.log), kinds)
        log = await reach_log(target, as_it_is=True)
        try:
            sizes_of(target).check(await log.topics())
            here = _side(target, log)
            return await migration.plan(there, here, here, kinds)
        finally:
            await log.close()


def _check_pair(source: Settings, target: Settings) -> None:
    """Do the two describe one app, on two logs?"""
    if source.app != target.app:
        raise ConfigurationError(
            f"`app` is {source.app!r} in {_name(source)} and {target.app!r} in {_name(target)}: what "
            "waits was read from topics of that name, so it has to stay the same"
        )
    missing = sorted(source.topics.keys() - target.topics.keys())
    if missing:
        raise ConfigurationError(
            f"{_name(target)} has no [topics.{missing[0]}], which {_name(source)} has: events of it may "
            "wait and have to be read as before; copy the table"
        )
    if _log_of(source) == _log_of(target):
        raise ConfigurationError(
            f"{_name(source)} and {_name(target)} name the same log: nothing would move; write another "
            "[log] kind, path or [log.kafka] topic_prefix"
        )


def _name(settings: Settings) -> str:
    return str(settings.file) if settings.file is not None else "the default settings"


def _log_of(settings: Settings) -> tuple[str, ...]:
    if settings.log.kind == "sqlite":
        return "sqlite", str(settings.under_root(settings.log.path).resolve())
    kafka = settings.log.kafka
    return "kafka", kafka.bootstrap, kafka.topic_prefix


def _side(settings: Settings, log: Log) -> Side:
    return Side(log, app_of(settings), settings.engine.partitioner)


@asynccontextmanager
async def _read(settings: Settings) -> AsyncIterator[Side]:
    path = settings.under_root(settings.log.path)
    if settings.log.kind == "sqlite" and not path.is_file():
        raise LogUnavailable(f"there is no log at {path}; name the settings of the app with --from")
    with _locked(settings):
        log = await reach_log(settings, as_it_is=True)
        try:
            sizes_of(settings).check(await log.topics())
            yield _side(settings, log)
        finally:
            await log.close()


@asynccontextmanager
async def _written(settings: Settings) -> AsyncIterator[Side]:
    with _locked(settings):
        log = await open_log(settings)
        try:
            yield _side(settings, log)
        finally:
            await log.close()


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """No daemon starts on this log meanwhile; on Kafka `migration` asks the group."""
    if settings.log.kind == "kafka":
        yield
        return
    path = settings.under_root(settings.log.path)
    with DaemonLock(path, since=rfc3339(wall_clock_ms())):
        yield
