"""The size of a workflow on a log in a file: the setting reaches the engine, and a restart keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center import Center, Publisher
from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import app_of
from event_center.client.workflows import show

MACHINE = """
machine: task
version: 1
initial: idle
perpetual: true
data: {note: null}
states:
  idle: {on: {note: {assign: {note: =payload}}}}
"""


@pytest.mark.parametrize(("limit", "note"), [("2KiB", "small"), ("1MiB", "x" * 5_000)])
async def test_data_that_grow_past_the_setting(tmp_path: Path, limit: str, note: str) -> None:
    """What is too large is refused and the workflow goes on; the twin has the room for it."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "task.yaml").write_text(MACHINE)
    config = tmp_path / "event-center.toml"
    config.write_text(
        f'[log]\npartitions = 1\n[engine]\nsnapshot_bytes = "{limit}"\n[topics.tasks]\nmachine = "task"\n'
    )
    for text in ("small", "x" * 5_000):
        async with Publisher.open(config) as publisher:
            await publisher.publish("tasks", workflow_id="t", event="note", payload=text)
        async with Center.open(config) as center:
            await center.run(until_idle=True)
    settings = load_settings(config)
    log = await open_log(settings)
    told = await show(log, app_of(settings), "t")
    await log.close()
    assert told is not None
    assert told["data"]["note"] == note
    assert [one["reason"] for one in told["refusals"]] == ["too_large"] * (note == "small")
