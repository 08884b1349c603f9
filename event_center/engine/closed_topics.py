"""
Topics that callbacks publish to and that take nothing at the moment: gone, forbidden, or too small.

A cut is all or nothing, so that one such topic would stop its shard. A permanent error of a cut names its
topic (`LogError.topic`); if that is one that callbacks publish to, it is *closed* here, for all shards
of the process, and the shard is taken over again without what was meant for it. A run that has published
there is postponed, as after any failure of the infrastructure: no attempt is used. After a pause that
grows the topic is tried again; the first cut that gets through opens it.

The center's own topics are never closed: without history or letters a shard stands still and says so.
Cutting closes and opens; the outbox asks for every run that has published; `limits` tells who is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import structlog

from event_center.log.port import Cut

log = structlog.get_logger()

PAUSE_MS = 5_000
"""How long a topic stays closed at first: what a shard does again because of it takes far less."""
LONGEST_MS = 300_000
"""How long at most: an operator who has mended the topic waits no longer."""


class ClosedTopic(NamedTuple):
    """A topic that is closed."""

    topic: str
    why: str
    until_ms: int
    """From then on the next run that publishes there tries it again."""
    pause_ms: int


class ClosedTopics:
    """The topics of one process that are closed."""

    def __init__(self) -> None:
        self.by_name: dict[str, ClosedTopic] = {}

    def __iter__(self) -> Iterator[ClosedTopic]:
        return iter([*self.by_name.values()])

    def close(self, topic: str, why: str, now_ms: int) -> None:
        """Nothing is published to it for a while; twice as long as the time before."""
        before = self.by_name.get(topic)
        pause = PAUSE_MS if before is None else min(2 * before.pause_ms, LONGEST_MS)
        self.by_name[topic] = ClosedTopic(topic, why, now_ms + pause, pause)
        log.error("topic.closed", topic=topic, error=why, again_in_s=pause / 1000)

    def first(self, topics: Iterable[str], now_ms: int) -> ClosedTopic | None:
        """The first of these topics that is closed; a pause that is over counts no more."""
        for topic in topics:
            found = self.by_name.get(topic)
            if found is not None and now_ms < found.until_ms:
                return found
        return None

    def written(self, cut: Cut) -> None:
        """This cut is durable: what it has written to is open."""
        if self.by_name:
            for topic in {topic for topic, *_ in cut.records} & self.by_name.keys():
                del self.by_name[topic]
                log.info("topic.opened", topic=topic)
