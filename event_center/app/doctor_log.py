"""
Is the log fit? Its file or its cluster, its topics, what has run on it, and its times.

It only reads, beside a daemon or without one. `doctor` asks; what a log says of itself comes from its
own room (`log.sqlite`, `log.kafka`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from event_center.app.doctor_machines import of_machines
from event_center.app.finding import Finding, error, ok, warning
from event_center.app.opening import reach_log
from event_center.app.settings import Settings
from event_center.app.topic_flaws import MISSING, flaws_of, told
from event_center.app.wiring import own_topics, uses, wall_clock_ms
from event_center.errors import EventCenterError, LogUnavailable
from event_center.log.detail import Flaw, TopicDetail
from event_center.log.port import Log
from event_center.log.sqlite import daemon_on, flaws
from event_center.wire.history import rfc3339

WAIT_S = 3.0
"""How long a cluster that does not answer is waited for: somebody sits before it."""
QUICK_BYTES = 1024**3
"""A file up to this size is looked through at once, which takes a second or two."""
WAL_BYTES = 256 * 1024**2
"""More beside a log says that somebody keeps it from being folded in; 4 MB are usual."""
SKEW_MS = 1_000
"""How far clocks may differ: those of machines that are looked after differ by less."""
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs"}
)
"""File systems on which processes do not see each other's memory, as SQLite's WAL needs it."""
MEMORY = frozenset({"tmpfs", "ramfs"})
_MOUNTED = re.compile(r"\S+ (?P<where>\S+) (?P<type>\S+) ")


async def of_log(settings: Settings) -> AsyncIterator[Finding]:
    """What there is to say of the log that the settings name."""
    if settings.log.kind == "sqlite":
        path = settings.under_root(settings.log.path)
        broken = False
        for finding in of_file(path, mounts()):
            broken = broken or bool(finding.advice)
            yield finding
        if broken or not path.exists():
            return
    else:
        for finding in _of_kafka_settings(settings):
            yield finding
    try:
        log = await reach_log(settings, wait_s=WAIT_S, as_it_is=True)
    except EventCenterError as wrong:
        yield error("log", str(wrong), "mend that: a daemon would wait for it, or end")
        return
    try:
        async for finding in of_open_log(settings, log):
            yield finding
    except EventCenterError as wrong:
        yield error("log", str(wrong), "`event-center check --log` looks closer")
    finally:
        await log.close()


# -- a file ------------------------------------------------------------------------------------


def mounts() -> dict[str, str]:
    """The type of each file system by where it is mounted; empty where the system does not say."""
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    found = filter(None, map(_MOUNTED.match, lines))
    return {one["where"]: one["type"] for one in found}


def of_file(path: Path, mounted: Mapping[str, str]) -> Iterator[Finding]:
    """The file of an embedded log, which may not be there yet."""
    folder = path.parent
    kind = _file_system(folder.resolve(), mounted)
    if kind in NETWORK:
        yield error(
            "log",
            f"{path} lies on {kind}, a file system of a network: its processes would damage it",
            "put it on a disk of this machine, or use Kafka",
        )
    elif kind in MEMORY:
        yield warning(
            "log",
            f"{path} lies on {kind}, in memory: all of it is gone when the machine starts anew",
            "put it on a disk",
        )
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield error(
            "log", f"nothing can be written in {folder}", "make it, or let this user write there"
        )
    elif not path.exists():
        yield ok("log", f"there is none at {path} yet; the first `run` or `publish` makes it")
    elif not os.access(path, os.R_OK | os.W_OK):
        yield error("log", f"{path} can not be written", "let the user of the daemon own it")
    else:
        yield from _of_existing(path)


def _of_existing(path: Path) -> Iterator[Finding]:
    size = path.stat().st_size
    beside = path.with_name(f"{path.name}-wal")
    if path.stat().st_mode & stat.S_IWOTH:
        yield warning("log", f"everybody on this machine can write {path}", f"chmod o-w {path}")
    if beside.exists() and beside.stat().st_size > WAL_BYTES:
        yield warning(
            "log",
            f"{beside} has {beside.stat().st_size / 1024**2:.0f} MiB, because somebody reads for long",
            "look who has the log open (lsof), and end what hangs",
        )
    try:
        daemon = daemon_on(path)
        found = flaws(path, quick=True) if size <= QUICK_BYTES else []
    except LogUnavailable as wrong:
        yield error("log", str(wrong), "name the right file in [log] path, or put a backup back")
        return
    if found:
        yield error(
            "log", f"{path} is damaged: {found[0]}", "put a backup back: `event-center restore`"
        )
        return
    looked = (
        "whole" if size <= QUICK_BYTES else "not looked through (`event-center check --log` does)"
    )
    runs = (
        f"process {daemon.said.get('pid')} runs on it" if daemon.alive else "no daemon runs on it"
    )
    yield ok("log", f"{path}, {size / 1024**2:.1f} MiB, {looked}; {runs}")


def _file_system(folder: Path, mounted: Mapping[str, str]) -> str:
    for one in (folder, *folder.parents):
        if str(one) in mounted:
            return mounted[str(one)]
    return ""


# -- any log -----------------------------------------------------------------------------------


def _of_kafka_settings(settings: Settings) -> Iterator[Finding]:
    """What is meant for one broker at a desk, or gives a promise up."""
    kafka = settings.log.kafka
    if kafka.replication_factor == 1:
        yield warning(
            "settings",
            "topics are made with one copy: what is on a broker that is lost is lost",
            "write replication_factor = 3 in [log.kafka] where there are three brokers",
        )
    processes, shards = settings.engine.processes, settings.log.partitions
    if processes > shards:
        yield warning(
            "settings",
            f"{processes} processes share {shards} of `[log] partitions`: the others only stand by",
            "write more partitions before the first start, or fewer processes",
        )
    if kafka.delivery == "at_least_once":
        yield warning(
            "settings",
            "at_least_once: a stalled former owner can write an older snapshot (docs/guarantees.md)",
            'write delivery = "exactly_once" in [log.kafka] if the brokers have transactions',
        )


async def of_open_log(settings: Settings, log: Log) -> AsyncIterator[Finding]:
    """Topics, what has run on it, and times."""
    used = uses(settings)
    details = {detail.name: detail for detail in await log.describe()}
    found = flaws_of(settings, log, details, used)
    made = settings.log.kind == "sqlite" or settings.log.kafka.create_topics
    later = [flaw.topic for flaw in found if made and flaw.setting == MISSING]
    if later:
        what = f"there is no topic {', '.join(later)} yet"
        yield warning("log", what, "the first `run` makes what is missing")
    for flaw in found:
        if flaw.topic not in later:
            yield _of_flaw(flaw)
    if not found:
        yield ok("log", f"{log.where}: all {len(used)} topics are there, with settings that fit")
    for finding in await of_machines(settings, log):
        yield finding
    newest_ms = await _newest_ms(log, details.get(own_topics(settings).history))
    ahead_ms = newest_ms - wall_clock_ms()
    if ahead_ms > SKEW_MS:
        yield error(
            "clock",
            f"the log has a record of {rfc3339(newest_ms)}, which is {ahead_ms / 1000:.1f} s ahead of this "
            "machine's clock",
            "set the clocks by NTP, on all machines with daemons: timers go by them",
        )


def _of_flaw(flaw: Flaw) -> Finding:
    advice = "change it; `event-center topics check` has all of them"
    return (error if flaw.grave else warning)("log", told(flaw), advice)


async def _newest_ms(log: Log, history: TopicDetail | None) -> int:
    """When the newest records of the history were written; 0: there are none."""
    newest = 0
    if history is None:
        return newest
    for part in history.partitions:
        if part.next > part.first:
            async for batch in log.read(history.name, part.partition, part.next - 1):
                newest = max(newest, *(record.timestamp_ms for record in batch))
    return newest
