"""No broker at the start: it is waited for with a clear message, and then given up with one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from event_center.app.opening import open_log
from event_center.app.settings import Settings, load_settings
from event_center.errors import LogUnavailable
from scripts.broker import Cluster
from scripts.broker.plan import free_ports
from tests.chaos.proxy import Proxy, Request
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S, until, wait_until

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose cluster is not there."""
    return Project(tmp_path, NOWHERE)


def test_the_daemon_gives_up(project: Project) -> None:
    """It says that it waits, and ends with the code of a log that is unavailable."""
    ended = project.run("run", "--wait", "1s")
    assert ended.returncode == 3
    assert "log.waiting" in ended.stderr
    assert f"nobody can be reached at {NOWHERE}" in ended.stderr
    assert "waited 1 s for it" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_command_that_looks_gives_up_soon(project: Project) -> None:
    """Who sits before the terminal waits three seconds, whatever the settings say."""
    ended = project.run("stats", "--json")
    assert ended.returncode == 3
    assert "waited 3 s for it" in ended.stderr
    assert ended.stdout == ""


def test_a_wait_that_is_none(project: Project) -> None:
    """What is no duration is told as a problem of the flag."""
    ended = project.run("run", "--wait", "soon")
    assert ended.returncode == 2
    assert "flag: log.kafka.start_wait: 'soon' is not a duration" in ended.stderr


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Cluster]:
    """A broker that is not started yet, and where it will be."""
    bootstrap()
    made = Cluster(tmp_path / "late", port=free_ports().plain)
    yield made
    made.remove()


def test_a_broker_that_comes_late(tmp_path: Path, late: Cluster) -> None:
    """A daemon that waits begins by itself once the broker is there."""
    project = Project(tmp_path, late.plain)
    daemon = project.daemon()
    try:
        log = tmp_path / "daemon.log"
        wait_until(lambda: "log.waiting" in log.read_text() or daemon.poll() is not None)
        assert daemon.poll() is None, log.read_text()
        late.start()
        project.publish(0, 5)
        project.until(lambda stats: stats["events"]["applied"] == 5)
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 0
    finally:
        project.close()


@pytest_asyncio.fixture
async def before() -> AsyncIterator[Proxy]:
    """Stands before the broker as its bootstrap address; what passes is only how clients enter."""
    made = Proxy(int(bootstrap().rpartition(":")[2]))
    await made.start()
    yield made
    await made.close()


def through(proxy: Proxy, folder: Path, start_wait: str) -> Settings:
    """The settings of a project whose cluster is behind this proxy."""
    project = Project(folder, f"127.0.0.1:{proxy.port}")
    impatient = {"start_wait": start_wait, "request_timeout": "1s"}
    return load_settings(project.settings, {"log": {"kafka": impatient}})


async def fall_silent(proxy: Proxy) -> None:
    """Once the first client has entered, nobody after it is heard."""
    await proxy.next_request(Request.METADATA)
    proxy.up.hold()


async def test_a_cluster_that_falls_silent_after_the_first_answer(
    before: Proxy, tmp_path: Path
) -> None:
    """It is waited for as one that is not there, and the log opens once it speaks again."""
    settings = through(before, tmp_path, "1m")

    async def be_silent_until(told: list[MutableMapping[str, Any]]) -> None:
        await fall_silent(before)
        await until(lambda: any(line["event"] == "log.waiting" for line in told))
        before.up.go_on()

    with capture_logs() as told:
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(PATIENCE_S):
            tasks.create_task(be_silent_until(told))
            log = await open_log(settings)
    await log.close()
    harness, prefix = KafkaHarness(bootstrap()), settings.log.kafka.topic_prefix
    async with harness.admin() as admin:
        assert f"{prefix}orders" in await admin.list_topics()
    await harness.remove_topics(prefix)


async def test_without_the_wait_the_silence_is_an_error(before: Proxy, tmp_path: Path) -> None:
    """The twin of the wait: with none, the same silence ends the start."""
    settings = through(before, tmp_path, "0s")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fall_silent(before))
        with pytest.raises(LogUnavailable):
            await open_log(settings)
