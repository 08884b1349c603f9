"""
What simulated worlds consist of, beside what happens in them, and where their chances come from.

`tests/simulation` has sceneries for the engine itself, `simulation_project` makes one of a project's
settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from event_center.engine.plan import Plan
from event_center.log.memory import MemoryBroker
from event_center.machine import Machine
from event_center.testing.audit_events import ReadEvent
from event_center.testing.simulation_schedule import Schedule

HANDOVER_S = 4.0
"""How long a group waits for a member to release a shard: some that stand still are outwaited."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenery:
    """Machines, callbacks and topics, and what may happen to them."""

    plans: Sequence[Plan]
    """Of the processes, the oldest first: each upgrade goes on to the next."""
    machines: Sequence[Machine]
    """Every version of every machine, for the audit."""
    sizes: Mapping[str, int]
    """Topics and their partitions."""
    schedule: Callable[[int], Schedule]
    """What happens under a seed."""
    readers: Mapping[str, ReadEvent] = field(default_factory=dict)
    """How the audit reads topics whose records are not plain JSON or CloudEvents."""
    undisturbed: Callable[[int], Schedule] = lambda _: ()
    """The same lives without anything that goes wrong: in their order, and nothing twice."""
    gently: bool = False
    """Each call of a callback fails at most once, and never for good; what it does is looked at."""
    begin: Callable[[], None] = lambda: None
    """Called before each world, so that what is left of the one before changes nothing."""

    def broker(self) -> MemoryBroker:
        """What the processes of a world share: it has the topics, and takes what the plans say."""
        most = self.plans[0].limits.record_bytes
        made = MemoryBroker(keep_cuts=True, handover_timeout_s=HANDOVER_S, max_event_bytes=most)
        made.create(self.sizes)
        return made


def chance_of(seed: int, name: str = "") -> Random:
    """What is left to chance under a seed, for one purpose; the same whenever it is asked for."""
    return Random(f"{seed}/{name}" if name else seed)  # noqa: S311 - it is to be repeated, not secret
