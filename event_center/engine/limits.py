"""
The limits that this process has reached at this moment, each with what waits or is refused because of it.

Promises: costs nothing until it is asked; whatever keeps events waiting without a callback, a due time
or an operator is in here (P4, P8). The member asks for a center's pulse, once a second; the
limits themselves are enforced where docs/limits.md says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from event_center.engine.parts import Parts
from event_center.engine.plan import EngineLimits, Plan
from event_center.engine.run import Runners
from event_center.model import Shard, Snapshot, Status


class Reached(NamedTuple):
    """A limit that is reached now."""

    limit: str
    """
    The name of its setting in `[engine]`; `limit`: that of a callback; `log`: the log takes no cut, no
    takeover, or no records.
    """
    shard: int | None
    """None: it is one of the whole process."""
    meaning: str
    """What waits, or is refused, because of it."""


def of_process(
    plan: Plan, waiting: tuple[int, int], runners: Runners, job_runners: Runners
) -> list[Reached]:
    """
    The limits of the process that are reached.

    Args:
        plan: how many there may be of everything, and which topics are closed.
        waiting: events that wait for their turn, and runs that wait for a runner; what those events weigh.
        runners: of callbacks.
        job_runners: of jobs.
    """
    found = [
        ("log", f"runs that publish to {one.topic!r} are tried again later: {one.why}")
        for one in plan.closed_topics
    ]
    events, weight = waiting
    if events >= plan.limits.mailbox:
        found.append(("mailbox", f"{events} events wait in memory: only commands are taken in"))
    if weight >= plan.limits.mailbox_bytes:
        meaning = f"{weight} bytes of events wait in memory: only commands are taken in"
        found.append(("mailbox_bytes", meaning))
    if runners.full:
        found.append(("callbacks", f"{runners.queued} callbacks wait until another one ends"))
    if job_runners.full:
        found.append(("jobs", f"{job_runners.queued} jobs wait until another one ends"))
    for one in (*runners.narrow, *job_runners.narrow):
        meaning = f"{one.runs} runs of {one.name!r} wait: {one.limit} may be under way at once"
        found.append(("limit", meaning))
    for pool, what in ((runners, "callbacks"), (job_runners, "jobs")):
        if pool.without_thread:
            meaning = f"{pool.without_thread} {what} that are plain functions wait for a thread"
            found.append(("threads", meaning))
    return [Reached(name, None, meaning) for name, meaning in found]


def untaken(shard: Shard, trouble: str) -> Reached:
    """The shard is not served, since its log did not let it be taken over, or did not answer."""
    return Reached("log", int(shard), f"nothing is taken in: {trouble}")


def of_shard(limits: EngineLimits, parts: Parts, refused: str) -> list[Reached]:
    """The limits of one shard that are reached; `refused` is why its log takes no cut, if it does not."""
    found = []
    entry, shard = parts.entry, int(parts.shard)
    if refused:
        found.append(("log", f"no cut is taken, and what happens is not durable: {refused}"))
    if parts.ledger.taken >= limits.cut_records:
        meaning = f"{parts.ledger.taken} records wait for a cut: only commands are taken in"
        found.append(("cut_records", meaning))
    if parts.ledger.cut_bytes >= limits.cut_bytes:
        meaning = f"{parts.ledger.cut_bytes} bytes wait for a cut: only commands are taken in"
        found.append(("cut_bytes", meaning))
    if parts.waiting_bytes >= limits.waiting_bytes:
        meaning = (
            f"{parts.waiting_bytes} bytes of events and results wait: only commands are taken in"
        )
        found.append(("waiting_bytes", meaning))
    held = entry.waiting["held"]
    if held >= limits.max_held_in_shard:
        found.append(("max_held_in_shard", f"{held} events are held: later ones are not"))
    if held >= limits.max_held:
        full = _named(_crowded(parts, limits.max_held, held=True))
        if full:
            found.append(("max_held", f"no more events are held for {full}"))
    if sum(entry.waiting.values()) - held >= limits.max_waiting:
        full = _named(_crowded(parts, limits.max_waiting, held=False))
        if full:
            found.append(("max_waiting", f"later events become dead letters, of {full}"))
    found += _behind_suspects(parts)
    return [Reached(name, shard, meaning) for name, meaning in found]


def _behind_suspects(parts: Parts) -> Iterable[tuple[str, str]]:
    """The runs that a takeover has found, and others behind them."""
    waiting = parts.quarantine.waiting
    if waiting:
        yield "callbacks", f"{waiting} wait until it is seen which of those found ends its process"


def _crowded(parts: Parts, most: int, *, held: bool) -> Iterable[str]:
    """The workflows for which so many events wait, or are held."""
    workflows = parts.workflows
    for workflow_id, mailbox in workflows.mailboxes.items():
        if len(mailbox.queue) + len(mailbox.deferred) >= most:
            workflow = workflows.by_id.get(workflow_id)
            expected = isinstance(workflow, Snapshot) and workflow.status is Status.EXPECTED
            if expected is held:
                yield workflow_id


def _named(workflow_ids: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    first, *others = [*map(repr, workflow_ids)] or [""]
    return f"{first} and {len(others)} more" if others else first
