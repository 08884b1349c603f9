"""
Evidence out of a log in memory that kept its cuts, for the audit; and who in it waits for an operator.

What happens in the log later changes nothing of it. The simulation calls this when a world has come to
rest; `find_violations` takes what this returns.
"""

from __future__ import annotations

from collections.abc import Sequence

from event_center.log.memory import MemoryBroker
from event_center.log.port import Cut
from event_center.model import Shard
from event_center.testing.audit_evidence import Evidence, KeptCut
from event_center.wire import snapshot as wire
from event_center.wire.entries import is_snapshot, snapshot_key, workflow_of

STOPPED = frozenset({"paused", "parked"})


def read_memory(
    broker: MemoryBroker,
    *,
    app: str,
    consumed: Sequence[str],
    every_outcome: bool = True,
    idle_ms: int = 0,
    set_back_ms: int = 0,
) -> Evidence:
    """
    Everything that an audit looks at.

    Args:
        broker: the log, made with `keep_cuts=True`.
        app: the prefix of the center's own topics.
        consumed: the topics that the center reads.
        every_outcome: the center ran with `history = "all"`.
        idle_ms: when the center was found idle; 0: P8 is not checked.
        set_back_ms: how far the clocks of its processes were set back in all.
    """
    sizes = {name: info.partitions for name, info in broker.infos.items()}
    shards = sizes.get(f"{app}.history", 1)
    places = [(name, q) for name, count in sizes.items() for q in range(count)]
    return Evidence(
        app=app,
        shards=shards,
        consumed=consumed,
        records={place: list(broker.line(place)) for place in places},
        cuts=[
            KeptCut(
                number=cut.number,
                shard=cut.shard,
                epoch=cut.epoch,
                at_ms=cut.at_ms,
                entries=list(cut.entries.items()),
                records=cut.positions,
                offsets=cut.offsets,
            )
            for cut in broker.cuts
        ],
        entries={shard: dict(broker.store(Shard(shard))) for shard in range(shards)},
        every_outcome=every_outcome,
        idle_ms=idle_ms,
        set_back_ms=set_back_ms,
    )


def stopped_in(broker: MemoryBroker, shards: int) -> list[str]:
    """The workflows that only a command sets going again."""
    found = []
    for shard in range(shards):
        for key, value in broker.store(Shard(shard)).items():
            if is_snapshot(key):
                workflow_id = workflow_of(key)
                if wire.peek(value).status in STOPPED:
                    found.append(workflow_id)
    return found


def spoils(workflow_id: str, state: str, cut: Cut) -> bool:
    """Whether the cut has what the log does not take: this workflow, in this state and not stopped."""
    value = cut.entries.get(snapshot_key(workflow_id))
    if value is None:
        return False
    head = wire.peek(value)
    return head.state == state and head.status not in wire.STOPPED
