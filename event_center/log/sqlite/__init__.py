"""The embedded log: one SQLite file, durable with every commit, for one machine."""

from __future__ import annotations

from event_center.log.sqlite.copying import copy, flaws, put_back
from event_center.log.sqlite.lock import Daemon, DaemonLock, daemon_on
from event_center.log.sqlite.log import SqliteLog, open_sqlite
from event_center.log.sqlite.reader import MAX_EVENT_BYTES
from event_center.log.sqlite.retention import Retention, Rule

__all__ = [
    "MAX_EVENT_BYTES",
    "Daemon",
    "DaemonLock",
    "Retention",
    "Rule",
    "SqliteLog",
    "copy",
    "daemon_on",
    "flaws",
    "open_sqlite",
    "put_back",
]
