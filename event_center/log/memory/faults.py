"""
What shall go wrong in a log in memory: how its next commits end, what its fetches repeat, who comes
between.

Promises: nothing goes wrong unless it was asked for here, and each fault is used up once. Tests and
the simulation fill this in; the lease, the group and the log of this room consume it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from event_center.errors import LogError
from event_center.log.port import Cut


class Ending(StrEnum):
    """How a commit (of a cut, or of published records) ends other than well."""

    NOT_COMMITTED = "not_committed"
    """NotCommitted; nothing is written."""
    WRITTEN = "written"
    """Unknown; it is written all the same."""
    LOST = "lost"
    """Unknown; it is not written."""
    WRITTEN_LATER = "written_later"
    """Unknown; still in flight, and written when the next lease of the shard decides about it."""
    LOST_LATER = "lost_later"
    """Unknown; still in flight, and dropped when the next lease of the shard decides about it."""


@dataclass(kw_only=True, slots=True)
class Faults:
    """The faults of a broker, or of one log where it was given its own."""

    commits: deque[Ending | None] = field(default_factory=deque)
    """The endings of the next commits of cuts, the next one first; None is well."""
    refusing: dict[str, Ending] = field(default_factory=dict)
    """By topic, how cuts that write to it end while it is named here: not_committed or lost."""
    spoiled: Callable[[Cut], bool] | None = None
    """Says of a cut whether something in it lets it end `lost`, each time."""
    publishes: deque[Ending] = field(default_factory=deque)
    """The endings of the next calls of publish: not_committed, written or lost."""
    repeats: int = 0
    """So many of the next fetches deliver the last batches once more."""
    fetch_delay_s: float = 0.0
    """Every fetch waits so long before it looks."""
    troubles: dict[str, deque[LogError]] = field(default_factory=dict)
    """By the name of a place: what the next calls raise there, as a log that can not be reached does."""
    on_await: Callable[[str], Awaitable[None]] | None = None
    """Awaited, with the name of the place, wherever the log could let other asyncio tasks run."""

    async def at(self, name: str) -> None:
        """One place at which others may come between, and which may fail."""
        if self.troubles and self.troubles.get(name):
            raise self.troubles[name].popleft()
        if self.on_await is not None:
            await self.on_await(name)

    def next_commit(self) -> Ending | None:
        """How the commit at hand is to end; None is well."""
        return self.commits.popleft() if self.commits else None

    def next_publish(self) -> Ending | None:
        """How the publish at hand is to end; None is well."""
        return self.publishes.popleft() if self.publishes else None
