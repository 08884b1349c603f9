"""A project with the order example on a broker, for tests that run real commands and daemons."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from event_center.app.opening import reach_log
from event_center.app.settings import load_settings
from event_center.app.wiring import app_of
from event_center.client.stats import stats
from event_center.errors import LogUnavailable
from tests.cli.center import answered
from tests.forked import Done, Forked, Heard, command_line
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.waiting import PATIENCE_S, until_true, wait_until, whole_lines

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
machines = ["{machines}"]
[log]
kind = "kafka"
partitions = {partitions}
[log.kafka]
bootstrap = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = {copies}
session_timeout = "{session}"
heartbeat = "200ms"
{topics}
[logging]
level = "info"
"""
ORDERS = """
[topics.orders]
machine = "order"
"""


class Project:
    """One settings file, with names of its own on the broker."""

    def __init__(
        self,
        folder: Path,
        at: str | None = None,
        copies: int = 1,
        *,
        machines: str = "order.yaml",
        topics: str = ORDERS,
        partitions: int = 4,
        session: str = "1s",
    ) -> None:
        self.folder = folder
        self.timeout_s = PATIENCE_S
        self.bootstrap = at or bootstrap()
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.settings = folder / "event-center.toml"
        text = SETTINGS.format(
            machines=ROOT / "machines" / machines,  # which an absolute path replaces
            bootstrap=self.bootstrap,
            prefix=self.prefix,
            topics=topics,
            partitions=partitions,
            copies=copies,
            session=session,
        )
        self.settings.write_text(text, encoding="utf-8")
        self.daemons: list[Forked] = []
        # What callbacks of the examples write about themselves.
        self.environment = os.environ | {"EVENT_CENTER_DEMO_DIR": str(folder)}

    def told(self, *arguments: str) -> Any:
        """Run one command; what it printed, read as JSON."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return orjson.loads(done.stdout) if done.stdout.strip() else None

    def run(self, *arguments: str) -> Done:
        """Run one command to its end."""
        command = self.command(*arguments)
        return Heard(command, cwd=self.folder, env=self.environment).done(self.timeout_s)

    def publish(self, first: int, last: int) -> None:
        """Begin these orders."""
        lines = [
            orjson.dumps({"workflow_id": f"o-{n}", "event": "flow_begin", "payload": {"card": "1"}})
            for n in range(first, last)
        ]
        file = self.folder / "orders.jsonl"
        file.write_bytes(b"\n".join(lines))
        self.told("publish", "orders", "--file", str(file))

    def daemon(self, *arguments: str) -> Forked:
        """Start a daemon."""
        return self.started(command_line, self.command("run", *arguments))

    def started(self, work: Callable[[], None], arguments: list[str]) -> Forked:
        """Start a process that does this, with the words of its command line."""
        with (self.folder / "daemon.log").open("ab") as output:
            started = Forked(
                arguments,
                cwd=self.folder,
                work=work,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        self.daemons.append(started)
        return started

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of this event that the daemons have logged so far."""
        file = self.folder / "daemon.log"
        lines = whole_lines(file) if file.exists() else []
        told = [orjson.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if line.get("event") == event]

    def wait_for(self, event: str, count: int) -> list[dict[str, Any]]:
        """Wait until there are so many lines of an event."""
        wait_until(lambda: len(self.logged(event)) >= count)
        return self.logged(event)

    def children(self) -> list[int]:
        """The ids of all processes that supervisors have started here."""
        return [line["pid"] for line in self.logged("supervisor.process_started")]

    def until(self, condition: Callable[[Any], bool]) -> Any:
        """Ask one open log for the stats until they are so."""
        seen: list[Any] = []

        async def asked() -> None:
            settings = load_settings(self.settings)
            log = await reach_log(settings)

            async def so() -> bool:
                # Brokers that change hands are asked again.
                with contextlib.suppress(LogUnavailable):
                    seen[:] = [await stats(log, app_of(settings))]
                return bool(seen) and condition(seen[0])

            try:
                await until_true(so)
            finally:
                await log.close()

        try:
            asyncio.run(asked())
        except TimeoutError:
            raise AssertionError(f"it did not come about: {seen}\n{self.said()}") from None
        return seen[0]

    def stats(self) -> Any:
        """What the command says; asked in this process, because no other starts so fast."""
        answer = answered(self.settings, "stats", "--json")
        assert answer.code == 0, answer
        return answer.json

    def said(self) -> str:
        """The end of what the daemons wrote."""
        return (self.folder / "daemon.log").read_text()[-3_000:]

    def end(self) -> None:
        """End what runs."""
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()
        for pid in filter(alive, self.children()):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End what runs, and leave nothing on the broker."""
        self.end()
        asyncio.run(KafkaHarness(self.bootstrap).remove_topics(self.prefix))

    def command(self, *arguments: str) -> list[str]:
        """A command line of this project."""
        return [*arguments, "--config", str(self.settings)]


def alive(pid: int) -> bool:
    """Whether a process of this id runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
