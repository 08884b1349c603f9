"""
What a center has read and what became of it: the sum of all shard entries, from the log alone.

Works with and without a daemon, and never from anything that lags behind: a shard entry is part of
the cut that it counts. The CLI's `stats` and the end of `run --until-idle` show it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from event_center.client.app import App
from event_center.errors import FormatError
from event_center.log.port import Log
from event_center.model import Outcome, Shard
from event_center.wire.entries import SHARD_KEY, ShardEntry

Stats = dict[str, Any]
"""Ready to be written as JSON; docs/formats.md lists the fields."""


async def shard_entry(log: Log, shard: Shard) -> ShardEntry:
    """
    The entry of the shard's last cut; one that counts nothing if there was none.

    Raises:
        FormatError: a newer release wrote it, or it is damaged.
    """
    value = await log.entry(shard, SHARD_KEY)
    try:
        return ShardEntry() if value is None else ShardEntry.decode(value)
    except FormatError as error:
        raise FormatError(f"shard {shard} of {log.where}: {error}") from error


async def stats(log: Log, app: App) -> Stats:
    """
    Counters, workflows and lag of the whole app.

    Raises:
        FormatError: a shard entry can not be read.
    """
    entries = {shard: await shard_entry(log, shard) for shard in map(Shard, range(app.shards))}
    outcomes: Counter[str] = Counter(dict.fromkeys(map(str, Outcome), 0))
    waiting: Counter[str] = Counter(ShardEntry().waiting)
    for entry in entries.values():
        outcomes.update(entry.outcomes)
        waiting.update(entry.waiting)
    topics = await _topics(log, app, entries)
    both = list(entries.values())
    return {
        "events": {
            "read": sum(entry.read for entry in both),
            **outcomes,
            "waiting": sum(waiting.values()),
        },
        "waiting": dict(waiting),
        "redelivered": sum(entry.redelivered for entry in both),
        "transitions": sum(entry.transitions for entry in both),
        "timers": sum(entry.timers for entry in both),
        "runs": sum(entry.runs for entry in both),
        "workflows": _workflows(both),
        "lag": sum(topic["lag"] for topic in topics.values()),
        "topics": topics,
        "letters": await _written(log, app.dead_letters),
        "history": await _written(log, app.history),
        "shards": [
            {"shard": shard, "cut": entry.cut, "read": entry.read, "machines": entry.machines}
            for shard, entry in entries.items()
        ],
    }


def _workflows(entries: list[ShardEntry]) -> dict[str, Any]:
    """Workflows by machine and state, and by status; versions of a machine count together."""
    states: dict[str, Counter[str]] = {}
    statuses: Counter[str] = Counter()
    for entry in entries:
        for place, count in entry.counts.items():
            states.setdefault(place.machine, Counter())[place.state] += count
            statuses[str(place.status)] += count
    return {
        "total": statuses.total(),
        "by_state": {machine: _sorted(counts) for machine, counts in sorted(states.items())},
        "by_status": _sorted(statuses),
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


async def _topics(
    log: Log, app: App, entries: dict[Shard, ShardEntry]
) -> dict[str, dict[str, Any]]:
    """Per topic that is read: the next offset and the watermark of each partition."""
    infos = await log.topics()
    topics: dict[str, dict[str, Any]] = {}
    for topic in app.consumed():
        partitions = []
        for partition in range(infos[topic].partitions if topic in infos else 0):
            shard = Shard(partition % app.shards)
            source = topic if partition == shard else f"{topic}/{partition}"
            offset = entries[shard].offsets.get(source, 0)
            watermark = await log.watermark(topic, partition)
            # A cut between the two reads may have made the watermark's side the older one.
            lag = max(0, watermark - offset)
            partitions.append(
                {"partition": partition, "offset": offset, "watermark": watermark, "lag": lag}
            )
        topics[topic] = {"lag": sum(one["lag"] for one in partitions), "partitions": partitions}
    return topics


async def _written(log: Log, topic: str) -> int:
    """How many records were ever written to a topic of the center."""
    info = (await log.topics()).get(topic)
    return sum([await log.watermark(topic, p) for p in range(info.partitions if info else 0)])
