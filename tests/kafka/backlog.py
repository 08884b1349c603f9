"""A backlog on Kafka, for a daemon that finds it at its start."""

from __future__ import annotations

from pathlib import Path

import orjson

from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.model import Outgoing
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


def project_in(folder: Path, at: str | None = None, *, session: str = "1s") -> Project:
    """A project whose only machine counts."""
    (folder / "counter.yaml").write_text(MACHINE, encoding="utf-8")
    machine = str(folder / "counter.yaml")
    return Project(folder, at, machines=machine, topics=TOPICS, session=session)
