"""
Case `memory`: the whole engine on the log in memory, beside a bare loop on the same log.

Every event is for another workflow than its neighbours, history is on. The bare loop fetches, parses,
counts in a dict, dumps, and writes as many entries and records through the same lease, in cuts of
1,000; what the engine costs beyond it is the engine itself. An event that a branch emits goes to a topic
that nobody reads; one that a callback emits goes through the inbox to its workflow, which decides it as
well. Measured by CPU.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from event_center.log.memory import MemoryBroker, MemoryLog
from event_center.log.port import Assigned, Cut, Group, Lease
from event_center.model import Outgoing
from event_center.plugins.context import Context
from tests.bench.measure import Meter, Reading, Readings, in_turns
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import (
    PER_WORKFLOW,
    TOPIC,
    Size,
    Work,
    backlog,
    check_applied,
    clock,
    make_topics,
    member_on,
    plan,
    totals,
)

EVENTS = 100_000
CUT = 1_000
HISTORY = "history"
TOLD = "told"
"""The event that a callback emits: every state takes it, and is not left."""
SENT = "sent"
COUNTS = ', assign: {amount: "=data.amount + 1"}'
EMITS = f'{COUNTS}, emit: {{event: moved, topic: {SENT}, payload: {{amount: "=data.amount + 1"}}}}'
WITHOUT_CALLBACK = Target(limit=7, at_least=False)
WITH_CALLBACK = Target(limit=9, at_least=False)


def run(size: Size) -> list[Row]:
    """Measure the case."""
    events = size.or_else(EVENTS)
    sides = {
        "engine": partial(_engine, events, None),
        "ids": partial(_engine, events, None, ids=True),
        "bare, 1 + 1": partial(_bare, events, 1),
        "engine with callback": partial(_engine, events, _work),
        "bare, 2 + 2": partial(_bare, events, 2),
        "branch counts": partial(_engine, events, None, branch=COUNTS),
        "branch counts and emits": partial(_engine, events, None, branch=EMITS),
        "callback emits": partial(_engine, events, _emit, told=1),
    }
    found = in_turns(sides, size.rounds)
    return [
        _alone(found, "bare, 1 + 1", "bare loop, 1 entry + 1 record per event"),
        _alone(found, "engine", "engine, no callback"),
        _beyond(found, ("engine", "bare, 1 + 1"), WITHOUT_CALLBACK),
        _alone(found, "ids", "engine, no callback, events with ids"),
        _alone(found, "branch counts", "engine, a branch assigns"),
        _alone(found, "bare, 2 + 2", "bare loop, 2 entries + 2 records per event"),
        _alone(found, "engine with callback", "engine, awaited entry callback"),
        _beyond(found, ("engine with callback", "bare, 2 + 2"), WITH_CALLBACK),
        _more(found, "event that a branch emits", ("branch counts and emits", "branch counts")),
        _more(
            found,
            "event that a callback emits, and that is decided",
            ("callback emits", "engine with callback"),
        ),
    ]


def _alone(found: Readings, side: str, what: str) -> Row:
    return one_side(
        "memory",
        what,
        found[side],
        value=lambda reading: reading.cpu_us,
        unit="us",
        higher=False,
    )


def _beyond(found: Readings, sides: tuple[str, str], target: Target) -> Row:
    return _more(found, f"{sides[0]} beyond the bare loop", sides, target)


def _more(found: Readings, what: str, sides: tuple[str, str], target: Target | None = None) -> Row:
    return two_sides(
        "memory",
        what,
        (found[sides[0]], found[sides[1]]),
        value=lambda reading: reading.cpu_us,
        compare=lambda engine, bare: engine - bare,
        unit="us",
        higher=False,
        target=target,
    )


async def _work(ctx: Context) -> None:
    """An entry callback that does not suspend."""


async def _emit(ctx: Context) -> None:
    """The same, which sends an event to its own workflow."""
    ctx.emit(TOLD, {"amount": 1})


async def _engine(
    events: int, work: Work | None, *, branch: str = "", told: int = 0, ids: bool = False
) -> Reading:
    """The engine over events, of which each leads to so many others that are told."""
    workflows = max(1, events // PER_WORKFLOW)
    of = plan(work, branch=branch, others=f"{TOLD}: {{}}" if told else "")
    log = MemoryLog(MemoryBroker(), clock=clock)
    await make_topics(log, of)
    await log.create({SENT: 1})
    await backlog(log, workflows, workflows)
    async with member_on(log, of) as member:
        await member.until_idle()
        applied = totals(member)["applied"]
        # This log never suspends while it publishes: the member sees the backlog in the meter only.
        await backlog(log, events, workflows, ids=ids)
        with Meter() as meter:
            await member.until_idle()
        check_applied(member, applied + (1 + told) * events)
    await log.close()
    return meter.reading(events)


async def _bare(events: int, writes: int) -> Reading:
    workflows = max(1, events // PER_WORKFLOW)
    log = MemoryLog(MemoryBroker(), clock=clock)
    await log.create({TOPIC: 1, HISTORY: 1})
    await backlog(log, workflows, workflows)
    group = await log.join([TOPIC], 1)
    change = await group.changes()
    if not isinstance(change, Assigned):
        raise TypeError(f"the first change of a new group is {change!r}, not an assignment")
    lease = await group.lease(change.shard, change.token)
    await lease.open_gate({})
    state: dict[str, dict[str, Any]] = {}
    await _count(group, lease, change, writes=writes, state=state, until=workflows)
    await backlog(log, events, workflows)
    with Meter() as meter:
        await _count(group, lease, change, writes=writes, state=state, until=workflows + events)
    await log.close()
    return meter.reading(events)


async def _count(
    group: Group,
    lease: Lease,
    change: Assigned,
    *,
    writes: int,
    state: dict[str, dict[str, Any]],
    until: int,
) -> None:
    """Count each workflow's events up to an offset, writing as often per event as asked."""
    loads, dumps = orjson.loads, orjson.dumps
    ready = {change.shard: change.token}
    offset = 0
    while offset < until:
        for batch in await group.fetch(ready, CUT):
            cut = Cut()
            touched = []
            for record in batch.records:
                body = loads(record.value or b"")
                name = body["workflow_id"]
                known = state.get(name)
                if known is None:
                    known = state[name] = {"n": 0}
                known["n"] += 1
                key, value = name.encode(), dumps(known)
                cut.entries[key] = value
                cut.records.append(Outgoing(HISTORY, key, value, (), 0))
                touched.append(name)
            cut.offsets[TOPIC] = offset = batch.records[-1].offset + 1
            await lease.commit(cut)
            for _ in range(writes - 1):
                await lease.commit(_once_more(touched, state))


def _once_more(touched: list[str], state: dict[str, dict[str, Any]]) -> Cut:
    """What a finished callback writes: each workflow's entry and a record, again."""
    dumps = orjson.dumps
    cut = Cut()
    for name in touched:
        known = state[name]
        known["n"] += 1
        key, value = name.encode(), dumps(known)
        cut.entries[key] = value
        cut.records.append(Outgoing(HISTORY, key, value, (), 0))
    return cut
