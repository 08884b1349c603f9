"""
What a center has read and what became of it: the sum of all shard entries, from the log alone.

Works with and without a daemon, and never from anything that lags behind: a shard entry is part of
the cut that it counts. The CLI's `stats` and the end of `run --until-idle` show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio

from event_center.client.app import App
from event_center.errors import EventCenterError, FormatError
from event_center.log.port import Log, TopicInfo
from event_center.model import Outcome, Shard, Status
from event_center.wire.entries import SHARD_KEY, ShardEntry

T = TypeVar("T")
AT_ONCE = 16
"""Questions that are asked side by side: enough to hide the way to a cluster, few enough for its client."""
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


async def shard_entries(log: Log, app: App) -> dict[Shard, ShardEntry]:
    """
    The entry of every shard's last cut.

    Raises:
        FormatError: one can not be read.
    """
    shards = [Shard(number) for number in range(app.shards)]
    found = await _side_by_side([partial(shard_entry, log, shard) for shard in shards])
    return dict(zip(shards, found, strict=True))


async def stats(log: Log, app: App) -> Stats:
    """
    Counters, workflows and lag of the whole app.

    Raises:
        FormatError: a shard entry can not be read.
    """
    return await summed(log, app, await shard_entries(log, app))


async def summed(log: Log, app: App, entries: dict[Shard, ShardEntry]) -> Stats:
    """The answer of `stats`, of shard entries that were read before."""
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
        "lost": sum(sum(entry.lost.values()) for entry in both),
        "transitions": sum(entry.transitions for entry in both),
        "timers": sum(entry.timers for entry in both),
        "runs": sum(entry.runs for entry in both),
        "jobs": sum(entry.jobs for entry in both),
        "workflows": _workflows(both),
        "lag": sum(topic["lag"] for topic in topics.values()),
        "topics": topics,
        "letters": await _written(log, app.dead_letters),
        "history": await _written(log, app.history),
        "shards": [
            {
                "shard": shard,
                "cut": entry.cut,
                "owner": entry.owner,
                "takeovers": entry.takeovers,
                "read": entry.read,
                "machines": entry.machines,
            }
            for shard, entry in entries.items()
        ],
    }


def _workflows(entries: list[ShardEntry]) -> dict[str, Any]:
    """Workflows by machine and state, and by status; versions of a machine count together."""
    states: dict[str, Counter[str]] = {}
    statuses: Counter[str] = Counter()
    for entry in entries:
        for place, count in entry.counts.items():
            if place.status is Status.EXPECTED:
                continue  # there is no such workflow yet: its events are counted as held
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
        for partition, watermark in enumerate(await _watermarks(log, infos.get(topic))):
            shard = Shard(partition % app.shards)
            source = topic if partition == shard else f"{topic}/{partition}"
            offset = entries[shard].offsets.get(source, 0)
            # A cut between the two reads may have made the watermark's side the older one.
            lag = max(0, watermark - offset)
            partitions.append(
                {"partition": partition, "offset": offset, "watermark": watermark, "lag": lag}
            )
        topics[topic] = {"lag": sum(one["lag"] for one in partitions), "partitions": partitions}
    return topics


async def _written(log: Log, topic: str) -> int:
    """How many records were ever written to a topic of the center."""
    return sum(await _watermarks(log, (await log.topics()).get(topic)))


async def _watermarks(log: Log, info: TopicInfo | None) -> list[int]:
    """The watermark of every partition of a topic."""
    if info is None:
        return []
    return await _side_by_side(
        [partial(log.watermark, info.name, p) for p in range(info.partitions)]
    )


async def _side_by_side(asks: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """
    All answers, in the order of the questions; a log on other machines is asked several at once.

    Raises:
        EventCenterError: the first that one of them raises.
    """
    answers: dict[int, T] = {}
    errors: list[EventCenterError] = []
    limiter = anyio.Semaphore(AT_ONCE)
    async with anyio.create_task_group() as tasks:

        async def answer(number: int, ask: Callable[[], Awaitable[T]]) -> None:
            try:
                async with limiter:
                    answers[number] = await ask()
            except EventCenterError as error:
                errors.append(error)
                tasks.cancel_scope.cancel()

        for number, ask in enumerate(asks):
            tasks.start_soon(answer, number, ask)
    if errors:
        raise errors[0]
    return [answers[number] for number in range(len(asks))]
