"""Every command that looks or changes says the same of a log on Kafka as of the embedded one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.cli.center import SETTINGS, Project
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness

ON_KAFKA = """
kind = "kafka"
partitions = 2
[log.kafka]
bootstrap = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = 1
session_timeout = "6s"
heartbeat = "100ms"
"""
WHERE = {
    "age_s",
    "as_of",
    "at",
    "closed_at",
    "command_id",
    "cut",
    "cuts",
    "entered_at",
    "id",
    "letter",
    "offset",
    "origin",
    "owner",
    "partition",
    "position",
    "positions",
    "seen",
    "shard",
    "since",
    "takeovers",
    "time",
    "watermark",
}
"""What says where or when, which no two logs have in common."""
EVENTS = [
    {"workflow_id": "t-1", "event": "begin"},
    {"workflow_id": "t-2", "event": "begin", "id": "b-2"},
    {"workflow_id": "t-2", "event": "begin", "id": "b-2"},
    {"workflow_id": "t-2", "event": "end"},
    {"workflow_id": "t-2", "event": "work"},
    {"workflow_id": "t-3", "event": "begin"},
    {"workflow_id": "t-3", "event": "work"},
    {"workflow_id": "t-3", "event": "work"},
    {"workflow_id": "t-4", "event": "end"},
    {"workflow_id": "t-7", "event": "\x00"},
    {"workflow_id": "t-5", "event": "begin"},
]
LOOKS = [
    ["stats"],
    ["top", "--interval", "100ms"],
    ["list"],
    ["list", "--status", "final"],
    ["list", "--state", "busy", "--limit", "2"],
    *(["show", f"t-{n}"] for n in (1, 2, 3, 5)),
    *(["history", f"t-{n}"] for n in (1, 2, 3, 4, 5)),
    ["dead-letters", "list"],
]
CHANGES = [
    ["pause", "t-1", "--no-wait"],
    ["send", "t-1", "end"],
    ["cancel", "t-5", "--no-wait"],
    ["set-state", "t-3", "done", "--reason", "a test", "--no-wait"],
    ["send", "t-9", "begin"],
]


class Both:
    """One project on either log."""

    def __init__(self, folder: Path) -> None:
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.projects: list[Project] = []
        for name in ("sqlite", "kafka"):
            (folder / name).mkdir()
            self.projects.append(Project(folder / name))
        kafka = ON_KAFKA.format(bootstrap=bootstrap(), prefix=self.prefix)
        settings = SETTINGS.replace("partitions = 2", "", 1).replace("[log]", f"[log]{kafka}", 1)
        self.projects[1].write("event-center.toml", settings)
        for project in self.projects:
            lines = b"\n".join(map(orjson.dumps, EVENTS))
            file = str(project.write("events.jsonl", lines))
            project.done("publish", "tasks", "--file", file)
            project.done("run", "--until-idle")

    def say(self, *arguments: str) -> list[tuple[int, Any]]:
        """Exit code and answer of either, without what says where and when."""
        found = []
        for project in self.projects:
            answer = project.run(*arguments, "--json")
            told: Any = answer.json if answer.out.strip() else None
            if arguments[0] == "stats":
                # By their watermarks: on Kafka the markers of transactions have offsets too.
                del told["history"], told["letters"]
            if arguments[0] == "top":
                told = watched(told)
            found.append((answer.code, placeless(told)))
        return found


def watched(told: Any) -> Any:
    """What `top` shows of states and errors, without how long and when."""
    states = ("machine", "state", "workflows", "parked", "retrying", "final", "left")
    return {
        "states": sorted([str(row[name]) for name in states] for row in told["states"]),
        "errors": sorted([one["what"], one["error"], one["times"]] for one in told["errors"]),
        "events": told["counted"]["events"],
    }


def placeless(told: Any) -> Any:
    """An answer without positions and times; rows in an order of their own."""
    if isinstance(told, dict):
        return {key: placeless(value) for key, value in told.items() if key not in WHERE}
    if isinstance(told, list):
        return [placeless(one) for one in told]
    return told


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both logs after the same events."""
    made = Both(tmp_path_factory.mktemp("both"))
    yield made
    asyncio.run(KafkaHarness(bootstrap()).remove_topics(made.prefix))


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_looking(both: Both, command: list[str]) -> None:
    """The answers are equal."""
    on_sqlite, on_kafka = both.say(*command)
    assert on_kafka == on_sqlite


@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
def test_changing(both: Both, command: list[str]) -> None:
    """What is asked of a workflow has the same answer and the same consequences."""
    on_sqlite, on_kafka = both.say(*command)
    assert on_kafka == on_sqlite
    for project in both.projects:
        project.done("run", "--until-idle")
    for look in (["show", command[1]], ["history", command[1]], ["stats"]):
        on_sqlite, on_kafka = both.say(*look)
        assert on_kafka == on_sqlite
