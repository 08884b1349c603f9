"""
Nodes → jobs: the callbacks that a state invokes, with their limits and what their end moves.

Called by `states`; `branches` reads what a job shares with other callbacks.
"""

from __future__ import annotations

from event_center.machine.branches import read_identifier, read_retry, read_way
from event_center.machine.decision import Action
from event_center.machine.definition import Job
from event_center.machine.document import Node, ScalarNode, SequenceNode
from event_center.machine.grammar import ERROR_BRANCH, JOB
from event_center.machine.reader import Fields, Reader

TIMEOUT_MS = 3_600_000
"""The limit of one attempt that names none: long, for jobs are; yet none hangs for ever."""
GRACE_MS = 10_000
"""The time to end that a job has once it was asked to, if it names none."""


def read_jobs(reader: Reader, node: Node | None) -> tuple[Job, ...]:
    """A job or a list of them."""
    if node is None:
        return ()
    nodes = node.items if isinstance(node, SequenceNode) else (node,)
    if not nodes:
        reader.wrong(node, "this list of jobs is empty; remove it")
    jobs = (_job(reader, item) for item in nodes)
    return tuple(job for job in jobs if job is not None)


def _job(reader: Reader, node: Node) -> Job | None:
    plain = isinstance(node, ScalarNode)
    fields: Fields = {} if plain else reader.fields(node, JOB)
    named = node if plain else fields.get("do")
    name = None if named is None else read_identifier(reader, named, "job")
    retry = read_retry(reader, fields.get("retry"))
    timeout_ms = _limit(reader, fields, "timeout") or TIMEOUT_MS
    heartbeat_ms = _limit(reader, fields, "heartbeat")
    if heartbeat_ms is not None and heartbeat_ms >= timeout_ms:
        reader.wrong(
            fields["heartbeat"],
            "heartbeat is not shorter than the timeout of the job, which ends it before; make it "
            "shorter, or the timeout longer",
        )
    grace_ms = reader.duration(fields["grace"]) if "grace" in fields else None
    on_done = read_way(reader, fields.get("on_done"))
    on_error = read_way(reader, fields.get("on_error"), ERROR_BRANCH)
    if name is None:
        return None
    return Job(
        place=node.place,
        action=Action(name, retry, timeout_ms),
        grace_ms=GRACE_MS if grace_ms is None else grace_ms,
        heartbeat_ms=heartbeat_ms,
        on_done=on_done,
        on_error=on_error,
    )


def _limit(reader: Reader, fields: Fields, key: str) -> int | None:
    return reader.duration(fields[key], least=1) if key in fields else None
