"""
What must hold at the end of a log, once every cut of a shard was replayed: P1, P5, P7 and P8.

Each record that was read has one outcome or waits; what the shard holds is what its cuts made; and if
the center was idle, nothing is left over but what somebody stopped. `audit` asks for each whole shard.
"""

from __future__ import annotations

from collections.abc import Iterator

from event_center.model import Position
from event_center.testing.audit_evidence import Evidence, KeptCut, Promise, Violation
from event_center.testing.audit_formats import is_closing
from event_center.testing.audit_shard import ShardAudit

SLACK_MS = 2_000
"""How late a timer may be: one that became due so shortly before the end may not have fired yet."""


def unfinished(shard: ShardAudit, evidence: Evidence) -> Iterator[Violation]:
    """What does not hold at the end of one shard."""
    if shard.entries != dict(evidence.entries.get(shard.shard, {})):
        story = f"the entries of shard {shard.shard} are not those that its cuts made"
        yield Violation(Promise.WHOLE_CUTS, "", story)
        return
    if evidence.every_outcome:
        yield from _outcomes(shard, evidence)
    if evidence.idle_ms:
        yield from _lag(shard, evidence)
        for workflow_id in shard.lives:
            yield from _left_over(shard, workflow_id, evidence.idle_ms)


def _outcomes(shard: ShardAudit, evidence: Evidence) -> Iterator[Violation]:
    """Every record below the offsets is somewhere, and none beyond them."""
    waiting = {entry.position for entries in shard.waiting.values() for entry in entries.values()}
    for source, place in evidence.sources(shard.shard).items():
        following = shard.state.offsets.get(source, 0)
        for record in evidence.records[place]:
            position = Position(*place, record.offset)
            told = shard.outcomes.get(position)
            if record.offset >= following and (told or position in waiting):
                story = f"{position} was decided, and the shard has read up to {following} only"
            elif record.offset < following and not told and position not in waiting:
                story = f"{position} was read, has no outcome and does not wait"
            elif told and position in waiting:
                story = f"{position} has the outcome {told.kind}, and waits"
            else:
                continue
            yield Violation(Promise.ONE_OUTCOME, told.workflow_id if told else "", story)


def _lag(shard: ShardAudit, evidence: Evidence) -> Iterator[Violation]:
    for source, place in evidence.sources(shard.shard).items():
        records = evidence.records[place]
        following = shard.state.offsets.get(source, 0)
        if records and records[-1].offset >= following:
            story = f"{source} was read up to {following} only, it has {records[-1].offset + 1}"
            yield Violation(Promise.QUIET, "", story)


def _left_over(shard: ShardAudit, workflow_id: str, idle_ms: int) -> Iterator[Violation]:
    """What a workflow that nobody stopped has left to do, though the center was idle."""
    shot = shard.shots.get(workflow_id)
    if shot is None or shot.stopped or shot.status == "retrying":
        return
    if shot.owed:
        yield Violation(Promise.QUIET, workflow_id, f"it still owes {shot.owed}")
    if shot.jobs:
        yield Violation(Promise.QUIET, workflow_id, f"it still has the jobs {shot.jobs}")
    for entry in shard.waiting.get(workflow_id, {}).values():
        if not entry.deferred:
            story = f"{entry.position} waits for nothing"
            yield Violation(Promise.QUIET, workflow_id, story)
    for timer in shot.timers:
        if timer.due_ms < idle_ms - SLACK_MS:
            story = f"{timer.id} was due at {timer.due_ms} and never fired"
            yield Violation(Promise.TIMERS, workflow_id, story)


def uncut(evidence: Evidence, cuts: list[KeptCut]) -> Iterator[Violation]:
    """History and letters that no cut has written."""
    written = {position for cut in cuts for position in cut.records}
    for (topic, partition), records in evidence.records.items():
        if topic not in {evidence.history, evidence.dead_letters}:
            continue
        for record in records:
            position = Position(topic, partition, record.offset)
            if position not in written and not is_closing(record):
                yield Violation(Promise.WHOLE_CUTS, "", f"{position} was written by no cut")
