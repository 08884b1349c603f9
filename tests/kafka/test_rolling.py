"""A rolling restart under load: nothing is lost or doubled, and no shard stands still for long."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from event_center.model import Outgoing
from tests.kafka.audit import Evidence, read_cluster, violations
from tests.kafka.looking import Look, looking
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S

PROCESSES = 3
BURST = 5
EVERY_S = 0.02
SESSION_S = 120
STILL_MS = 60_000
"""More than that without a cut would be somebody who waits for a session to end, and no handover."""
MACHINE = Path(__file__).parent / "machines" / "relay.yaml"
TOPICS = '[publish]\ntopics = ["mail"]\n[topics.pings]\nmachine = "relay"\n'


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Project]:
    """A ring of relays in six shards."""
    made = Project(
        tmp_path, machines=str(MACHINE), topics=TOPICS, partitions=6, session=f"{SESSION_S}s"
    )
    yield made
    made.close()


async def load(look: Look) -> None:
    """Ping the relays in turn, without end."""
    for burst in itertools.count():
        names = [f"relay-{(burst * BURST + n) % 100}" for n in range(BURST)]
        bodies = [orjson.dumps({"workflow_id": name, "event": "ping"}) for name in names]
        pings = [Outgoing("pings", n.encode(), b) for n, b in zip(names, bodies, strict=True)]
        await look.log.publish(pings)
        await asyncio.sleep(EVERY_S)


def pauses(evidence: Evidence) -> list[int]:
    """For how long a shard made no cut when it went from one process to another, in ms."""
    return [
        after_ms - before_ms
        for cuts in evidence.cuts().values()
        for (before_ms, before), (after_ms, after) in itertools.pairwise(cuts)
        if after["takeovers"] != before["takeovers"]
    ]


async def owners(look: Look) -> set[int]:
    """The processes that own shards."""
    told = await look.stats()
    return {int(one["owner"].rpartition("/")[2] or 0) for one in told["shards"]}


async def owned_by(look: Look, pid: str) -> None:
    """Wait until the process has a shard."""
    await look.until(lambda now: any(one["owner"].endswith(f"/{pid}") for one in now["shards"]))


async def test_every_process_in_turn(relays: Project) -> None:
    """Each of three processes is restarted while events flow; each event is there once."""
    daemon = relays.daemon("--processes", str(PROCESSES))
    async with looking(relays) as look, asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(load(look))
        await look.until(lambda now: len({one["owner"] for one in now["shards"]}) == PROCESSES)
        for number, pid in enumerate(relays.children()[:PROCESSES], 1):
            os.kill(pid, signal.SIGTERM)
            await asyncio.to_thread(
                relays.wait_for, "supervisor.process_started", PROCESSES + number
            )
            new = str(relays.children()[-1])
            await owned_by(look, new)
        assert len(await owners(look)) == PROCESSES
        loading.cancel()
        await look.until(lambda now: not now["lag"] and not now["events"]["waiting"])
        daemon.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(daemon.wait, PATIENCE_S) == 0
    evidence = read_cluster(relays.bootstrap, relays.prefix)
    assert violations(evidence, ["pings"]) == []
    sent = Counter(orjson.loads(one.value or b"")["key"] for one in evidence.topics["mail"])
    assert len(sent) == len(evidence.topics["pings"])
    assert set(sent.values()) == {1}
    still = sorted(pauses(evidence))
    p50, p99 = still[len(still) // 2], still[len(still) * 99 // 100]
    print(f"{len(still)} handovers of {len(sent)} events: p50 {p50} ms, p99 {p99} ms without a cut")
    assert still[-1] < STILL_MS
