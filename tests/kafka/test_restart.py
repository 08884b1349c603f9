"""A broker that dies and comes back: nobody hangs, and the next lease tells what is true."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from event_center.errors import LogError, Unknown
from event_center.log.kafka import open_kafka
from event_center.model import Shard
from scripts.broker import Broker
from tests.kafka.harness import KafkaHarness
from tests.log.harness import (
    clock,
    entries_of,
    flat,
    joined,
    numbered,
    puts,
)
from tests.waiting import PATIENCE_S, until_true

IMPATIENT_S = 4.0
"""For a call: so much as a busy machine may take for one, and no more of a broker that is gone."""


async def test_a_broker_that_was_killed(broker: Broker) -> None:
    """A cut meets a dead broker and ends Unknown; after its return all goes on where it was."""
    patient = replace(KafkaHarness(broker.bootstrap).options, session_timeout_s=30.0)
    first = await open_kafka(patient, clock=clock)
    await first.create({"orders": 2, "mail": 2})
    # A new broker takes its time for its first transaction; the one that is killed has had it.
    await first.publish([*numbered("mail", 1), *numbered("mail", 1, partition=1)])
    await first.publish(numbered("orders", 5))
    await first.close()
    log = await open_kafka(replace(patient, request_timeout_s=IMPATIENT_S), clock=clock)
    async with await joined(log, ["orders"], 2) as member:
        await member.has(0, 1)
        assert len(flat(await member.fetched(5), "orders", 0)) == 5
        lease = member.leases[Shard(0)]
        await lease.commit(puts({b"a": b"1"}, orders=5))
        await asyncio.to_thread(broker.kill)
        with pytest.raises(Unknown):
            await lease.commit(puts({b"a": b"2"}, orders=6))
        with pytest.raises(LogError):
            await log.publish(numbered("orders", 1, start=5))
        await asyncio.to_thread(broker.start)
        async with asyncio.timeout(PATIENCE_S):
            newer = await member.group.lease(Shard(0), member.tokens[Shard(0)])
        restored = {key: value async for batch in newer.restore() for key, value in batch}
        assert restored in ({b"a": b"1"}, {b"a": b"2"})
        await newer.commit(puts({b"a": b"3"}))
        await newer.open_gate({"orders": 5})

        async def published() -> bool:
            try:
                await log.publish(numbered("orders", 1, start=6))
            except LogError:
                return False
            return True

        await until_true(published)
        found = flat(await member.fetched(1), "orders", 0)
        assert {record.value for record in found} <= {b"5", b"6"}
    assert await entries_of(log, 0) == {b"a": b"3"}
    await log.close()


async def test_a_log_that_is_closed_while_its_broker_is_gone(broker: Broker) -> None:
    """A cut was under way: nothing of the clients is left, of which Python would complain at the end."""
    options = replace(KafkaHarness(broker.bootstrap).options, request_timeout_s=IMPATIENT_S)
    log = await open_kafka(options, clock=clock)
    await log.create({"orders": 1})
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        lease = member.leases[Shard(0)]
        await asyncio.to_thread(broker.kill)
        with pytest.raises(Unknown):
            await lease.commit(puts({b"a": b"1"}, orders=0))
    await log.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
