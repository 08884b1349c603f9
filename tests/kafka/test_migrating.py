"""From SQLite to Kafka and back, half-way: every ticket ends as if nothing had been moved."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from event_center.app.opening import reach_log
from event_center.app.settings import Settings, load_settings
from tests.cli.center import answered
from tests.cli.migrating_killed import migrate
from tests.forked import Forked, Heard
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.waiting import until_true, wait_until

ROOT = Path(__file__).resolve().parents[2]
COPIES = 25
PAUSED = "paused-ticket"
REST = """
[topics.helpdesk]
machine = "helpdesk"
[logging]
level = "warning"
"""


class Desk:
    """A help desk that can run on several logs, each with settings of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.on_sqlite("first", 2)
        self.on_sqlite("back", 5)
        self.on_sqlite("whole", 1)
        kafka = (
            f'kind = "kafka"\npartitions = 4\n[log.kafka]\nbootstrap = "{bootstrap()}"\n'
            f'topic_prefix = "{self.prefix}"\nreplication_factor = 1\nsession_timeout = "1s"\n'
            'heartbeat = "200ms"\n'
        )
        self.write("kafka", kafka)
        self.daemons: list[Forked] = []
        self.environment = os.environ | {"EVENT_CENTER_DEMO_DIR": str(folder)}

    def on_sqlite(self, name: str, partitions: int) -> None:
        """Settings of a file."""
        self.write(name, f'path = "{name}.db"\npartitions = {partitions}\n')

    def write(self, name: str, log: str) -> None:
        """Settings of this name."""
        text = f'machines = ["{ROOT}/machines/helpdesk.yaml"]\n[log]\n{log}{REST}'
        (self.folder / f"{name}.toml").write_text(text, encoding="utf-8")

    def done(self, name: str, *arguments: str) -> Any:
        """Run a command on a log; what it printed, as JSON."""
        return self._told(*arguments, "--json", "--config", f"{name}.toml")

    def migrate(self, there: str, here: str, *arguments: str) -> Any:
        """Move."""
        files = ("--from", f"{there}.toml", "--to", f"{here}.toml")
        return self._told("migrate", *files, "--json", *arguments)

    def _told(self, *arguments: str) -> Any:
        done = Heard(arguments, cwd=self.folder, env=self.environment).done()
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout) if done.stdout.strip() else None

    def publish(self, name: str, events: list[Any]) -> None:
        """Publish these events."""
        (self.folder / "events.jsonl").write_bytes(b"\n".join(map(orjson.dumps, events)))
        self.done(name, "publish", "helpdesk", "--file", "events.jsonl")

    def killed(self, name: str, read: int) -> None:
        """Run a daemon, and kill it with -9 once it has read so much."""
        command = ["run", "--config", f"{name}.toml"]
        daemon = Forked(command, cwd=self.folder, env=self.environment)
        self.daemons.append(daemon)
        settings = self.folder / f"{name}.toml"
        wait_until(lambda: answered(settings, "stats", "--json").json["events"]["read"] >= read)
        daemon.kill()
        daemon.wait()

    def tickets(self, name: str) -> dict[str, tuple[Any, ...]]:
        """Where every ticket is."""
        rows = self.done(name, "list", "--limit", "10000")
        return {
            row["workflow_id"]: (row["state"], row["status"], row["seq"], row["result"])
            for row in rows
        }

    def close(self) -> None:
        """End what runs, and leave nothing on the broker."""
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()
        asyncio.run(KafkaHarness(bootstrap()).remove_topics(self.prefix))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A help desk without tickets."""
    made = Desk(tmp_path)
    yield made
    made.close()


def _events() -> list[Any]:
    """The sample events, of many tickets."""
    lines = (ROOT / "machines/events/helpdesk.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [orjson.loads(line) for line in lines]
    return [
        event | {"workflow_id": f"{event['workflow_id']}-{copy}", "id": f"{number}-{copy}"}
        for copy in range(COPIES)
        for number, event in enumerate(samples)
    ]


def _paused(event: str) -> Any:
    return {"workflow_id": PAUSED, "event": event}


def test_to_kafka_and_back(desk: Desk) -> None:
    """A desk whose daemon was killed moves to Kafka, works on, moves back: nothing lost, nothing twice."""
    events = _events()
    third = len(events) // 3
    desk.publish("whole", [*events, *map(_paused, ("Insert ticket", "Wait", "Closed"))])
    whole = desk.done("whole", "run", "--until-idle")

    desk.publish("first", [_paused("Insert ticket"), *events[: third // 2]])
    desk.done("first", "run", "--until-idle")
    desk.done("first", "pause", PAUSED, "--no-wait")
    desk.publish("first", [_paused("Wait"), *events[third // 2 : third]])
    desk.killed("first", third // 2 + 10)
    before = desk.done("first", "stats")
    moved = desk.migrate("first", "kafka", "--with-backlog", "--with-history")
    assert moved["read"] == before["events"]["read"]
    assert moved["unread"] == before["lag"]
    desk.done("kafka", "run", "--until-idle")
    assert desk.done("kafka", "show", PAUSED)["waiting"]["count"] == 1

    desk.publish("kafka", events[third : 2 * third])
    desk.killed("kafka", third + 20)
    _forgotten(desk, "kafka", "back")
    moved = desk.migrate("kafka", "back", "--with-backlog")
    assert desk.done("back", "show", PAUSED)["waiting"]["count"] == 1
    desk.publish("back", events[2 * third :])
    desk.publish("back", [_paused("Closed")])
    desk.done("back", "resume", PAUSED, "--no-wait")
    last = desk.done("back", "run", "--until-idle")

    assert desk.tickets("back") == desk.tickets("whole")
    commands = 2
    assert last["events"]["read"] == whole["events"]["read"] + commands
    assert last["events"]["applied"] == whole["events"]["applied"] + commands
    assert last["events"]["rejected"] == whole["events"]["rejected"]
    assert last["events"]["waiting"] == 0
    assert last["transitions"] == whole["transitions"]
    effects = [
        orjson.loads(line)
        for line in (desk.folder / "helpdesk.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    # `whole` has run them all as well; an effect may have run twice only with the same key.
    assert len({(e["workflow_id"], e["key"]) for e in effects}) == whole["runs"]


def _killed(desk: Desk, there: str, here: str, at: int) -> None:
    """Migrate in a process that is killed with -9 on its way."""
    command = ["migrate", "--from", f"{there}.toml", "--to", f"{here}.toml", str(at)]
    ended = Heard(command, cwd=desk.folder, work=migrate).done()
    assert ended.returncode == -9, ended.stderr


def test_killed_on_the_way(desk: Desk) -> None:
    """
    Killed with -9 on the way to Kafka, and on the way back: no daemon serves the target, and run again
    it ends with the same.
    """
    desk.publish("first", _events()[:300])
    desk.done("first", "run", "--until-idle")
    told = []
    for there, here in (("first", "kafka"), ("kafka", "back")):
        for at in (2, 9, 14):
            _killed(desk, there, here, at)
            _refused(desk, here)
            _forgotten(desk, there, here)
        told.append(desk.migrate(there, here))
        assert desk.tickets(here) == desk.tickets("first")
    assert told[0]["entries_digest"] == told[1]["entries_digest"]


def _refused(desk: Desk, name: str) -> None:
    command = ["run", "--until-idle", "--config", f"{name}.toml"]
    refused = Heard(command, cwd=desk.folder).done()
    assert refused.returncode == 2, refused.stderr
    assert "run `event-center migrate` again" in refused.stderr


def _forgotten(desk: Desk, *names: str) -> None:
    """Wait until the cluster has forgotten those who were killed."""
    for name in names:
        asyncio.run(_left(load_settings(desk.folder / f"{name}.toml")))


async def _left(settings: Settings) -> None:
    log = await reach_log(settings, as_it_is=True)

    async def empty() -> bool:
        return not await log.members()

    try:
        await until_true(empty)
    finally:
        await log.close()
