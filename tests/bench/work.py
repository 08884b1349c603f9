"""
The work that the cases share: a machine of five states in a circle, its events, its plan, its log.

Every event moves its workflow to the next state. Events go round all workflows, so that no cut sees a
workflow twice unless there are fewer workflows than records in a cut. The cases call this; what it
returns are the real nouns of the engine, put together as the wiring does.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import orjson
import structlog

from event_center.engine.home import Home
from event_center.engine.member import Member
from event_center.engine.plan import EngineLimits, OwnTopics, Plan
from event_center.log.partitioner import murmur2
from event_center.log.port import Log
from event_center.machine import parse
from event_center.model import Outgoing
from event_center.plugins.callbacks import callbacks
from event_center.plugins.context import Context
from event_center.plugins.registry import Bound, resolve
from event_center.wire.envelope import Envelope, Rules, inbox_envelope

STATES = ("a", "b", "c", "d", "e")
MACHINE = "flow"
TOPIC = "events"
APP = "bench"
PER_WORKFLOW = 5
"""Events of each workflow: with 100,000 of them 20,000 workflows are busy."""
WRITE = 500
"""Records of one write of a backlog."""

Work = Callable[[Context], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much the cases do."""

    rounds: int
    events: int | None
    """Events of each side; None: what the case thinks right."""
    shards: int = 64
    """Of a side that has many."""
    apart_s: float = 0.05
    """Between two events of an idle system."""

    def or_else(self, events: int) -> int:
        """The events that were asked for, or these."""
        return self.events or events


@contextmanager
def silence() -> Iterator[None]:
    """No log lines: the cases measure the work, not a terminal."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    clients = logging.getLogger("aiokafka")
    clients_before = clients.level
    clients.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        clients.setLevel(clients_before)
        structlog.configure(**before)


def clock() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def machine_text(*, entry: bool, branch: str = "", others: str = "") -> str:
    """
    The machine as YAML; with `entry`, each state owes the callback `work` when it is entered.

    `branch` is what each branch has beside its target, `others` what all states do with other events.
    """
    lines = [
        f"machine: {MACHINE}",
        "version: 1",
        f"initial: {STATES[0]}",
        "perpetual: true",
        "data: {amount: 0, customer: ''}",
        f"on: {{{others}}}",
        "states:",
    ]
    for state, following in zip(STATES, (*STATES[1:], STATES[0]), strict=True):
        lines += [f"  {state}:", f"    on: {{next: {{target: {following}{branch}}}}}"]
        lines += ["    entry: work"] * entry
    return "\n".join(lines) + "\n"


def bound(work: Work | None, branch: str = "", others: str = "") -> Bound:
    """The machine with its callback, if it is to have one."""
    plugin = callbacks(MACHINE)
    if work is not None:
        plugin.action("work")(work)
    text = machine_text(entry=work is not None, branch=branch, others=others)
    return resolve(parse(text), [plugin])


def plan(work: Work | None, shards: int = 1, *, branch: str = "", others: str = "") -> Plan:
    """What the engine works with: one topic of events, history on, default limits."""
    flow = bound(work, branch, others)
    own = OwnTopics(
        inbox=f"{APP}.inbox",
        commands=f"{APP}.commands",
        history=f"{APP}.history",
        dead_letters=f"{APP}.dead-letters",
    )
    return Plan(
        app=APP,
        bound={MACHINE: flow},
        machines={MACHINE: flow.machine},
        envelopes={
            TOPIC: Envelope(TOPIC, Rules(machine=MACHINE)),
            own.inbox: inbox_envelope(own.inbox),
        },
        dead_letter_strays=frozenset(),
        topics=own,
        publishable=frozenset(),
        home=Home(murmur2, shards),
        clock=clock,
        limits=EngineLimits(),
    )


async def make_topics(log: Log, of: Plan) -> None:
    """The topics of a plan, with a partition per shard each."""
    names = [*of.consumed(), of.topics.history, of.topics.dead_letters]
    await log.create(dict.fromkeys(names, of.home.shards))


def payload(number: int) -> dict[str, int | str]:
    """What an event carries."""
    return {
        "amount": number,
        "currency": "EUR",
        "customer": f"customer-{number % 977:05d}",
        "note": "x" * 40,
    }


def workflow_id(number: int, workflows: int) -> str:
    """The workflow of an event: they take turns."""
    return f"wf-{number % workflows:06d}"


def record(number: int, workflows: int, *, ids: bool = False) -> Outgoing:
    """One event as a publisher writes it: some 190 bytes without an id, 220 with one."""
    name = workflow_id(number, workflows)
    body = {
        "workflow_id": name,
        "event": "next",
        "id": uuid.uuid4().hex if ids else None,
        "time": "2026-11-22T10:00:00Z",
        "payload": payload(number),
    }
    return Outgoing(TOPIC, name.encode(), orjson.dumps(body))


async def backlog(log: Log, events: int, workflows: int, *, ids: bool = False) -> None:
    """Publish so many events."""
    for start in range(0, events, WRITE):
        numbers = range(start, min(start + WRITE, events))
        await log.publish([record(number, workflows, ids=ids) for number in numbers])


@asynccontextmanager
async def member_on(log: Log, of: Plan) -> AsyncIterator[Member]:
    """A member of the group that serves until the block ends, and then drains."""
    async with anyio.create_task_group() as tasks:
        member = Member(log, of)
        await tasks.start(member.run)
        try:
            yield member
        finally:
            await member.stop()
            tasks.cancel_scope.cancel()


def totals(member: Member) -> dict[str, int]:
    """What became of the records of the shards that the member has."""
    counts: Counter[str] = Counter()
    for owner in member.owners.values():
        counts.update(owner.totals())
    return dict(counts)


def check_applied(member: Member, events: int) -> None:
    """Numbers of a run that did something else would be worthless: every event must be applied."""
    found = totals(member)
    if found.get("applied") != events:
        raise RuntimeError(
            f"{events} events were to be applied, but the center says {found}; no number of this "
            "run counts, look at the machine and the events of the case"
        )
