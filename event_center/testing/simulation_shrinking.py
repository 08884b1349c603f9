"""
A seed that breaks a promise, made short: fewer events, faults and mishaps, and the same promise broken.

Greedy: large parts of the schedule are left out first, then single happenings; then whatever went wrong
with calls is spared. What remains is told as a story that one can read, with the history of the workflow
that the promise was broken for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from itertools import chain

from event_center.testing.audit_evidence import Evidence, Violation
from event_center.testing.simulation import Played, play
from event_center.testing.simulation_scenery import Scenery
from event_center.testing.simulation_schedule import Schedule

MOST_PLAYS = 400
"""Worlds that are tried for one story: after some hundred it seldom gets shorter, and each takes time."""
TOLD = 20
"""Records of the history that a story ends with: the last ones before the promise was broken."""


class _Shortest:
    """The shortest that breaks the promise, so far."""

    def __init__(
        self, played: Played, scenery: Scenery, most: int, broken: Callable[[Played], bool]
    ) -> None:
        self.played = played
        self.left = most
        self._scenery = scenery
        self._broken = broken

    def without(self, schedule: Schedule, spared: Collection[str]) -> bool:
        """Try this; whether it breaks the promise as well, and so is the shortest now."""
        if self.left <= 0:
            return False
        self.left -= 1
        tried = play(self.played.seed, self._scenery, schedule, spared)
        if not self._broken(tried):
            return False
        self.played = tried
        return True


def shrunk(
    played: Played,
    scenery: Scenery,
    *,
    most: int = MOST_PLAYS,
    broken: Callable[[Played], bool] | None = None,
) -> Played:
    """
    The shortest world that was found in which the same promise is broken.

    Args:
        played: a world with violations.
        scenery: what it consists of.
        most: how many worlds may be tried.
        broken: whether a world shows what is looked for; by default the promise that was broken first.
    """
    shortest = _Shortest(played, scenery, most, broken or _as_in(played))
    schedule = played.schedule
    size = len(schedule) // 2
    while size and shortest.left:
        start = 0
        while start < len(schedule):
            fewer = (*schedule[:start], *schedule[start + size :])
            if shortest.without(fewer, shortest.played.spared):
                schedule = fewer
            else:
                start += size
        size //= 2
    mishaps = list(shortest.played.mishaps)
    size = len(mishaps)
    while size and shortest.left:
        for start in range(0, len(mishaps), size):
            some = mishaps[start : start + size]
            shortest.without(schedule, shortest.played.spared.union(some))
        size //= 2
    return shortest.played


def _as_in(played: Played) -> Callable[[Played], bool]:
    promise = played.violations[0].promise
    return lambda tried: promise in {one.promise for one in tried.violations}


def story(played: Played) -> str:
    """What happened, and which promise it broke."""
    mishaps = [f"  {name} {what}" for name, what in played.mishaps.items()]
    blocks = [
        [f"seed {played.seed} breaks:"] if played.violations else [f"seed {played.seed}"],
        [f"  {violation}" for violation in played.violations],
        ["what happened:"],
        [f"  {line}" for line in played.lines],
        ["what went wrong with calls:", *mishaps] if mishaps else [],
        _around(played.evidence, played.violations[0]) if played.violations else [],
    ]
    return "\n".join(chain.from_iterable(blocks))


def _around(evidence: Evidence, violation: Violation) -> list[str]:
    """The end of the history of the workflow that the promise was broken for."""
    told = []
    for (topic, _), records in evidence.records.items():
        if topic != evidence.history:
            continue
        for record in records:
            event = json.loads(record.value or b"{}")
            if event.get("subject") == violation.workflow:
                told.append((record.timestamp_ms, json.dumps(event.get("data"))))
    if not told:
        return []
    shown = [f"  {text}" for _, text in sorted(told)[-TOLD:]]
    return [f"the last of what the history tells of {violation.workflow}:", *shown]
