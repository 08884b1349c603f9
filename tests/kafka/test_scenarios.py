"""The demo and the help desk on Kafka with two processes: they come to what they come to on a file."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import pytest

from event_center import Center
from event_center.app.wiring import app_of
from event_center.client.stats import Stats, stats
from event_center.model import Outgoing
from scripts.demo import BURST, EXPECTED, STEPS, TOPICS
from scripts.demo import EVENTS as SAMPLES
from tests.kafka.audit import Evidence, read_cluster, violations
from tests.kafka.looking import Look, looking
from tests.kafka.project import ROOT, Project, alive
from tests.scenarios.desk import DATA, counted_by_hand, lines
from tests.waiting import PATIENCE_S

KILLS = 5
TICKETS = 200
"""Tickets beside the samples, where the real ones are not there."""
SESSION = "3s"
FEW = 25
"""Events for every shard, which are there long before the group misses whoever stands still."""
Event = tuple[str, str]
"""A topic, and what is written to it."""


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Project]:
    """All examples, with the topics of the demo."""
    tables = [f'[topics.{topic}]\nmachine = "{name}"\n' for topic, name in TOPICS.items()]
    made = Project(tmp_path, machines="", topics="".join(tables), session=SESSION)
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


def burst(tickets: int = TICKETS) -> list[str]:
    """Events of tickets that are all closed in the end."""
    return [
        json.dumps({"workflow_id": f"burst-{ticket}", "event": step})
        for step in STEPS
        for ticket in range(tickets)
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
    closed = {"closed": EXPECTED["helpdesk"]["closed"] + TICKETS}
    by_state = {
        machine: {state: n for state, n in found.items() if n}
        for machine, found in done["workflows"]["by_state"].items()
    }
    assert by_state == EXPECTED | {"helpdesk": EXPECTED["helpdesk"] | closed}


def shown_on_kafka(folder: Path) -> str:
    """What `scripts/demo --kafka` says, which may leave nothing in this folder."""
    done = subprocess.run(
        [ROOT / "scripts" / "demo", "--kafka"],
        env=os.environ | {"TMPDIR": str(folder), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_the_demo_itself(demo: Project) -> None:
    """`scripts/demo --kafka` comes to what a file comes to, and leaves nothing behind."""
    left = demo.folder / "left"
    left.mkdir()
    said = shown_on_kafka(left)
    wanted, states = await on_a_file(demo, samples_and(burst(BURST)))
    outcomes = {name: n for name, n in wanted["events"].items() if n}
    read = outcomes.pop("read")
    told = " + ".join(f"{name} {n}" for name, n in outcomes.items())
    assert f"✓ read {read} = {told}\n" in said
    assert f"✓ {len(states)} workflows are in the expected states\n" in said
    assert not list(left.iterdir())


def owner_changes(evidence: Evidence) -> int:
    """How often a shard has a cut of another process than the cut before it."""
    return sum(
        after["owner"] != before["owner"]
        for cuts in evidence.cuts().values()
        for (_, before), (_, after) in itertools.pairwise(cuts)
    )


async def stopped(look: Look, events: list[Event]) -> int:
    """Stop a process with work left to do, wherever it is just now; what is published leaves the events."""
    while events:
        owners = [
            int(one["owner"].rpartition("/")[2] or 0) for one in (await look.stats())["shards"]
        ]
        process = next(filter(alive, filter(None, owners)))
        os.kill(process, signal.SIGSTOP)
        await publish(look, events[:FEW])
        del events[:FEW]
        if (await look.stats())["lag"]:
            return process
        os.kill(process, signal.SIGCONT)  # its shards had just been given to the other one
    raise AssertionError("whoever is stopped has no shard")


async def test_five_kills_change_nothing(demo: Project) -> None:
    """Five times a process with work left to do is killed with -9: the end is the same."""
    events = samples_and(lines() if DATA.exists() else burst())
    half = len(events) // (2 * KILLS) + 1
    async with looking(demo) as look:
        daemon = demo.daemon("--processes", "2")
        for start in range(0, len(events), 2 * half):
            await publish(look, events[start : start + half])
            await look.has_read(start + 1)
            rest = events[start + half : start + 2 * half]
            os.kill(await stopped(look, rest), signal.SIGKILL)
            await publish(look, rest)
            await look.has_read(start + half + 1)
        done = await look.until(lambda now: not now["lag"] and not now["events"]["waiting"])
        wanted, states = await on_a_file(demo, events)
        assert await look.states() == states
        assert counters(done) == counters(wanted)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
    evidence = read_cluster(demo.bootstrap, demo.prefix)
    assert violations(evidence, list(TOPICS)) == []
    assert owner_changes(evidence) >= KILLS
    if DATA.exists():
        assert states | counted_by_hand() == states
    ended = demo.logged("supervisor.process_ended")
    assert [line["code"] for line in ended] == [-signal.SIGKILL] * KILLS
