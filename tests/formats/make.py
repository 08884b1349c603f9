"""
Makes the log that stands for the present formats: `python -m tests.formats.make`, once per format.

The file and what it holds stay in this folder for ever, and `test_kept_logs.py` reads them. Made anew
only with a new format number, beside the older ones.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import anyio
import orjson

from event_center import Center, Publisher
from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import app_of
from event_center.client import commands
from event_center.client.workflows import Wanted, list_workflows, show
from event_center.wire.command import Command, Verb
from event_center.wire.entries import SHARD_FORMAT
from event_center.wire.snapshot import SNAPSHOT_FORMAT
from tests.waiting import until

HERE = Path(__file__).parent
EVENTS = {
    "idle": ["note"],
    "retrying": ["note", "work", "late", "end"],
    "timed": ["time"],
    "parked": ["ask", "note", "end"],
    "paused": ["note", "pause", "note"],
    "working": ["beside", "note"],
    "twofold": ["both", "step"],
    "done": ["note", "end", "note"],
    "expected": ["late", "late"],
    "refusing": ["wake", "nothing"],
}
"""What happens to each workflow; `pause` is a command."""


async def told_of(config: Path) -> dict[str, Any]:
    """Every workflow of a log as `show` tells of it, without what differs from look to look."""
    settings = load_settings(config)
    app = app_of(settings)
    log = await open_log(settings)
    try:
        rows, _ = await list_workflows(log, app, Wanted(), 100)
        found = {row["workflow_id"]: await show(log, app, row["workflow_id"]) for row in rows}
    finally:
        await log.close()
    return {name: orjson.loads(orjson.dumps(told)) for name, told in sorted(found.items())}


async def served(config: Path, count: int) -> None:
    """A center runs on the log until so many records are read and all is durable."""
    async with Center.open(config) as center, anyio.create_task_group() as tasks:
        tasks.start_soon(center.run)
        await until(lambda: center.totals.get("read", 0) >= count and not center.lag)
        await anyio.sleep(0.3)  # for what the last events have begun, and its cut
        await center.stop()


async def make(folder: Path) -> None:
    """The log, made in this folder."""
    config = folder / "event-center.toml"
    settings = load_settings(config)
    for workflow_id, events in EVENTS.items():
        for number, event in enumerate(events):
            if event == "pause":
                await served(config, 0)
                log = await open_log(settings)
                await commands.send(log, app_of(settings), Command("c-1", Verb.PAUSE, workflow_id))
                await log.close()
                await served(config, 0)
                continue
            async with Publisher.open(config) as publisher:
                payload = {"text": "grün", "number": number, "list": [1, 2.5, None, True]}
                await publisher.publish(
                    "lives",
                    workflow_id=workflow_id,
                    event=event,
                    payload=payload,
                    id=f"{workflow_id}-{number}",
                )
    await served(config, sum(map(len, EVENTS.values())))


def main() -> None:
    """Write `log-N.kept` and `log-N.json` for the present format N."""
    if SHARD_FORMAT != SNAPSHOT_FORMAT:
        raise SystemExit("name the files after both formats from now on")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "project"
        shutil.copytree(HERE / "project", folder)
        anyio.run(make, folder)
        anyio.run(_compacted, folder)
        told = anyio.run(told_of, folder / "event-center.toml")
        shutil.copy(folder / "log.db", HERE / f"log-{SNAPSHOT_FORMAT}.kept")
    path = HERE / f"log-{SNAPSHOT_FORMAT}.json"
    path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")


async def _compacted(folder: Path) -> None:
    """The file alone has everything: nothing is left in its write-ahead log."""
    with sqlite3.connect(folder / "log.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


if __name__ == "__main__":
    main()
