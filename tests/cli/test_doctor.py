"""`doctor`: a finding for everything that a daemon needs, and what to do where something is not fit."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from event_center.app import doctor_host
from event_center.app.doctor_log import of_file, of_open_log
from event_center.app.finding import Finding, Level
from event_center.app.settings import Settings, load_settings
from event_center.app.wiring import partitions_wanted
from event_center.log.memory import MemoryBroker, MemoryLog
from event_center.model import Outgoing
from tests.cli.center import Answer, Project

LATER_MS = 4_000_000_000_000
"""In a hundred years."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project without a log."""
    return Project(tmp_path)


def found(answer: Answer, area: str, level: str) -> list[str]:
    """What there is to say of an area."""
    findings = answer.json["findings"]
    return [one["what"] for one in findings if (one["area"], one["level"]) == (area, level)]


def test_all_is_well(project: Project) -> None:
    """A new project has nothing to mend, before its first run and after it, and the table says so."""
    answer = project.run("doctor", "--json")
    assert answer.code == 0
    assert answer.json["ok"]
    assert "the first `run` or `publish` makes it" in found(answer, "log", "ok")[0]
    assert not (project.root / "event-center.db").exists()
    project.run("run", "--until-idle")
    answer = project.run("doctor")
    assert answer.code == 0
    assert "whole; no daemon runs on it" in answer.out
    assert "all 6 topics are there" in answer.out
    assert "error " not in answer.out


def test_settings_that_can_not_be_read_end_it(project: Project) -> None:
    """Without settings nothing else can be looked at; the finding has what `run` would say."""
    project.write("event-center.toml", "no_such_key = 1")
    answer = project.run("doctor", "--json")
    assert answer.code == 1
    assert "no_such_key" in found(answer, "settings", "error")[0]
    assert {one["area"] for one in answer.json["findings"]} == {"environment", "settings"}


def test_settings_that_are_not_meant_for_long(project: Project) -> None:
    """What is for a desk or for an audit is a warning, which is no error."""
    settings = '[log]\nkeep_cuts = true\non_data_loss = "continue"\n[logging]\nlevel = "debug"\n'
    project.write("event-center.toml", settings)
    answer = project.run("doctor", "--json")
    assert answer.code == 0
    warnings = " ".join(found(answer, "settings", "warning"))
    for word in ("no topic of events", "keep_cuts", "passed over", "every step"):
        assert word in warnings


def test_machines_and_plugins_are_loaded(project: Project) -> None:
    """A machine with problems, and a plugin that lacks a callback, are errors with their place."""
    (project.root / "machines/task.py").write_text("from event_center import callbacks\n")
    answer = project.run("doctor", "--json")
    assert answer.code == 1
    assert "nobody implements the callback 'announce'" in found(answer, "plugins", "error")[0]
    machine = (
        (project.root / "machines/task.yaml").read_text().replace("initial: new", "initial: nwe")
    )
    project.write("machines/task.yaml", machine)
    answer = project.run("doctor", "--json")
    assert "did you mean 'new'?" in found(answer, "machines", "error")[0]


def test_a_machine_that_changed_under_its_version(project: Project) -> None:
    """What would keep a daemon from starting on this log is told before, and only if it ran before."""
    changed = (project.root / "machines/task.yaml").read_text() + "unhandled: ignore\n"
    before = project.write("machines/task.yaml", changed).read_text()
    assert project.run("doctor", "--json").code == 0
    project.done("publish", "tasks", "--workflow-id", "t-1", "--event", "begin")
    project.done("run", "--until-idle")
    project.write("machines/task.yaml", before.replace("unhandled: ignore", "unhandled: defer"))
    answer = project.run("doctor", "--json")
    assert answer.code == 1
    [said] = found(answer, "machines", "error")
    assert f"error: {said}" in project.run("run", "--until-idle").err
    assert "is still 1" in said


def test_workflows_without_a_place(project: Project) -> None:
    """Those whose state is gone are counted before their next event parks them; a map ends it."""
    project.done("publish", "tasks", "--workflow-id", "t-1", "--event", "begin")
    project.done("run", "--until-idle")
    old = (project.root / "machines/task.yaml").read_text()
    new = old.replace("version: 1", "version: 2").replace("busy", "working")
    project.write("machines/task.yaml", new)
    [said] = found(project.run("doctor", "--json"), "machines", "warning")
    assert said.startswith(
        "1 workflow of task in state 'busy' of version 1: version 2 has no place"
    )
    project.write("machines/task.yaml", new + "migrate: [{from: 1, states: {busy: working}}]\n")
    assert found(project.run("doctor", "--json"), "machines", "warning") == []
    project.write("machines/task.yaml", old.replace("machine: task", "machine: tusk"))
    project.write("event-center.toml", 'machines = ["machines"]\n[log]\npartitions = 2\n')
    (project.root / "machines/task.py").unlink()
    [said] = found(project.run("doctor", "--json"), "machines", "warning")
    assert "no such machine is loaded" in said


def test_a_file_that_is_no_log(project: Project) -> None:
    """A file of somebody else's, and a log that is damaged, are errors, and are left as they are."""
    project.write("event-center.db", b"something else")
    answer = project.run("doctor", "--json")
    assert answer.code == 1
    assert found(answer, "log", "error")
    assert (project.root / "event-center.db").read_bytes() == b"something else"


def levels(path: Path, mounts: dict[str, str]) -> list[tuple[Level, str]]:
    """The findings of a file."""
    return [(one.level, one.what) for one in of_file(path, mounts)]


def test_where_a_log_may_not_lie(tmp_path: Path) -> None:
    """A file system of a network is an error, memory a warning, and a folder that is not there an error."""
    path = tmp_path / "event-center.db"
    mounts = {"/": "ext4", str(tmp_path.parent): "nfs4"}
    assert levels(path, {"/": "ext4"})[0][0] is Level.OK
    assert levels(path, mounts)[0][0] is Level.ERROR
    assert levels(path, {**mounts, str(tmp_path): "tmpfs"})[0][0] is Level.WARNING
    [(level, what)] = levels(tmp_path / "no/where.db", {})
    assert (level, "nothing can be written" in what) == (Level.ERROR, True)


def test_a_file_that_others_can_write(project: Project) -> None:
    """Who can write the file can write anybody's state: that is a warning."""
    project.run("run", "--until-idle")
    path = project.root / "event-center.db"
    path.chmod(0o666)
    assert "everybody on this machine can write" in levels(path, {})[0][1]


def test_a_clock_that_is_behind(project: Project) -> None:
    """A record of the future says that this machine's clock is wrong; topics that lack are told."""
    settings = load_settings(project.root / "event-center.toml")

    async def examined() -> list[Finding]:
        broker = MemoryBroker()
        log = MemoryLog(broker, clock=lambda: LATER_MS)
        wanted = partitions_wanted(settings)
        await log.create({name: wanted[name] for name in wanted if name != "tasks"})
        await log.publish([Outgoing("event-center.history", b"w", b"{}", (), 1)])
        return [one async for one in of_open_log(settings, log)]

    missing, clock = asyncio.run(examined())
    assert (missing.level, missing.what) == (Level.WARNING, "there is no topic tasks yet")
    assert (clock.area, clock.level) == ("clock", Level.ERROR)
    assert "ahead of this machine's clock" in clock.what


def test_a_cluster_that_does_not_answer(project: Project) -> None:
    """Kafka that nobody reaches is an error, after three seconds; what its settings lack is a warning."""
    kafka = (
        '[log]\nkind = "kafka"\n[log.kafka]\nbootstrap = "127.0.0.1:1"\nreplication_factor = 1\n'
    )
    project.write(
        "event-center.toml", kafka + '[topics.tasks]\nmachine = "task"\n[engine]\nprocesses = 2\n'
    )
    answer = project.run("doctor", "--json")
    assert answer.code == 1
    assert "127.0.0.1:1" in found(answer, "log", "error")[0]
    copies, processes = found(answer, "settings", "warning")
    assert "one copy" in copies
    assert "2 processes share 1 of" in processes
    assert answer.err == ""


@pytest.mark.parametrize(
    ("free", "level"), [(1 << 20, Level.ERROR), (1 << 29, Level.WARNING), (1 << 40, Level.OK)]
)
def test_a_full_disk(free: int, level: Level) -> None:
    """A disk with little room is a warning, one with next to none an error."""
    assert doctor_host.of_room(free, "are free").level is level


def test_a_slow_disk(tmp_path: Path) -> None:
    """Slow writes are told, and what is written to find out is gone."""
    assert doctor_host.of_write(0.2).level is Level.WARNING
    assert len(list(doctor_host.of_disk(tmp_path))) == 2
    assert list(tmp_path.iterdir()) == []


def test_cores_where_the_system_does_not_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may use all cores of the machine where, as on macOS, nothing tells it otherwise."""
    asked = Settings.model_validate({"engine": {"processes": 3}})

    def said() -> list[str]:
        return [one.what for one in doctor_host.of_limits(asked) if "cores" in one.what]

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    assert said() == ["3 processes are to share 2 cores"]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert said() == []
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert said() == ["3 processes are to share 1 cores"]
