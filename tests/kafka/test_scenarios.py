"""The help desk on Kafka with two processes: it comes to what it comes to on the embedded log."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from event_center.client.stats import Stats
from event_center.model import Outgoing
from tests.kafka.looking import looking
from tests.kafka.project import Project, alive
from tests.scenarios.desk import DATA, EVENTS, LATE, counted_by_hand, lines, needs_data
from tests.waiting import PATIENCE_S

pytestmark = needs_data
KILLS = 5


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Project]:
    """A help desk."""
    topics = '[topics.helpdesk]\nmachine = "helpdesk"'
    made = Project(tmp_path, machines="helpdesk.yaml", topics=topics)
    yield made
    made.close()


def outcomes(stats: Stats) -> dict[str, int]:
    """The outcomes without the zeros."""
    return {name: count for name, count in stats["events"].items() if count}


WANTED = {"read": EVENTS, "applied": EVENTS - LATE, "rejected": LATE}


async def test_two_processes(desk: Project) -> None:
    """Every event has its outcome and every ticket the state that was counted by hand."""
    desk.told("publish", "helpdesk", "--file", str(DATA))
    done = desk.told("run", "--until-idle", "--processes", "2")
    assert outcomes(done) == WANTED
    assert done["lag"] == done["redelivered"] == 0
    async with looking(desk) as look:
        assert await look.states() == counted_by_hand()


async def test_five_kills_change_nothing(desk: Project) -> None:
    """Five times a process with work left to do is killed with -9: the end is the same."""
    events = [
        Outgoing("helpdesk", json.loads(line)["workflow_id"].encode(), line.encode())
        for line in lines()
    ]
    half = len(events) // (2 * KILLS) + 1
    async with looking(desk) as look:
        daemon = desk.daemon("--processes", "2")
        for start in range(0, len(events), 2 * half):
            await look.log.publish(events[start : start + half])
            busy = await look.has_read(start + 1)
            owners = [int(one["owner"].rpartition("/")[2] or 0) for one in busy["shards"]]
            victim = next(filter(alive, filter(None, owners)))
            os.kill(victim, signal.SIGSTOP)  # wherever it is just now
            await look.log.publish(events[start + half : start + 2 * half])
            os.kill(victim, signal.SIGKILL)
            assert (await look.stats())["lag"] > 0
            await look.has_read(start + half + 1)
        done = await look.until(lambda now: not now["lag"] and not now["events"]["waiting"])
        assert outcomes(done) == WANTED
        assert done["redelivered"] == 0
        assert await look.states() == counted_by_hand()
        assert look.owner_changes() >= KILLS
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
    ended = desk.logged("supervisor.process_ended")
    assert [line["code"] for line in ended] == [-signal.SIGKILL] * KILLS
