"""The demo and the help desk on Kafka with two processes: they come to what they come to on a file."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import pytest

from event_center import Center
from event_center.app.wiring import app_of
from event_center.client.stats import Stats, stats
from event_center.model import Outgoing
from scripts.demo import EVENTS as SAMPLES
from scripts.demo import EXPECTED, STEPS, TOPICS
from tests.kafka.looking import Look, looking
from tests.kafka.project import Project, alive
from tests.scenarios.desk import DATA, counted_by_hand, lines
from tests.waiting import PATIENCE_S

KILLS = 5
BURST = 200
"""Tickets beside the samples, where the real ones are not there."""
FEW = 100
"""Events for every shard, which are there long before the group misses whoever stands still."""
Event = tuple[str, str]
"""A topic, and what is written to it."""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Project]:
    """All examples, with the topics of the demo."""
    tables = [f'[topics.{topic}]\nmachine = "{name}"\n' for topic, name in TOPICS.items()]
    made = Project(tmp_path, machines="", topics="".join(tables))
    yield made
    made.close()


def samples_and(tickets: Sequence[str]) -> list[Event]:
    """What the demo publishes, and one record that nobody can read, among these events of tickets."""
    samples = [
        (topic, line)
        for topic, machine in TOPICS.items()
        for line in (SAMPLES / f"{machine}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    parts = [[*samples, ("orders", "no JSON")], [("helpdesk", line) for line in tickets]]
    placed = [(n / len(part), event) for part in parts for n, event in enumerate(part)]
    return [event for _, event in sorted(placed, key=itemgetter(0))]


def burst() -> list[str]:
    """Events of tickets that are all closed in the end."""
    return [
        json.dumps({"workflow_id": f"burst-{ticket}", "event": step})
        for step in STEPS
        for ticket in range(BURST)
    ]


async def publish(look: Look, events: Sequence[Event]) -> None:
    """Write these events; what nobody can read has a key all the same."""
    keys = [json.loads(line)["workflow_id"] if line[0] == "{" else "?" for _, line in events]
    pairs = zip(keys, events, strict=True)
    await look.log.publish(
        [Outgoing(topic, k.encode(), line.encode()) for k, (topic, line) in pairs]
    )


async def on_a_file(demo: Project, events: Sequence[Event]) -> tuple[Stats, dict[str, str]]:
    """The counters, and all states, that one center comes to on the embedded log."""
    embedded = {"log": {"kind": "sqlite", "path": "demo.db", "partitions": 1}}
    async with Center.open(demo.settings, overrides=embedded) as center:
        look = Look(center.log, app_of(center.settings))
        await publish(look, events)
        await center.run(until_idle=True)
        return await stats(look.log, look.app), await look.states()


def counters(told: Stats) -> list[object]:
    """What no log and no kill may change."""
    return [
        told[name] for name in ("events", "transitions", "runs", "workflows", "redelivered", "lag")
    ]


async def test_two_processes(demo: Project) -> None:
    """Counters and states are those of a file, and those that the demo lists."""
    events = samples_and(burst())
    async with looking(demo) as look:
        await publish(look, events)
        done = demo.told("run", "--until-idle", "--processes", "2")
        wanted, states = await on_a_file(demo, events)
        assert await look.states() == states
    assert counters(done) == counters(wanted)
    closed = {"closed": EXPECTED["helpdesk"]["closed"] + BURST}
    by_state = {
        machine: {state: n for state, n in found.items() if n}
        for machine, found in done["workflows"]["by_state"].items()
    }
    assert by_state == EXPECTED | {"helpdesk": EXPECTED["helpdesk"] | closed}


async def test_five_kills_change_nothing(demo: Project) -> None:
    """Five times a process with work left to do is killed with -9: the end is the same."""
    events = samples_and(lines() if DATA.exists() else burst())
    half = len(events) // (2 * KILLS) + 1
    async with looking(demo) as look:
        daemon = demo.daemon("--processes", "2")
        for start in range(0, len(events), 2 * half):
            await publish(look, events[start : start + half])
            busy = await look.has_read(start + 1)
            owners = [int(one["owner"].rpartition("/")[2] or 0) for one in busy["shards"]]
            victim = next(filter(alive, filter(None, owners)))
            os.kill(victim, signal.SIGSTOP)  # wherever it is just now
            rest = events[start + half : start + 2 * half]
            await publish(look, rest[:FEW])
            assert (await look.stats())["lag"] > 0
            os.kill(victim, signal.SIGKILL)
            await publish(look, rest[FEW:])
            await look.has_read(start + half + 1)
        done = await look.until(lambda now: not now["lag"] and not now["events"]["waiting"])
        assert look.owner_changes() >= KILLS
        wanted, states = await on_a_file(demo, events)
        assert await look.states() == states
        assert counters(done) == counters(wanted)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
    if DATA.exists():
        assert states | counted_by_hand() == states
    ended = demo.logged("supervisor.process_ended")
    assert [line["code"] for line in ended] == [-signal.SIGKILL] * KILLS
