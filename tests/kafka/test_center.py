"""The order example, end to end, on a broker: publish, run, stats, show, history, and a second run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
SETTINGS = """
machines = ["{root}/machines/order.yaml"]
[log]
kind = "kafka"
partitions = 2
[log.kafka]
bootstrap = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = 1
session_timeout = "6s"
[topics.orders]
machine = "order"
[logging]
level = "warning"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Path]:
    """A settings file with names of its own on the broker."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    file = tmp_path / "event-center.toml"
    file.write_text(SETTINGS.format(root=ROOT, bootstrap=bootstrap(), prefix=prefix))
    yield file
    asyncio.run(_remove(prefix))


async def _remove(prefix: str) -> None:
    harness = KafkaHarness(bootstrap())
    await harness.remove_topics(prefix)


def told(settings: Path, *arguments: str) -> Any:
    """Run one command; what it printed, read as JSON."""
    command = [
        sys.executable,
        "-m",
        "event_center",
        *arguments,
        "--config",
        str(settings),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return orjson.loads(done.stdout) if done.stdout.strip() else None


def test_the_order_example(settings: Path) -> None:
    """What is published is decided once, also if the daemon runs again; every command answers."""
    events = ROOT / "machines" / "events" / "order.jsonl"
    told(settings, "publish", "orders", "--file", str(events))
    first = told(settings, "run", "--until-idle")
    read = len(events.read_text().splitlines())
    assert first["events"]["applied"] > 0
    assert first["events"]["read"] == read
    assert first["events"]["waiting"] == first["lag"] == 0
    assert told(settings, "run", "--until-idle")["events"] == first["events"]
    assert told(settings, "stats")["events"] == first["events"]
    assert told(settings, "show", "order-1001")["state"] == "completed"
