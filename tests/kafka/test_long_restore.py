"""A restore that takes several sessions: its member stays in the group; one that would not is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from event_center import Center
from event_center.model import Shard, Token
from tests.kafka.broker import bootstrap
from tests.kafka.running import Running
from tests.waiting import PATIENCE_S, until, wait_until

SESSION_S = 6.0
"""Long enough for a busy machine: all members here are in the one process of the test."""
SESSIONS = 1.5
WORKFLOWS = 24
SHORT = {"log": {"kafka": {"session_timeout": f"{SESSION_S:g}s"}}}


async def publish(running: Running) -> None:
    """One event for each workflow."""
    await running.prepare()
    producer = running.producer()
    for number in range(WORKFLOWS):
        name = f"w{number}"
        producer.produce(running.topic, orjson.dumps({"workflow_id": name, "event": "add"}), name)
    producer.flush(PATIENCE_S)


@asynccontextmanager
async def started(running: Running, restores: Callable[[Any], Any]) -> AsyncIterator[Center]:
    """A center under way; `restores` may change how its log reads the entries of a shard."""
    async with (
        Center.open(running.settings, overrides=SHORT) as center,
        asyncio.TaskGroup() as all_,
    ):
        log: Any = center.log
        reading = log._cluster.reading
        reading.fill = restores(reading.fill)
        task = all_.create_task(center.run(), name="center")
        try:
            yield center
        finally:
            await center.stop()
            await task


def owners(center: Center) -> dict[Shard, Token]:
    """What a center has, and since which assignment."""
    return {shard: owner.token for shard, owner in center._member.owners.items()}


def serves(center: Center, shards: int) -> bool:
    """Whether so many shards are restored and take records, and it has no other."""
    found = center._member.owners.values()
    return len(found) == shards and all(owner.ready for owner in found)


class Gate:
    """Restores stand still before it until it opens."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun = 0
        self.cancelled = 0

    def before(self, fill: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """The same reading, behind the gate."""

        async def behind(*what: Any) -> None:
            self.begun += 1
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            await fill(*what)

        return behind


async def test_the_member_keeps_its_shards(running: Running) -> None:
    """Heartbeats go on: only what a new member is to have is given up, and the rest ends where it began."""
    await publish(running)
    gate = Gate()
    async with started(running, gate.before) as slow:
        await until(lambda: gate.begun == 4)
        async with started(running, lambda fill: fill) as other:
            await until(lambda: serves(other, 2))
            had = owners(slow)
            assert len(had) == gate.cancelled == 2
            await asyncio.sleep(SESSIONS * SESSION_S)  # brokers measure sessions in real time
            assert serves(other, 2)
            assert owners(slow) == had
            assert (gate.begun, gate.cancelled) == (4, 2)
            gate.open.set()
            await until(lambda: serves(slow, 2))
            await until(lambda: slow.totals["applied"] + other.totals["applied"] == WORKFLOWS)
            assert owners(slow) == had
    assert await running.counts(WORKFLOWS) == [1] * WORKFLOWS


async def test_one_that_blocks_the_loop_is_told_before_it_costs_the_shards(
    running: Running,
) -> None:
    """The twin: nothing is heard of this member; its log says so while the group still has it."""
    await publish(running)
    admin = AdminClient({"bootstrap.servers": bootstrap()})
    group = f"{running.prefix}event-center.center"
    in_time: list[bool] = []

    def is_member() -> bool:
        return bool(admin.describe_consumer_groups([group])[group].result(PATIENCE_S).members)

    def blocked() -> bool:
        """Whether the group has gone on without us."""
        said = any(one["event"] == "loop.blocked" for one in told)
        member = is_member()
        if member:
            in_time.append(said)
        return not member

    def blocking(fill: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def blocks(*what: Any) -> None:
            if not in_time:
                wait_until(blocked)
            await fill(*what)

        return blocks

    with capture_logs() as told:
        async with started(running, blocking) as center:
            await until(lambda: serves(center, 4) and center.totals["applied"] == WORKFLOWS)
    assert in_time[-1], "the group was the first to notice"
    said = next(one for one in told if one["event"] == "loop.blocked")
    assert said["blocked_s"] < said["session_timeout_s"] == SESSION_S
    assert await running.counts(WORKFLOWS) == [1] * WORKFLOWS
