"""A lag of a million events: read in bounded memory, through the death of a process, each event once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer

from tests.kafka.audit import committed
from tests.kafka.backlog import project_in
from tests.kafka.looking import looking
from tests.kafka.project import Project, alive
from tests.waiting import PATIENCE_S

EVENTS, WORKFLOWS = 1_000_000, 10_000
EACH = EVENTS // WORKFLOWS
SESSION_S = 3
"""Long enough for a busy machine; the others of the group wait so long for the one that is killed."""
DRAIN_S = 900.0
"""For this much, on a busy machine."""
PEAK_MIB = 250
"""Of a process: 130 to 155 here, 64 of it Python and its imports. As objects the lag takes far more."""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose machine counts."""
    made = project_in(tmp_path, session=f"{SESSION_S}s")
    yield made
    made.close()


def publish(project: Project) -> None:
    """A million events, for the workflows in turn, by a producer that is not ours."""
    names = [f"w{n}" for n in range(WORKFLOWS)]
    bodies = [(name, orjson.dumps({"workflow_id": name, "event": "add"})) for name in names]
    # The partitioner is Java's, which is the default of a center.
    options = {"partitioner": "murmur2_random", "linger.ms": 50}
    producer = Producer({"bootstrap.servers": project.bootstrap} | options)
    for _ in range(EACH):
        for name, body in bodies:
            producer.produce(f"{project.prefix}events", body, name)
        producer.flush(PATIENCE_S)


def peak_mib(pid: int) -> float:
    """The most memory that a process has had at once."""
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) / 1024


def counted(project: Project) -> tuple[list[bytearray], dict[bytes, int]]:
    """How often each event has an outcome, by partition and offset; what each workflow has counted."""
    told, newest = [bytearray(EVENTS) for _ in range(4)], dict[bytes, bytes]()
    for topic, read in committed(project.bootstrap, f"{project.prefix}event-center."):
        if topic == "history":
            one = orjson.loads(read.value or b"")["data"]
            if "offset" in one:  # births have none
                assert (one["topic"], one["outcome"]) == ("events", "applied")
                told[one["partition"]][one["offset"]] += 1
        elif topic == "snapshots" and (read.key or b"").startswith(b"s:"):
            newest[read.key or b""] = read.value or b""
    counts = {
        key: orjson.loads(value.partition(b"\n")[2])["data"]["n"] for key, value in newest.items()
    }
    return told, counts


async def test_a_million_events_once(project: Project) -> None:
    """Two processes decide them, one is killed on the way: every event has one outcome, counted once."""
    async with looking(project) as look:
        publish(project)
        daemon = project.daemon("--processes", "2")
        busy = await look.has_read(EVENTS // 10)
        owners = [int(one["owner"].rpartition("/")[2] or 0) for one in busy["shards"]]
        victim = next(filter(alive, filter(None, owners)))
        peaks = [peak_mib(victim)]
        os.kill(victim, signal.SIGKILL)
        assert (await look.stats())["lag"] > EVENTS // 10
        done = await look.until(lambda now: not now["lag"], DRAIN_S)
        peaks += [peak_mib(pid) for pid in project.children() if alive(pid)]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0, project.said()
    assert done["events"]["read"] == done["events"]["applied"] == EVENTS
    assert done["redelivered"] == 0
    assert not any(one["owner"].endswith(f"/{victim}") for one in done["shards"])
    assert max(peaks) < PEAK_MIB, peaks
    print(f"{len(peaks)} processes, with up to {max(peaks):.0f} MiB each")
    told, counts = counted(project)
    assert [outcomes.count(1) for outcomes in told] == [sum(outcomes) for outcomes in told]
    assert sum(map(sum, told)) == EVENTS
    assert len(counts) == WORKFLOWS
    assert set(counts.values()) == {EACH}
