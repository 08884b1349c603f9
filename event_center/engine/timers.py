"""
When workflows of one shard are due: timers of their states, and attempts that wait for their retry.

A heap of (due, workflow_id), lazily kept: what a workflow really has due stands in its snapshot, so an
entry that came out of date is simply found to be nothing. A timer fires only after the shard has
decided what its log held when the timer became due (promise P7 with P4): `Timers` keeps those that are
due together with the watermarks of that moment.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping

from event_center.model import Snapshot

Watermarks = Mapping[str, int]


class Timers:
    """The due times of one shard."""

    def __init__(self, on_earlier: Callable[[], None]) -> None:
        self._heap: list[tuple[int, str]] = []
        self._behind: deque[tuple[Watermarks, list[str]]] = deque()
        self._on_earlier = on_earlier
        """Called when something is due earlier than all that was known."""

    def due(self, workflow_id: str, at_ms: int) -> None:
        """The workflow wants to be looked at, at this time."""
        if not self._heap or at_ms < self._heap[0][0]:
            self._on_earlier()
        heapq.heappush(self._heap, (at_ms, workflow_id))

    def arm(self, snapshot: Snapshot) -> None:
        """The workflow has new timers."""
        for timer in snapshot.timers:
            self.due(snapshot.workflow_id, timer.due_ms)

    def next_ms(self) -> int | None:
        """When something is due next; None if nothing is."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ms: int) -> list[str]:
        """The workflows that are due now, each once, in the order in which they became due."""
        due: dict[str, None] = {}
        while self._heap and self._heap[0][0] <= now_ms:
            due[heapq.heappop(self._heap)[1]] = None
        return list(due)

    def hold(self, workflow_ids: list[str], watermarks: Watermarks) -> None:
        """Timers of these are due; they fire once everything below the watermarks is decided."""
        self._behind.append((watermarks, workflow_ids))

    def release(self, offsets: Mapping[str, int]) -> list[str]:
        """The workflows whose timers may fire now that the shard has read up to these offsets."""
        free: list[str] = []
        while self._behind:
            watermarks, workflow_ids = self._behind[0]
            if any(offsets.get(topic, 0) < mark for topic, mark in watermarks.items()):
                break
            free += workflow_ids
            self._behind.popleft()
        return free

    @property
    def held(self) -> bool:
        """Whether timers are due and wait for the intake."""
        return bool(self._behind)
