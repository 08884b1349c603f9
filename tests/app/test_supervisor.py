"""The supervisor of several processes: deaths, signals, idleness, and the logs that can be shared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from event_center.app.settings import Settings
from event_center.app.supervisor import check_shareable, of_process
from event_center.errors import ConfigurationError, ProcessFailed
from tests.app.supervising import CHILD, QUICK, answer, asked, runs, starts, supervisor
from tests.waiting import until, wait_until


async def test_all_are_quiet_twice(tmp_path: Path) -> None:
    """It ends once all shards are quiet in two rounds, between which nothing was read."""
    first = [answer(1, 0), answer(1), answer(2, 0), answer(3, 0), answer(3, 0)]
    second = [answer(1, 1), answer(1, 1)]
    assert await supervisor(tmp_path, "obey", first, second).run(until_idle=True) == 0
    # The first answer told that process 1 lives. Then: shard 0 works; quiet; quiet, but one record
    # was read; quiet as before.
    assert asked(tmp_path, 1) == 5


async def test_a_shard_that_nobody_has(tmp_path: Path) -> None:
    """Quiet processes are not enough: every shard has an owner that says so."""
    made = supervisor(tmp_path, "obey", [answer(1, 0)], [answer(1)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: made.run(until_idle=True))
        await until(lambda: asked(tmp_path, 1) > 4)
        made.stop()


async def test_one_that_dies_comes_again(tmp_path: Path) -> None:
    """One death is mended by another start."""
    answers = [answer(1, 0, 1)]
    assert await supervisor(tmp_path, "once", answers).run(until_idle=True) == 0
    assert len(starts(tmp_path, 1)) == 2


async def test_one_that_dies_again_and_again(tmp_path: Path) -> None:
    """After so many quick deaths there is one error, which names the process and its code."""
    with pytest.raises(ProcessFailed, match="process 1 ended 3 times within 60 s") as failed:
        await supervisor(tmp_path, "die", [answer(1)], [answer(1)]).run()
    assert failed.value.code == 3
    assert len(starts(tmp_path, 1)) == 3
    assert starts(tmp_path, 2) == []


async def test_wrong_settings_are_tried_once(tmp_path: Path) -> None:
    """The code of wrong settings ends all at once."""
    with pytest.raises(ProcessFailed, match="event-center check"):
        await supervisor(tmp_path, "wrong", [answer(1)]).run()
    assert len(starts(tmp_path, 1)) == 1


@pytest.mark.parametrize(("script", "code"), [("obey", 0), ("deaf", 5)])
async def test_nothing_outlives_the_grace_time(tmp_path: Path, script: str, code: int) -> None:
    """Asked to stop, processes end; those that do not are killed, which the exit code says."""
    tempo = replace(QUICK, grace_s=0.2) if script == "deaf" else QUICK
    made = supervisor(tmp_path, script, [answer(1)], [answer(1)], tempo=tempo)
    codes = []

    async def run() -> None:
        codes.append(await made.run())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: bool(starts(tmp_path, 1) and starts(tmp_path, 2)))
        made.stop()
    assert codes == [code]
    assert not any(runs(pid) for number in (1, 2) for pid in starts(tmp_path, number))


@pytest.mark.parametrize(("script", "stays"), [("obey", False), ("orphan", True)])
def test_the_line_ends_what_has_no_supervisor(tmp_path: Path, script: str, stays: bool) -> None:
    """A supervisor killed with -9 leaves nobody behind; without a look at the line it would."""
    (tmp_path / "1.json").write_text(json.dumps([answer(1)]))
    command = [sys.executable, "-S", str(CHILD), script, str(tmp_path)]
    program = (
        "import anyio; from event_center.app.supervisor import Supervisor, Tempo; "
        f"anyio.run(Supervisor({command!r}, 1, shards=1, tempo=Tempo()).run)"
    )
    killed = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    wait_until(lambda: asked(tmp_path, 1) > 0)
    killed.kill()
    killed.wait()
    (child,) = starts(tmp_path, 1)
    if not stays:
        wait_until(lambda: not runs(child))
    else:
        assert runs(child)
        os.kill(child, signal.SIGKILL)


def test_a_file_is_not_shared() -> None:
    """Several processes on one file are refused, with what to write instead."""
    with pytest.raises(ConfigurationError, match='kind = "kafka"'):
        check_shareable(Settings(), 2)
    check_shareable(Settings(), 1)
    check_shareable(Settings(log={"kind": "kafka"}), 2)  # type: ignore[arg-type]  # pydantic's


def test_an_instance_id_is_of_one_process() -> None:
    """Each of several processes has a name of its own where one is set, and it is always the same."""
    named = Settings.model_validate({"log": {"kafka": {"instance_id": "pod-0"}}})
    kafka = named.log.kafka
    assert of_process(named, 2).log.kafka == kafka.model_copy(update={"instance_id": "pod-0-2"})
    assert of_process(Settings(), 2) == Settings()
