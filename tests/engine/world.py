"""
A small world to test the engine in: a log in memory, processes on it, and a clock that tests move.

Machines are YAML, callbacks plain functions. Time is the event loop's: under `virtual` a second takes
none, and `leap` moves the wall clock on without it. After every cut the world compares each shard's
memory with a fresh restore (`mirror`), and at the end it audits the log (`audit`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from textwrap import dedent
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import orjson

from event_center import failpoint
from event_center.engine.home import Home
from event_center.engine.member import Member
from event_center.engine.plan import EngineLimits, OwnTopics, Plan
from event_center.engine.shard import Owner
from event_center.errors import Fenced
from event_center.failpoint import Step
from event_center.log.memory import MAX_EVENT_BYTES, MemoryBroker, MemoryLog
from event_center.log.partitioner import murmur2
from event_center.machine import parse
from event_center.model import Headers, Outgoing, Position, Record, Shard, Snapshot
from event_center.plugins.callbacks import Callbacks, callbacks
from event_center.plugins.registry import Bound, resolve
from event_center.testing.simulation_mirror import differences, kept_otherwise, restored, stuck
from event_center.wire import letter
from event_center.wire import snapshot as wire
from event_center.wire.command import Command, Verb
from event_center.wire.entries import SHARD_KEY, ShardEntry, is_waiting, snapshot_key
from event_center.wire.envelope import Envelope, Rules, inbox_envelope
from event_center.wire.letter import Letter
from tests.engine.audit import audit, history_of

NOW = 1_767_225_600_000
"""The first moment of 2026, when every world begins."""
EVENTS = "events"
OWN = OwnTopics(
    inbox="app.inbox",
    commands="app.commands",
    history="app.history",
    dead_letters="app.dead-letters",
)
WARM = 2
"""Workflows that stay live with nothing to do: so few that every test makes bytes of some."""
PATIENCE_S = 3_600.0
"""How long, by the event loop's clock, a world may take until nothing happens in it."""

Functions = Mapping[str, Callable[..., Any]]


class Killed(BaseException):
    """The process dies here."""


def bind(text: str, functions: Functions) -> Bound:
    """A machine of this YAML, with these functions as its callbacks and guards by their names."""
    machine = parse(dedent(text))
    found: Callbacks = callbacks(machine.name)
    upgrades = {one.function for one in machine.definition.upgrades}
    for name, function in functions.items():
        role = found.upgrade if name in upgrades else found.action
        (found.guard if name in machine.guards else role)(name)(function)
    return resolve(machine, [found])


PROCESS: ContextVar[Process] = ContextVar("process")
"""Which process an asyncio task belongs to: tasks have the context of those that started them."""


class Process:
    """One process: a log of its own on the shared broker, and the member that runs on it."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.log = MemoryLog(world.broker, clock=world.clock)
        self.member = Member(self.log, plan)
        self._scope = anyio.CancelScope()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Run the member until it stops, crashes or is killed."""
        PROCESS.set(self)
        with self._scope:
            try:
                await self.member.run(task_status=task_status)
            except BaseExceptionGroup as group:
                rest = group.split(Killed)[1]
                if rest is not None:
                    raise rest from None

    def crash(self) -> None:
        """Die as after kill -9: nothing is released, nothing is cut."""
        self.log.crash()
        self._scope.cancel()

    def owner(self, shard: int) -> Owner:
        """The process's ownership of a shard."""
        return self.member.owners[Shard(shard)]


class World:
    """Processes on one log, and everything that a test does to them."""

    def __init__(
        self,
        *machines: str | tuple[str, Functions] | Bound,
        shards: int = 1,
        topics: Mapping[str, Rules] | None = None,
        partitions: Mapping[str, int] | None = None,
        limits: EngineLimits | None = None,
        dead_letter_strays: Iterable[str] = (),
        publishable: Iterable[str] = (),
        every_outcome: bool = True,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.broker = MemoryBroker(keep_cuts=True, max_event_bytes=max_event_bytes)
        self.faults = self.broker.faults
        self.processes: list[Process] = []
        self.cuts = 0
        """Cuts of which memory was compared with a fresh restore."""
        self.die_at: Step | None = None
        """The process dies when it reaches this step next."""
        self.audits = True
        limits = replace(limits or EngineLimits(), warm=WARM)
        record_bytes = min(limits.record_bytes, max_event_bytes)
        self._options: dict[str, Any] = {
            "limits": replace(limits, record_bytes=record_bytes),
            "dead_letter_strays": frozenset(dead_letter_strays),
            "publishable": frozenset(publishable),
            "every_outcome": every_outcome,
        }
        self._ahead_ms = 0
        self._commands = 0
        self._home = Home(murmur2, shards)
        self._topics = topics
        self.plan = self.redefine(*machines)
        sizes = dict.fromkeys([*self.plan.envelopes, *publishable], shards)
        sizes |= dict.fromkeys([OWN.commands, OWN.history, OWN.dead_letters], shards)
        self.broker.create({**sizes, **(partitions or {})})

    def redefine(self, *machines: str | tuple[str, Functions] | Bound) -> Plan:
        """Give the processes that start from now on other machines."""
        pairs = [(one, {}) if isinstance(one, str) else one for one in machines]
        found = [one if isinstance(one, Bound) else bind(*one) for one in pairs]
        bound = {one.machine.name: one for one in found}
        first = next(iter(bound))
        rules = self._topics if self._topics is not None else {EVENTS: Rules(machine=first)}
        envelopes = {topic: Envelope(topic, rule) for topic, rule in rules.items()}
        self.plan = Plan(
            app="app",
            bound=bound,
            machines={name: one.machine for name, one in bound.items()},
            envelopes={**envelopes, OWN.inbox: inbox_envelope(OWN.inbox)},
            topics=OWN,
            home=self._home,
            clock=self.clock,
            **self._options,
        )
        return self.plan

    # -- life ----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        failpoint.install(self._reached)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._tasks.cancel_scope.cancel()
            if isinstance(error, Exception):  # the test's own: it comes out as it is
                await self._tasks.__aexit__(None, None, None)
            else:
                await self._tasks.__aexit__(kind, error, trace)
        finally:
            failpoint.install(None)
        if error is None and self.audits:
            audit(self.broker, self.plan)

    async def start(self) -> Process:
        """Start one more process."""
        process = Process(self, self.plan)
        self.processes.append(process)
        await self._tasks.start(process.run)
        return process

    async def stop(self) -> None:
        """Stop the oldest process gracefully."""
        await self.processes.pop(0).member.stop()

    def crash(self) -> None:
        """Let the oldest process die."""
        self.processes.pop(0).crash()

    async def crash_and_recover(self) -> None:
        """Let the only process die, and another one take over; returns when that is done."""
        self.crash()
        await self.start()
        await self.served()

    def damage(self, key: bytes, value: bytes | None) -> None:
        """Change an entry of the first shard, or remove it, as no cut would."""
        self.broker._stores[Shard(0)].pop(key)
        self.broker._stores[Shard(0)].update({} if value is None else {key: value})

    # -- time ----------------------------------------------------------------------------------

    def clock(self) -> int:
        """The wall clock: the event loop's time, all leaps, and a millisecond for every look at it."""
        try:
            running_ms = round(asyncio.get_running_loop().time() * 1000)
        except RuntimeError:
            return NOW + self._ahead_ms  # the watchdog: it looks whenever the machine is slow
        self._ahead_ms += 1
        return NOW + running_ms + self._ahead_ms

    async def leap(self, hours: float = 0.0, *, seconds: float = 0.0) -> None:
        """Move the wall clock on at once, and give the timekeepers the time to see it."""
        self._ahead_ms += round((hours * 3600 + seconds) * 1000)
        await self.rest(1.1)

    async def rest(self, seconds: float = 0.2) -> None:
        """Let so much of the event loop's time pass."""
        await asyncio.sleep(seconds)

    async def served(self) -> None:
        """Wait until every shard is served by one of the processes."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self._serving()) < self._home.shards:
                await self.rest(0.01)

    async def idle(self) -> None:
        """Wait until everything is decided and durable, and nothing runs or waits for its retry."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self._quiet():
                await self.rest(0.01)

    def _serving(self) -> list[Owner]:
        owners = [o for process in self.processes for o in process.member.owners.values()]
        return [owner for owner in owners if owner.ready]

    async def _quiet(self) -> bool:
        owners = self._serving()
        if len(owners) != self._home.shards:
            return False
        try:
            return all([await owner.quiet() for owner in owners])
        except Fenced:
            return False

    # -- what goes in --------------------------------------------------------------------------

    def put(
        self,
        value: bytes | None,
        *,
        key: str | None = None,
        topic: str = EVENTS,
        partition: int | None = None,
        headers: Headers = (),
    ) -> Position:
        """Publish one record as it is; its home partition by default."""
        raw = None if key is None else key.encode()
        outgoing = Outgoing(topic, raw, value, headers, partition)
        [position] = self.broker.append([outgoing], self.clock())
        self.broker.members.ring()
        return Position._make(position)

    def send(
        self,
        workflow_id: str,
        event: str,
        payload: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the word of the domain
        topic: str = EVENTS,
        partition: int | None = None,
    ) -> Position:
        """Publish one event for a workflow."""
        body = {"workflow_id": workflow_id, "event": event, "payload": payload}
        if id is not None:
            body["id"] = id
        return self.put(orjson.dumps(body), key=workflow_id, topic=topic, partition=partition)

    def command(self, verb: str, workflow_id: str, **args: Any) -> Position:
        """Ask something of a workflow; `id`, `by` and `reason` are parts, other names arguments."""
        self._commands += 1
        parts = {name: args.pop(name) for name in ("id", "by", "reason") if name in args}
        number = parts.pop("id", f"c-{self._commands}")
        asked = Command(number, Verb(verb), workflow_id, args=args, **parts)
        return self.put(asked.encode(), key=workflow_id, topic=OWN.commands)

    # -- what came out -------------------------------------------------------------------------

    def home(self, workflow_id: str) -> Shard:
        """The shard of a workflow."""
        return self._home.of(workflow_id)

    def snapshot(self, workflow_id: str) -> Snapshot:
        """A workflow as it is durable."""
        store = self.broker.store(self.home(workflow_id))
        return wire.decode(workflow_id, store[snapshot_key(workflow_id)])

    def state(self, workflow_id: str = "w") -> str:
        """The durable state of a workflow."""
        return self.snapshot(workflow_id).state

    def exists(self, workflow_id: str) -> bool:
        """Whether there is a durable workflow of this id."""
        return snapshot_key(workflow_id) in self.broker.store(self.home(workflow_id))

    def entry(self, shard: int = 0) -> ShardEntry:
        """The durable shard entry."""
        return ShardEntry.decode(self.broker.store(Shard(shard))[SHARD_KEY])

    def waiting(self, shard: int = 0) -> int:
        """How many waiting entries are durable in a shard."""
        return sum(is_waiting(key) for key in self.broker.store(Shard(shard)))

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, partition by partition."""
        partitions = self.broker.infos[topic].partitions
        return [record for q in range(partitions) for record in self.broker.line((topic, q))]

    def letters(self) -> list[Letter]:
        """All dead letters."""
        return [
            letter.read(OWN.dead_letters, shard, record)
            for shard in range(self._home.shards)
            for record in self.broker.line((OWN.dead_letters, shard))
        ]

    def history(self, workflow_id: str | None = None, kind: str = "") -> list[dict[str, Any]]:
        """History as flat dicts, of one workflow or one kind if these are named."""
        return [
            record
            for record in history_of(self.broker, self.plan)
            if workflow_id in {None, record["workflow_id"]} and kind in {"", record["kind"]}
        ]

    def outcomes(self, workflow_id: str | None = None) -> list[str]:
        """What became of each decided event, as `event outcome` or `event outcome(reason)`."""
        return [
            f"{told.get('event', '?')} {told['outcome']}"
            + (f"({told['reason']})" if told.get("reason") else "")
            for told in self.history(workflow_id)
            if told["kind"] != "run" and "outcome" in told
        ]

    def runs(self, workflow_id: str = "w") -> list[str]:
        """What became of each run, as `callback attempt outcome`."""
        return [
            f"{told['callback']} {told['attempt']} {told['outcome']}"
            for told in self.history(workflow_id, "run")
        ]

    # -- what must hold ------------------------------------------------------------------------

    def _reached(self, step: Step) -> None:
        if step is Step.LOG_WRITTEN:
            self._compare()
        if step is self.die_at:
            self.die_at = None
            process = PROCESS.get()
            if process in self.processes:  # it may be stopping
                self.processes.remove(process)
            process.log.crash()
            raise Killed

    def _compare(self) -> None:
        """Memory is what the cut that has just become durable would restore."""
        cut = self.broker.cuts[-1]
        for process in self.processes:
            owner = process.member.owners.get(cut.shard)
            parts = None if owner is None else owner._parts
            if owner is None or parts is None or getattr(owner._lease, "epoch", None) != cut.epoch:
                continue
            if parts.ledger.clean:
                store = self.broker.store(cut.shard)
                fresh = restored(parts, process.member._plan, store, self.broker.infos)
                found = differences(parts, fresh) + stuck(parts) + kept_otherwise(parts, store)
                assert not found, "\n".join(found)
                self.cuts += 1
