"""Logs of every format that was ever released are kept here, and are read for ever."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from event_center import Publisher
from event_center.wire.snapshot import SNAPSHOT_FORMAT
from tests.formats.make import HERE, served, told_of

KEPT = sorted(HERE.glob("log-*.kept"))


@pytest.fixture(params=KEPT, ids=lambda path: path.stem)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A project on a copy of a kept log, and what the release that made it told of it."""
    path: Path = request.param
    folder = tmp_path / "project"
    shutil.copytree(HERE / "project", folder)
    shutil.copy(path, folder / "log.db")
    return folder / "event-center.toml", orjson.loads(path.with_suffix(".json").read_bytes())


def test_the_present_format_is_kept() -> None:
    """Who gives a format another number keeps a log of it: `python -m tests.formats.make`."""
    assert HERE / f"log-{SNAPSHOT_FORMAT}.kept" in KEPT


async def test_it_tells_what_it_told(kept: tuple[Path, dict[str, Any]]) -> None:
    """Every workflow is there, and each part that was told of it then is the same today."""
    config, before = kept
    found = await told_of(config)
    assert list(found) == list(before)
    for workflow_id, told in before.items():
        assert {name: found[workflow_id][name] for name in told} == told


async def test_it_goes_on(kept: tuple[Path, dict[str, Any]]) -> None:
    """Nothing happens to who waits, and events move who can be moved: no record is read twice."""
    config, before = kept
    async with Publisher.open(config) as publisher:
        for workflow_id in ("timed", "idle", "working"):
            await publisher.publish("lives", workflow_id=workflow_id, event="wake")
    await served(config, sum(before["idle"]["as_of"]["offsets"].values()) + 3)
    found = await told_of(config)
    told = ("state", "status", "data", "parked", "seq", "waiting")
    for workflow_id in ("parked", "paused", "retrying", "done", "twofold"):
        assert [found[workflow_id][name] for name in told] == [
            before[workflow_id][name] for name in told
        ]
    assert [found[name]["state"] for name in ("timed", "idle", "working")] == ["idle"] * 3
    assert [one["reason"] for one in found["idle"]["refusals"]] == ["not_accepted"]
