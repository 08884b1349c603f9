"""
Backups of an embedded log: made while its daemon runs, put back while none does, and checked.

Promises: nothing is overwritten; a restore keeps the log that it replaces. Only of logs in a file: on
Kafka the brokers' copies keep what is written, and `migrate` moves it. The commands `backup`, `restore`
and `check --log` call this; `log.sqlite.copying` has the next step.
"""

from __future__ import annotations

from pathlib import Path

from event_center.app.settings import Settings
from event_center.app.wiring import wall_clock_ms
from event_center.errors import ConfigurationError, LogUnavailable
from event_center.log.sqlite import DaemonLock, copy, flaws, put_back
from event_center.log.sqlite.copying import Progress
from event_center.wire.history import rfc3339


def back_up(settings: Settings, destination: Path, progress: Progress) -> int:
    """
    Copy the log, also while a daemon runs on it; returns the bytes of the copy.

    Raises:
        ConfigurationError: the log is on Kafka.
        LogUnavailable: the log is damaged, or the destination exists or can not be written.
    """
    return copy(_file(settings), destination, progress)


def restore(
    settings: Settings, backup: Path, progress: Progress, *, replace: bool
) -> tuple[int, Path | None]:
    """
    Put a copy in the place of the log; returns its bytes, and where the log went that was there.

    Raises:
        ConfigurationError: the log is on Kafka.
        LogInUse: a daemon, or somebody else, has the log open.
        LogUnavailable: there is a log and it is not to be replaced, the copy is damaged, or it can not be
            written.
    """
    log = _file(settings)
    if not backup.is_file():
        raise LogUnavailable(f"there is no file {backup}; name a copy that `backup` has made")
    now = rfc3339(wall_clock_ms())
    if log.exists() and not replace:
        raise LogUnavailable(
            f"there is a log at {log}; add --replace to move it away, or name another place with --log"
        )
    replaced = None
    if log.exists():
        stamp = "".join(c for c in now if c.isdigit())
        replaced = log.with_name(f"{log.name}.replaced-{stamp}")
    with DaemonLock(log, since=now):
        return put_back(backup, log, progress, replaced=replaced), replaced


def flaws_of(settings: Settings) -> list[str]:
    """What is wrong with the file of the log; nothing of a log on Kafka, which has none."""
    return flaws(_file(settings)) if settings.log.kind == "sqlite" else []


def _file(settings: Settings) -> Path:
    if settings.log.kind != "sqlite":
        raise ConfigurationError(
            "backup and restore are for a log in a file: on Kafka the copies that the brokers keep "
            "are the backup (replication_factor), and `event-center migrate` moves a log"
        )
    return settings.under_root(settings.log.path)
