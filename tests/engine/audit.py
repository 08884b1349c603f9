"""
Promises P1 and P2, read from the log alone: every record once, every transition once.

The world asks for this at the end of every test. It believes no counter: outcomes come from history,
what waits from the waiting entries, and both together must be every record that was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from event_center.engine.plan import Plan
from event_center.log.memory import MemoryBroker
from event_center.model import Position, Shard
from event_center.wire import history, waiting
from event_center.wire.entries import SHARD_KEY, ShardEntry, is_waiting, snapshot_key


def history_of(broker: MemoryBroker, plan: Plan) -> list[dict[str, Any]]:
    """All history records, shard by shard, in the order in which they were written."""
    lines = (broker.line((plan.topics.history, shard)) for shard in range(plan.home.shards))
    return [history.read(record.value or b"") for line in lines for record in line]


def audit(broker: MemoryBroker, plan: Plan) -> None:
    """Fail if a record has no outcome, or two, or if a workflow made a step twice."""
    told = history_of(broker, plan)
    for shard in range(plan.home.shards):
        value = broker.store(Shard(shard)).get(SHARD_KEY)
        if value is not None:
            _audit_shard(broker, shard, ShardEntry.decode(value), told)
    _audit_steps(told)
    _audit_cuts(broker, plan)


def _audit_cuts(broker: MemoryBroker, plan: Plan) -> None:
    """P5: what a cut tells of the runs of a workflow, its snapshot says in the same cut."""
    for cut in broker.cuts:
        for topic, partition, offset in cut.positions:
            if topic != plan.topics.history:
                continue
            told = history.read(broker.line((topic, partition))[offset].value or b"")
            if told["kind"] == history.RUN:
                key = snapshot_key(told["workflow_id"])
                assert key in cut.entries, f"a cut tells of {told} and has no snapshot of it"


def _audit_shard(
    broker: MemoryBroker, shard: int, entry: ShardEntry, told: Iterable[dict[str, Any]]
) -> None:
    read = {
        Position(*_place(source, shard), offset)
        for source, following in entry.offsets.items()
        for offset in range(following)
    }
    decided: Counter[Position] = Counter()
    outcomes: Counter[str] = Counter()
    for record in told:
        if "offset" in record:
            position = Position(record["topic"], record["partition"], record["offset"])
            if position in read:
                decided[position] += 1
                outcomes[record["outcome"]] += 1
    waits = [
        waiting.decode(value)
        for key, value in broker.store(Shard(shard)).items()
        if is_waiting(key)
    ]
    decided.update(Position(one.topic, one.partition, one.record.offset) for one in waits)
    twice = {str(position): count for position, count in decided.items() if count != 1}
    assert not twice, f"records of shard {shard} with several outcomes: {twice}"
    missing = sorted(map(str, read - set(decided)))
    assert not missing, f"records of shard {shard} without an outcome: {missing}"
    assert len(read) == entry.read
    assert outcomes == {name: count for name, count in entry.outcomes.items() if count}
    assert len(waits) == sum(entry.waiting.values())


def _place(source: str, shard: int) -> tuple[str, int]:
    """The topic and partition of an offset's name."""
    topic, slash, partition = source.partition("/")
    return topic, int(partition) if slash else shard


def _audit_steps(told: Iterable[dict[str, Any]]) -> None:
    """The numbers of a workflow's transitions only rise; each is told once."""
    last: dict[str, int] = {}
    for record in told:
        moved = record["kind"] in {"applied", "timer"} and record.get("outcome") == "applied"
        if moved or record["kind"] == "created":
            workflow_id, seq = record["workflow_id"], record["seq"]
            assert seq > last.get(workflow_id, -1), f"{workflow_id} made step {seq} twice"
            last[workflow_id] = seq
        elif record["kind"] == "removed":
            last.pop(record["workflow_id"], None)
