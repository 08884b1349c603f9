"""What daemons on Kafka say of themselves is heard from any machine, as long as they say it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from event_center.log.kafka import KafkaLog, KafkaOptions, open_kafka
from event_center.log.kafka.client import Clients
from event_center.log.kafka.note import HEARD_S, MAX_NOTE_BYTES, Notes, _read
from event_center.model import Shard
from tests.kafka.harness import NOWHERE, KafkaHarness
from tests.log.harness import Member, clock, joined, puts
from tests.waiting import until_true

REACHED = {"limit": "mailbox", "shard": None, "meaning": "7 events wait in memory"}


@pytest.fixture
def quick(kafka_harness: KafkaHarness) -> KafkaHarness:
    """Offsets are shown at once."""
    kafka_harness.options = replace(kafka_harness.options, lag_interval_s=0.1)
    return kafka_harness


@asynccontextmanager
async def serving(log: KafkaLog) -> AsyncIterator[Member]:
    """A member with two shards, of which something is durable."""
    await log.create({"orders": 2})
    async with await joined(log, ["orders"], 2) as member:
        await member.has(0, 1)
        for shard in (0, 1):
            await member.leases[Shard(shard)].commit(puts({b"a": b"1"}, orders=0))
        yield member


async def heard(log: KafkaLog) -> list[dict[str, Any]]:
    """What is heard, once that is something."""

    async def something() -> bool:
        return bool(await log.said())

    await until_true(something)
    return await log.said()


async def test_others_hear_it(quick: KafkaHarness) -> None:
    """One note of each process, whatever its shards; another process hears it, and no lag is hidden."""
    daemon, looker = await quick.open(), await quick.open()
    assert await looker.said() == []
    async with serving(daemon):
        daemon.say({"at": "now", "lag": 3, "limits": [REACHED], "blocked": [], "read": 7})
        [said] = await heard(looker)
        assert (said["lag"], said["limits"]) == (3, [REACHED])
        assert "read" not in said


async def test_without_transactions(quick: KafkaHarness) -> None:
    """What asks the group whether we are in it takes nothing from what was said."""
    quick.options = replace(quick.options, at_least_once=True, lag_interval_s=3600.0)
    daemon = await quick.open()
    async with serving(daemon) as member:
        daemon.say({"limits": [REACHED], "blocked": []})

        async def said() -> bool:
            await member.leases[Shard(0)].commit(puts({b"a": b"2"}))
            return bool(await daemon.said())

        await until_true(said)


async def test_who_has_ended_is_not_heard(quick: KafkaHarness) -> None:
    """A note of a process that says nothing more stays in the cluster, and is passed over."""
    daemon = await quick.open()
    async with serving(daemon):
        daemon.say({"limits": [REACHED], "blocked": []})
        await heard(daemon)
    later = await open_kafka(quick.options, clock=lambda: clock() + int(HEARD_S * 1000) + 1)
    quick.logs.append(later)
    assert await later.said() == []


def test_what_others_have_committed() -> None:
    """Tools may set offsets of a group with texts of their own: these are no notes."""
    for text in ("by hand", "[]", '{"pid": 1}', "7", "", None):
        assert _read(text) is None


def test_a_note_fits() -> None:
    """Of more than a broker takes, the last limits are left out."""
    notes = Notes(Clients(KafkaOptions(bootstrap=NOWHERE, app="app", group="group")), clock)
    limits = [REACHED | {"shard": number, "meaning": "é" * 50} for number in range(100)]
    notes.say({"limits": limits, "blocked": [{"where": "x"}], "restoring": list(range(500))})
    assert len(notes.text.encode()) <= MAX_NOTE_BYTES
    said = _read(notes.text)
    assert said is not None
    assert said["limits"] == limits[: len(said["limits"])] != []
    assert said["blocked"] == [{"where": "x"}]
