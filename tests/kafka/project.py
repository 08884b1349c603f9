"""A project with the order example on a broker, for tests that run real commands and daemons."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
SETTINGS = """
machines = ["{root}/machines/order.yaml"]
[log]
kind = "kafka"
partitions = 4
[log.kafka]
bootstrap = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = {copies}
session_timeout = "1s"
heartbeat = "200ms"
[topics.orders]
machine = "order"
[logging]
level = "warning"
"""


class Project:
    """One settings file, with names of its own on the broker."""

    def __init__(self, folder: Path, at: str | None = None, copies: int = 1) -> None:
        self.folder = folder
        self.bootstrap = at or bootstrap()
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.settings = folder / "event-center.toml"
        text = SETTINGS.format(
            root=ROOT, bootstrap=self.bootstrap, prefix=self.prefix, copies=copies
        )
        self.settings.write_text(text, encoding="utf-8")
        self.daemons: list[subprocess.Popen[bytes]] = []

    def told(self, *arguments: str) -> Any:
        """Run one command; what it printed, read as JSON."""
        command = self._command(*arguments, "--json")
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return orjson.loads(done.stdout) if done.stdout.strip() else None

    def publish(self, first: int, last: int) -> None:
        """Begin these orders."""
        lines = [
            orjson.dumps({"workflow_id": f"o-{n}", "event": "flow_begin", "payload": {"card": "1"}})
            for n in range(first, last)
        ]
        file = self.folder / "orders.jsonl"
        file.write_bytes(b"\n".join(lines))
        self.told("publish", "orders", "--file", str(file))

    def daemon(self) -> subprocess.Popen[bytes]:
        """Start a daemon."""
        with (self.folder / "daemon.log").open("ab") as output:
            started = subprocess.Popen(self._command("run"), stdout=output, stderr=output)
        self.daemons.append(started)
        return started

    def until(self, condition: Callable[[Any], bool]) -> Any:
        """Ask for the stats until they are so."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            stats = self.told("stats")
            if condition(stats):
                return stats
            log = (self.folder / "daemon.log").read_text()[-2_000:]
            assert time.monotonic() < end, f"{stats['events']} {stats['lag']}\n{log}"

    def said(self) -> str:
        """The end of what the daemons wrote."""
        return (self.folder / "daemon.log").read_text()[-3_000:]

    def end(self) -> None:
        """End what runs."""
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()

    def close(self) -> None:
        """End what runs, and leave nothing on the broker."""
        self.end()
        asyncio.run(KafkaHarness(self.bootstrap).remove_topics(self.prefix))

    def _command(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "event_center", *arguments]
        return [*command, "--config", str(self.settings)]
