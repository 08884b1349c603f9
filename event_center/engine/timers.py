"""
When workflows of one shard are due: timers of their states, and attempts that wait for their retry.

A heap of (due, workflow_id), lazily kept: what a workflow really has due stands in its snapshot, so an
entry that came out of date is simply found to be nothing. Only the earliest due time of a workflow is
kept: who pops it says when the workflow is due next. So the heap is bounded by the number of workflows,
however often they come back to a state with a timer. A timer fires only after the shard has
decided what its log held when the timer became due (promise P7 with P4): `Timers` keeps those that are
due together with the watermarks of that moment. Turn and effect arm them; `timekeeping` waits for
the earliest, and `parts` fires what is due: after an outage perhaps everybody's, so not all into one cut.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from event_center.model import Snapshot

Watermarks = Mapping[str, int]

STALE = 1_000
"""Superseded entries that are always tolerated; beyond them no more than there are live ones."""
AT_ONCE = 1_000
"""Workflows that are looked at in one go, and whose timers fire in one cut: each may take some 30 us."""


class Timers:
    """The due times of one shard."""

    def __init__(self, on_earlier: Callable[[], None]) -> None:
        self._heap: list[tuple[int, str]] = []
        self._earliest: dict[str, int] = {}
        """When each workflow is to be looked at next; other entries of the heap are superseded."""
        self._behind: deque[tuple[Watermarks, int, deque[str]]] = deque()
        self._cut, self._left = -1, 0
        """So many workflows may still fire into this cut."""
        self.looking = False
        """What is due is being looked at: some of it may be nowhere else at the moment."""
        self._on_earlier = on_earlier
        """Called when something is due earlier than all that was known."""

    def look_at(self, workflow_id: str, at_ms: int) -> None:
        """The workflow is to be looked at, at this time."""
        earliest = self._earliest
        if at_ms >= earliest.get(workflow_id, at_ms + 1):
            return  # it is looked at before, and says then when it is due next
        earliest[workflow_id] = at_ms
        heap = self._heap
        if not heap or at_ms < heap[0][0]:
            self._on_earlier()
        if len(heap) > 2 * len(earliest) + STALE:
            heap[:] = [(due_ms, key) for key, due_ms in earliest.items()]
            heapq.heapify(heap)
        else:
            heapq.heappush(heap, (at_ms, workflow_id))

    def arm(self, snapshot: Snapshot) -> None:
        """The workflow has new timers."""
        for timer in snapshot.timers:
            self.look_at(snapshot.workflow_id, timer.due_ms)

    def again(self, snapshot: Snapshot, now_ms: int) -> None:
        """The workflow was popped: what it has due later is known again."""
        owed_ms = snapshot.owed[0].due_ms if snapshot.owed else 0
        later = [timer.due_ms for timer in snapshot.timers]
        later += [job.due_ms for job in snapshot.jobs]
        for due_ms in (*later, snapshot.deciding_due_ms, owed_ms):
            if due_ms > now_ms:
                self.look_at(snapshot.workflow_id, due_ms)

    def next_ms(self) -> int | None:
        """When something is due next; None if nothing is."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now_ms: int) -> list[str]:
        """Workflows that are due now, each once, in the order in which they became due; not all at once."""
        due: dict[str, None] = {}
        heap, earliest = self._heap, self._earliest
        while heap and heap[0][0] <= now_ms and len(due) < AT_ONCE:
            at_ms, workflow_id = heapq.heappop(heap)
            if earliest.get(workflow_id) == at_ms:
                del earliest[workflow_id]
                due[workflow_id] = None
        return list(due)

    def put_behind(self, workflow_ids: list[str], watermarks: Watermarks, now_ms: int) -> None:
        """Timers of these are due now; they fire once everything below the watermarks is decided."""
        self._behind.append((watermarks, now_ms, deque(workflow_ids)))

    def caught_up(self, offsets: Mapping[str, int], cut: int) -> Iterator[tuple[str, int]]:
        """
        The workflows whose timers may fire now that the shard has read up to these offsets.

        Each with the moment at which they were due: the clock may have been set back since. The rest comes
        when the number of the last cut is another: one cut is to hold no more.
        """
        if cut != self._cut:
            self._cut, self._left = cut, AT_ONCE
        while self._behind and self._left:
            watermarks, now_ms, workflow_ids = self._behind[0]
            if any(offsets.get(source, 0) < end for source, end in watermarks.items()):
                return
            workflow_id = workflow_ids.popleft()
            if not workflow_ids:
                self._behind.popleft()
            self._left -= 1
            yield workflow_id, now_ms

    @property
    def behind(self) -> bool:
        """Whether timers are due and wait for the intake."""
        return bool(self._behind)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is due, as of the last look."""
        return not (self.looking or self._behind)

    @property
    def enough(self) -> bool:
        """Whether the next cut holds as many as it may, and others wait for the one after it."""
        return bool(self._behind) and not self._left
