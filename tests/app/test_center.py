"""The center inside one's own program: it runs until it is stopped, and says how it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.abc
import pytest

from event_center import Center, Publisher
from event_center.app.settings import load_settings
from event_center.errors import ConfigurationError, InvariantError, LogInUse
from tests.waiting import PATIENCE_S, until

MACHINE = """
machine: task
version: 1
initial: idle
perpetual: true
data: {n: 0}
states:
  idle: {on: {add: {assign: {n: =data.n + 1}}, go: busy}}
  busy: {entry: work, on: {done: idle}}
"""
PLUGIN = '''
"""The callbacks of a task."""
import anyio
import anyio.abc
from event_center import callbacks

task = callbacks("task")

@task.lifespan
async def opened():
    yield


@task.action("work")
async def work():
    await anyio.sleep_forever()


@task.action("nobody_asks_for_this")
async def unused():
    pass
'''


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A project with one machine and one topic."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "task.yaml").write_text(MACHINE)
    (tmp_path / "machines" / "task.py").write_text(PLUGIN)
    path = tmp_path / "event-center.toml"
    path.write_text(
        '[log]\npartitions = 2\n[engine]\ngrace = "10ms"\n[topics.tasks]\nmachine = "task"\n'
    )
    return path


async def publish(config: Path, count: int, event: str = "add") -> None:
    """So many events for three tasks."""
    async with Publisher.open(config) as publisher:
        for number in range(count):
            await publisher.publish("tasks", workflow_id=f"t-{number % 3}", event=event)


async def test_it_runs_until_it_is_stopped(config: Path) -> None:
    """`run` ends after `stop`; until then the center says what it serves and what it has read."""
    await publish(config, 7)
    async with Center.open(config) as center:
        assert not center.serving
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(center.run)
            await until(lambda: center.serving and center.totals["read"] == 7)
            assert center.lag == 0
            await publish(config, 3)
            await until(lambda: center.totals["read"] == 10)
            await center.stop()
        assert not center.serving
    async with Center.open(config) as center, anyio.create_task_group() as tasks:
        tasks.start_soon(center.run)
        await until(lambda: center.serving)
        assert center.restored == 3
        assert (center.totals["read"], center.totals["applied"]) == (10, 10)
        await center.stop()


async def test_until_idle(config: Path) -> None:
    """`run(until_idle=True)` ends by itself, once all that the log holds is decided."""
    await publish(config, 5)
    async with Center.open(config) as center:
        await center.run(until_idle=True)
    await publish(config, 1)
    async with Center.open(config) as center:
        await center.run(until_idle=True)
        topics = await center.log.topics()
        ends = [await center.log.watermark("event-center.history", q) for q in range(2)]
        assert topics["tasks"].partitions == 2
    assert sum(ends) == 9, "six events and three births"


async def test_a_stop_gives_callbacks_the_grace_time_and_no_more(config: Path) -> None:
    """A callback that does not end is cut off, and owed: the next center runs it again."""
    await publish(config, 1, "go")
    for _ in range(2):
        async with Center.open(config) as center, anyio.create_task_group() as tasks:
            tasks.start_soon(center.run)
            await until(lambda: bool(center._member.owners) and _running(center) == 1)
            await center.stop()
    async with Center.open(config) as center:
        assert await center.log.watermark("event-center.dead-letters", 0) == 0


def _running(center: Center) -> int:
    parts = [owner._parts for owner in center._member.owners.values()]
    return sum(len(one.workflows.runs) for one in parts if one is not None)


async def test_one_center_on_a_file(config: Path) -> None:
    """A second center on the same file is refused, and told who runs the first."""
    async with Center.open(config):
        with pytest.raises(LogInUse, match=r"process \d+ on "):
            async with Center.open(config):
                raise AssertionError("it must not open")


async def test_a_callback_that_no_machine_names_is_told(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A callback that nobody asks for is a warning at the start, with its name and place."""
    async with Center.open(config):
        pass
    said = capsys.readouterr().out
    assert "nobody_asks_for_this" in said
    assert "task.py" in said


def _other_partitions(config: Path) -> str:
    config.write_text(config.read_text().replace("partitions = 2", "partitions = 3"))
    return r"has 2 partitions.* write partitions = 2 again"


def _same_name_twice(config: Path) -> str:
    (config.parent / "machines" / "copy.yaml").write_text(MACHINE)
    return r"both define machine 'task'; rename one of them"


@pytest.mark.parametrize("changed", [_other_partitions, _same_name_twice])
async def test_what_does_not_fit_is_refused_before_anything_is_read(
    config: Path, changed: Callable[[Path], str]
) -> None:
    """A center does not open on settings that do not fit its log or its machines; it says what to write."""
    await publish(config, 1)
    with pytest.raises(ConfigurationError, match=changed(config)):
        async with Center.open(config):
            raise AssertionError("it must not open")


async def test_an_error_of_the_running_center_comes_out_alone(config: Path) -> None:
    """What ends a center from within is raised by `run` as it is, in no group of errors."""
    await publish(config, 1)
    async with Center.open(config) as center:
        await center.run(until_idle=True)
    machine = config.parent / "machines" / "task.yaml"
    machine.write_text(MACHINE.replace("n: 0", "n: 5"))
    async with Center.open(load_settings(config)) as center:
        with pytest.raises(ConfigurationError, match="has changed, but its version is still 1"):
            await center.run()


async def test_a_member_that_ends_unasked_ends_the_center(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that serves nothing any more does not live on in silence."""

    async def ends(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        task_status.started()

    async with Center.open(config) as center:
        monkeypatch.setattr(center._member, "run", ends)
        with anyio.fail_after(PATIENCE_S), pytest.raises(InvariantError, match="nobody asked"):
            await center.run()
