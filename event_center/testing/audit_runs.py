"""
Callbacks' own records against what the log says was owed (promise P3).

Each run that history calls done was started at least once, with its one key, and none before the cut
that owes it was durable (eager ones need not wait); nobody started what was never owed. `audit` asks
for this after the shards were replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from event_center.machine import Machine
from event_center.model import Position
from event_center.testing.audit_debt import Debt
from event_center.testing.audit_events import Events
from event_center.testing.audit_evidence import Promise, Started, Violation
from event_center.testing.audit_life import Life

NS_PER_MS = 1_000_000


class Starts:
    """What the callbacks wrote down, by key."""

    def __init__(self, started: Iterable[Started]) -> None:
        self._by_key: dict[str, list[Started]] = {}
        for one in started:
            self._by_key.setdefault(one.key, []).append(one)

    def of_lives(self, lives: Sequence[Life]) -> Iterator[Violation]:
        """What the workflows owed, and who ran it; one that was removed may have been made anew."""
        owed_ms: dict[str, int] = {}
        for life in lives:
            for (name, seq), debt in life.debts.items():
                key = f"{life.snapshot.workflow_id}/{seq}/{name}"
                owed_ms[key] = min(debt.at_ms, owed_ms.get(key, debt.at_ms))
        for life in lives:
            yield from self._of_life(life, owed_ms)

    def _of_life(self, life: Life, owed_ms: Mapping[str, int]) -> Iterator[Violation]:
        workflow_id = life.snapshot.workflow_id
        for (name, seq), debt in life.debts.items():
            key = f"{workflow_id}/{seq}/{name}"
            story = self._broken(key, debt, owed_ms[key])
            if story:
                yield Violation(Promise.CALLBACKS, workflow_id, story)
        for key in life.decided:
            if key not in self._by_key:
                story = f"its event was accepted, and {key} was never started"
                yield Violation(Promise.CALLBACKS, workflow_id, story)

    def _broken(self, key: str, debt: Debt, owed_ms: int) -> str:
        starts = self._by_key.get(key, [])
        if debt.ended == "done" and not starts:
            return f"{key} is done on record, and was never started"
        for one in starts:
            early = one.time_ns and one.time_ns // NS_PER_MS < owed_ms
            if early and not debt.eager:
                before_ms = owed_ms - one.time_ns // NS_PER_MS
                return f"{key} was started {before_ms} ms before the cut that owes it was durable"
        return ""

    def phantoms(
        self, lives: Iterable[Life], events: Events, machines: Sequence[Machine]
    ) -> Iterator[Violation]:
        """Starts that nothing on record explains."""
        debts: dict[str, set[tuple[str, int]]] = {}
        for life in lives:
            debts.setdefault(life.snapshot.workflow_id, set()).update(life.debts)
        eager = {name for machine in machines for name in machine.eager}
        for key, starts in self._by_key.items():
            one = starts[0]
            owed = debts.get(one.workflow_id)
            origin, _, name = key.removeprefix(f"{one.workflow_id}/").rpartition("/")
            if name != one.name:
                story = f"callback {one.name} was given the key {key!r} of another"
            elif not origin.isdigit():
                # A decide callback may run before anything of its workflow is durable.
                if _is_event_of(one.workflow_id, origin, events):
                    continue
                story = f"{key} was started, and names no event of this workflow"
            elif owed is None:
                story = f"{key} was started, and there is no such workflow"
            elif (name, int(origin)) in owed or name in eager:
                continue
            else:
                story = f"{key} was started, and was never owed"
            yield Violation(Promise.CALLBACKS, one.workflow_id, story)


def _is_event_of(workflow_id: str, origin: str, events: Events) -> bool:
    """Whether a decide callback's key names an event that this workflow written."""
    topic, _, rest = origin.partition("/")
    if topic in {"timer", "run", "error", "letter", "command"}:
        return True
    partition, _, offset = rest.partition("/")
    if not (partition.isdigit() and offset.isdigit()):
        return False
    written = events.written(Position(topic, int(partition), int(offset)))
    return written is not None and written.workflow_id == workflow_id
