"""
Whether an app is healthy: what the pulse of its daemon, its group and its log say, as reasons why not.

Promises: an answer also when the daemon stands still or is gone, since nobody is asked who could not
answer. The command `health` shows it; `pulse.py` writes what is read here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from event_center.app.settings import Settings
from event_center.client.stats import Stats
from event_center.log.kafka import KafkaLog
from event_center.log.port import Log
from event_center.log.sqlite import Daemon, daemon_on


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How an app is."""

    reasons: tuple[str, ...]
    """Why it is not healthy; empty: it is."""
    daemon: dict[str, Any] | None
    """What the daemon on this machine says of itself; None: there is none, or the log is Kafka."""
    group: tuple[dict[str, Any], ...]
    """On Kafka, what each daemon of the group said of itself within the last seconds."""
    members: int
    """Daemons in the group."""
    lag: int

    def told(self) -> dict[str, Any]:
        """The answer of `health --json`."""
        return {"healthy": not self.reasons, **asdict(self)}


def daemon_of(settings: Settings) -> Daemon | None:
    """
    Who runs on the log of these settings; None where no file tells, which is so on Kafka.

    Raises:
        LogUnavailable: the lock file can not be read.
    """
    if settings.log.kind != "sqlite":
        return None
    return daemon_on(settings.under_root(settings.log.path))


async def said_by(daemon: Daemon | None, log: Log) -> tuple[dict[str, Any], ...]:
    """
    What daemons say of themselves: on a file the one that runs on it, on Kafka all of the group.

    Raises:
        LogUnavailable: nobody answers.
    """
    if isinstance(log, KafkaLog):
        return tuple(await log.said())
    return (daemon.said,) if daemon is not None and daemon.alive else ()


def named(said: Mapping[str, Any]) -> str:
    """A daemon as messages name it."""
    return f"process {said.get('pid')} on {said.get('host')}"


def silence_s(said: dict[str, Any]) -> float:
    """For how long a daemon of this machine has not been heard of; 0 if it has just begun."""
    heard = said.get("monotonic_s")
    return 0.0 if heard is None else max(0.0, time.monotonic() - float(heard))


def health_of(
    daemon: Daemon | None,
    counted: Stats,
    members: int,
    *,
    max_silence_s: float,
    max_lag: int | None,
    group: Sequence[dict[str, Any]] = (),
) -> Health:
    """
    Judge.

    Args:
        daemon: who runs on the log; None: the log does not say.
        counted: the answer of `stats`.
        members: how many daemons are in the group.
        max_silence_s: how long a daemon may not be heard of.
        max_lag: how many records may be unread; None: any number.
        group: what daemons say where no file does.
    """
    if daemon is None:
        reasons = (
            [] if members else ["no daemon is in the group: start one with `event-center run`"]
        )
        reasons += [f"{named(said)}: {reason}" for said in group for reason in _of_log(said)]
    else:
        reasons = list(_of_daemon(daemon, max_silence_s))
    if max_lag is not None and counted["lag"] > max_lag:
        reasons.append(f"{counted['lag']} records are not taken in yet, more than {max_lag}")
    return Health(
        reasons=tuple(reasons),
        daemon=daemon.said if daemon is not None and daemon.alive else None,
        group=tuple(group),
        members=members,
        lag=counted["lag"],
    )


def _of_daemon(daemon: Daemon, max_silence_s: float) -> Iterator[str]:
    said = daemon.said
    if not daemon.alive:
        before = f"; the last was process {said.get('pid')} on {said.get('host')}" if said else ""
        before += f", heard of at {said['at']}" if "at" in said else ""
        yield f"no daemon runs on this log{before}: start one with `event-center run`"
        return
    silent_s = silence_s(said)
    if silent_s > max_silence_s:
        culprit = said.get("kept_by") or {}
        why = f"; blocked by {culprit['where']}" if culprit else ""
        yield (
            f"the daemon, process {said.get('pid')}, has not been heard of for {silent_s:.1f} s: its "
            f"event loop stands still, or the process is stopped{why}"
        )
    if said.get("serving", 0) < said.get("shards", 1):
        yield (
            f"{said.get('serving', 0)} of {said.get('shards', '?')} shards are served: the daemon is "
            "starting, or its log does not let it (see its own log)"
        )
    yield from _of_log(said)


def _of_log(said: dict[str, Any]) -> Iterator[str]:
    """What its log does not let a daemon do."""
    for one in said.get("limits", ()):
        if one["limit"] == "log":
            where = "" if one["shard"] is None else f"shard {one['shard']}: "
            yield f"{where}{one['meaning']}"
