"""
A project for crash tests: settings, machines, a log, real daemons on it, and the audit of what is left.

Daemons are `daemon.py` in processes of their own; the test publishes through the log, as any other
process would.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from event_center.app.opening import open_log
from event_center.app.settings import load_settings
from event_center.app.wiring import home_of
from event_center.machine import load
from event_center.model import Outgoing
from event_center.testing import Evidence, Started, Violation, find_violations, read_sqlite
from event_center.wire.command import Command, Verb
from tests.crash import daemon
from tests.forked import Heard
from tests.waiting import PATIENCE_S, whole_lines

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTITIONS = 2
SETTINGS = """
app = "crash"
machines = ["{machines}"]

[log]
path = "log.db"
partitions = {partitions}
keep_cuts = true
poll_interval = "2ms"

[log.retention]
events = {{max_age = "unlimited", max_bytes = "unlimited"}}
history = {{max_age = "unlimited", max_bytes = "unlimited"}}

[engine]
cut_records = {cut_records}
{engine}

[publish]
topics = ["mail"]

[logging]
level = "error"
"""


class Died(Exception):
    """A daemon ended in another way than its test expects."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """With which it ended; None: it did not end."""


class Project:
    """One project in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        topics: dict[str, str],
        *,
        machines: Path,
        partitions: int = PARTITIONS,
        cut_records: int = 100,
        engine: str = "",
    ) -> None:
        self.folder = folder
        self.machines = machines
        self.log = folder / "log.db"
        self.settings = folder / "event-center.toml"
        self.starts = folder / "starts.jsonl"
        tables = "".join(f"\n[topics.{name}]\n{rules}\n" for name, rules in topics.items())
        text = SETTINGS.format(
            machines=machines.as_posix(),
            partitions=partitions,
            cut_records=cut_records,
            engine=engine,
        )
        self.settings.write_text(text + tables, encoding="utf-8")
        self.idle_ms = 0

    # -- what is published -----------------------------------------------------------------------

    def publish(self, records: Sequence[Outgoing]) -> None:
        """Append records to the log, durably."""
        asyncio.run(self._publish(records))

    async def _publish(self, records: Sequence[Outgoing]) -> None:
        log = await open_log(load_settings(self.settings))
        try:
            for start in range(0, len(records), 2_000):
                await log.publish(records[start : start + 2_000])
        finally:
            await log.close()

    def command(self, verb: Verb, workflow_id: str, **args: Any) -> Outgoing:
        """A command as an operator sends it."""
        home = home_of(load_settings(self.settings)).of(workflow_id)
        name = f"{verb}/{workflow_id}/{time.time_ns()}"
        command = Command(name, verb, workflow_id, "a test", "for a test", args)
        return Outgoing("crash.commands", workflow_id.encode(), command.encode(), (), home)

    # -- daemons ---------------------------------------------------------------------------------

    def start(self, *arguments: str) -> Heard:
        """A daemon, running."""
        return Heard(
            [str(self.settings), *arguments],
            cwd=self.folder,
            work=daemon.main,
            env={
                **os.environ,
                "CRASH_STARTS": str(self.starts),
                "EVENT_CENTER_DEMO_DIR": str(self.folder),
            },
        )

    def run_until_killed(self, *arguments: str) -> None:
        """Run a daemon that kills itself; it must not come to its end in another way."""
        self._end(self.start(*arguments), -signal.SIGKILL)

    def run_until_idle(self, *arguments: str) -> dict[str, int]:
        """Run a daemon until nothing is left to do; returns its totals."""
        report = orjson.loads(self._end(self.start(*arguments), 0).splitlines()[-1])
        self.idle_ms = report["idle_ms"]
        totals: dict[str, int] = report["totals"]
        return totals

    def _end(self, process: Heard, wanted: int) -> str:
        """Wait for the end of a daemon; returns what it printed."""
        try:
            said, told = process.communicate(PATIENCE_S)
        except subprocess.TimeoutExpired:
            said, told = self.kill(process)
            raise Died(f"{process.args!r}: the daemon never ended: {said}{told}") from None
        code = process.wait()
        if code != wanted:
            raise Died(f"{process.args!r}: it ended with {code}: {said}{told}", code)
        return said

    def kill(self, process: Heard) -> tuple[str, str]:
        """Kill a daemon from outside; returns what it printed."""
        process.kill()
        return process.communicate(PATIENCE_S)

    # -- what is left ----------------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the file of the log."""
        file = sqlite3.connect(f"{self.log.as_uri()}?mode=ro", uri=True)
        try:
            return file.execute(query).fetchall()
        finally:
            file.close()

    def cuts(self) -> int:
        """How many cuts there are."""
        if not self.log.exists():
            return 0
        [(count,)] = self.rows("SELECT count(*) FROM cuts")
        return int(count)

    def lag(self) -> int:
        """Records that no cut covers yet."""
        [(tail,)] = self.rows(
            "SELECT coalesce(sum(p.next), 0) FROM partitions p JOIN topics t ON t.id = p.topic "
            "WHERE t.joined"
        )
        [(read,)] = self.rows("SELECT coalesce(sum(next), 0) FROM offsets")
        return int(tail) - int(read)

    def evidence(self) -> Evidence:
        """Everything durable."""
        return read_sqlite(self.log, app="crash", idle_ms=self.idle_ms)

    def begun(self) -> int:
        """How many callbacks have begun: as quick a look as there is."""
        return self.starts.read_bytes().count(b"\n") if self.starts.exists() else 0

    def started(self) -> list[Started]:
        """What the callbacks wrote down."""
        if not self.starts.exists():
            return []
        return [Started(**json.loads(line)) for line in whole_lines(self.starts)]

    def violations(self) -> list[Violation]:
        """The audit of the log."""
        files = [self.machines] if self.machines.is_file() else self.machines.glob("*.yaml")
        machines = [load(path) for path in sorted(files)]
        return find_violations(self.evidence(), machines, self.started())
