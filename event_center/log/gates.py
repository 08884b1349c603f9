"""
The gates of a member's shards: from which offset each partition is read next, and whose turn it is.

Promises: urgent topics come first; a partition is read in order from the offset its gate was opened
at, each record once; when more is waiting than a fetch may return, those that had to wait longest come
first, each with an equal part, and all had a turn after a few fetches. The groups of the engines call this;
they do the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter

from event_center.log.ownership import offset_key, partitions_of
from event_center.model import Shard, Token

Place = tuple[str, int]
"""Topic and partition."""
Watermark = Callable[[Place], int]
"""The offset after the newest committed record of a place."""

SIDE_BY_SIDE = 10
"""
Partitions that a fetch serves at least, if so many have records; the others have their turn after these.
With 64 partitions, eight records of each would cost a third more than fifty of some.
"""


class Tap:
    """One partition behind an open gate: where its reading stands."""

    __slots__ = ("next", "partition", "place", "served", "shard", "topic", "urgent")

    def __init__(self, shard: Shard, place: Place, start: int, *, urgent: bool) -> None:
        self.shard = shard
        self.topic, self.partition = place
        self.place = place
        self.urgent = urgent
        self.next = start
        self.served = 0
        """The number of the last turn in which it was read: the least one has waited longest."""


class Gates:
    """Open gates by shard. A shard without one is never read."""

    def __init__(
        self, topics: Sequence[tuple[str, int]], shards: int, urgent: Collection[str] = ()
    ) -> None:
        self._topics = tuple(topics)
        self._urgent = frozenset(urgent)
        self.shards = shards
        self.topics = [name for name, _ in topics]
        self._open: dict[Shard, tuple[Token, list[Tap]]] = {}
        self._round = 0

    def open(self, shard: Shard, token: Token, offsets: Mapping[str, int]) -> None:
        """Let the shard be read from these offsets on, from the oldest where none is named."""
        self._open[shard] = (
            token,
            [
                Tap(shard, (topic, q), offsets.get(name, 0), urgent=topic in self._urgent)
                for name, topic, q in self.topics_of(shard)
            ],
        )

    def resize(self, topics: Sequence[tuple[str, int]]) -> bool:
        """Partitions of the topics by now; whether any has more. Open gates stay as they are."""
        before, self._topics = dict(self._topics), tuple(topics)
        return any(count > before[name] for name, count in topics)

    def close(self, shard: Shard) -> None:
        """Stop reading the shard; a gate that is closed stays closed."""
        self._open.pop(shard, None)

    def topics_of(self, shard: Shard) -> list[tuple[str, str, int]]:
        """The shard's partitions, each as (name of its offset, topic, partition)."""
        return [
            (offset_key(topic, q, shard), topic, q)
            for topic, partitions in self._topics
            for q in partitions_of(shard, partitions, self.shards)
        ]

    def portions(
        self,
        ready: Mapping[Shard, Token],
        watermark: Watermark,
        limit: int,
        paused: Collection[Shard] = (),
    ) -> list[tuple[Tap, int]]:
        """
        Which partitions to read now, and at most how many records of each; `limit` in sum.

        Of paused shards only the urgent topics have a turn.
        """
        waiting: list[Tap] = []
        urgent: list[Tap] = []
        for shard, token in ready.items():
            opened = self._open.get(shard)
            if opened is None or opened[0] != token:
                continue
            for tap in opened[1]:
                if tap.next < watermark(tap.place):
                    if tap.urgent:
                        urgent.append(tap)
                    elif shard not in paused:
                        waiting.append(tap)
        if not (urgent or waiting):
            return []
        self._round += 1
        portions = self._portions(urgent, watermark, limit)
        left = limit - sum(count for _, count in portions)
        return portions + self._portions(waiting, watermark, left)

    def _portions(
        self, waiting: list[Tap], watermark: Watermark, limit: int
    ) -> list[tuple[Tap, int]]:
        if not waiting or limit < 1:
            return []
        if len(waiting) > min(limit, SIDE_BY_SIDE):
            waiting = self._next_in_turn(waiting, watermark, limit)
        # Shortest backlog first: what it leaves of its equal part goes to those behind it.
        backlogs = sorted(
            (watermark(tap.place) - tap.next, rank) for rank, tap in enumerate(waiting)
        )
        portions = []
        for done, (backlog, rank) in enumerate(backlogs):
            count = min(backlog, limit // (len(backlogs) - done))
            limit -= count
            waiting[rank].served = self._round
            portions.append((waiting[rank], count))
        return portions

    @staticmethod
    def _next_in_turn(waiting: list[Tap], watermark: Watermark, limit: int) -> list[Tap]:
        """Those that waited longest, as many as fill a fetch with an equal part each."""
        part = max(1, limit // SIDE_BY_SIDE)
        chosen = []
        for tap in sorted(waiting, key=attrgetter("served")):
            chosen.append(tap)
            limit -= min(part, watermark(tap.place) - tap.next)
            if limit <= 0:
                break
        return chosen
