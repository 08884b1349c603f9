"""
A backlog on Kafka, decided by a daemon that finds it at its start, and then looked at.

    python -m tests.kafka.backlog EVENTS WORKFLOWS [PROCESSES]

Starts a broker of its own and prints how long each part took, start of its process included.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.model import Outgoing
from scripts.broker import Broker
from tests.kafka.project import Project
from tests.kafka.running import MACHINE

AT_ONCE = 10_000
TOPICS = '[topics.events]\nmachine = "counter"\n'


async def publish(project: Project, events: int, workflows: int) -> None:
    """So many events, for the workflows in turn."""
    log = await open_log(load_settings(project.settings))
    try:
        for start in range(0, events, AT_ONCE):
            names = [f"w{n % workflows}" for n in range(start, min(events, start + AT_ONCE))]
            bodies = [orjson.dumps({"workflow_id": name, "event": "add"}) for name in names]
            pairs = zip(names, bodies, strict=True)
            await log.publish([Outgoing("events", name.encode(), body) for name, body in pairs])
    finally:
        await log.close()


def project_in(folder: Path, at: str | None = None) -> Project:
    """A project whose only machine counts."""
    (folder / "counter.yaml").write_text(MACHINE, encoding="utf-8")
    return Project(folder, at, machines=str(folder / "counter.yaml"), topics=TOPICS)


def timed(work: Callable[[], Any], what: str) -> Any:
    """Do it, and say how long it took."""
    start = time.perf_counter()
    done = work()
    print(f"{what}: {time.perf_counter() - start:.2f} s", flush=True)
    return done


def main(events: int, workflows: int, processes: int = 1) -> None:
    """Publish, decide, look."""
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "broker")
        broker.start()
        try:
            project = project_in(Path(folder), broker.bootstrap)
            project.timeout_s = 3_600
            timed(lambda: asyncio.run(publish(project, events, workflows)), f"publish {events}")
            run = ("run", "--until-idle", "--processes", str(processes))
            done = timed(lambda: project.told(*run), f"run --until-idle with {processes}")
            assert done["events"]["applied"] == events
            for command in (["stats"], ["show", "w1"], ["list", "--limit", "10"], ["list"]):
                timed(functools.partial(project.told, *command), " ".join(command))
        finally:
            broker.remove()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
