"""The supervisor of several processes: deaths, signals, idleness, and the logs that can be shared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from event_center.app.settings import Settings
from event_center.app.supervisor import Supervisor, Tempo, check_shareable, of_process
from event_center.errors import ConfigurationError, ProcessFailed
from tests.waiting import PATIENCE_S, until, wait_until

CHILD = Path(__file__).with_name("children.py")
QUICK = Tempo(
    again_s=0.01, again_max_s=0.02, quick_s=PATIENCE_S, quick_deaths=3, grace_s=0.2, margin_s=0.2
)


def answer(read: int, *quiet: int) -> dict[str, Any]:
    return {"read": read, "lag": 0, "quiet": quiet}


def supervisor(
    folder: Path,
    script: str,
    *answers: list[dict[str, Any]],
    shards: int = 2,
    tempo: Tempo = QUICK,
) -> Supervisor:
    """One of children that give these answers."""
    for number, one in enumerate(answers, 1):
        (folder / f"{number}.json").write_text(json.dumps(one))
    command = [sys.executable, "-S", str(CHILD), script, str(folder)]
    return Supervisor(command, len(answers), shards=shards, tempo=tempo)


def starts(folder: Path, number: int) -> list[int]:
    """The ids of the processes that were started under this number."""
    path = folder / f"{number}.starts"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def asked(folder: Path, number: int) -> int:
    """How often a child was asked."""
    path = folder / f"{number}.asked"
    return int(path.read_text() or 0) if path.exists() else 0


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_all_are_quiet_twice(tmp_path: Path) -> None:
    """It ends once all shards are quiet in two rounds, between which nothing was read."""
    first = [answer(1, 0), answer(1), answer(2, 0), answer(3, 0), answer(3, 0)]
    second = [answer(1, 1), answer(1, 1)]
    assert await supervisor(tmp_path, "obey", first, second).run(until_idle=True) == 0
    # The first answer of each told that it lives. Then: shard 0 works; quiet; quiet, but one record
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


@pytest.mark.parametrize("refused", [1, 3])
async def test_one_that_can_not_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """The system may refuse a process for a moment: it is tried again, as often as one that dies."""
    opened, tries = anyio.open_process, []

    async def opening(*args: Any, **options: Any) -> Any:
        tries.append(1)
        if len(tries) <= refused:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await opened(*args, **options)

    monkeypatch.setattr(anyio, "open_process", opening)
    made = supervisor(tmp_path, "obey", [answer(1, 0, 1)])
    if refused < QUICK.quick_deaths:
        assert await made.run(until_idle=True) == 0
    else:
        with pytest.raises(ProcessFailed, match="process 1 ended 3 times"):
            await made.run(until_idle=True)


async def test_while_others_live_nobody_is_given_up_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that is short of processes for a while ends no daemon that is well."""
    opened, tries = anyio.open_process, []

    async def opening(command: list[str], **options: Any) -> Any:
        tries.append(command[-1])
        if command[-1] == "2" and tries.count("2") <= QUICK.quick_deaths + 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await opened(command, **options)

    monkeypatch.setattr(anyio, "open_process", opening)
    made = supervisor(tmp_path, "obey", [answer(1, 0, 1)], [answer(1, 0, 1)])
    codes = []

    async def run() -> None:
        codes.append(await made.run())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: tries.count("2") > QUICK.quick_deaths + 2)
        made.stop()
    assert codes == [0]
    assert len(starts(tmp_path, 1)) == 1


async def test_wrong_settings_are_tried_once(tmp_path: Path) -> None:
    """The code of wrong settings ends all at once."""
    with pytest.raises(ProcessFailed, match="event-center check"):
        await supervisor(tmp_path, "wrong", [answer(1)]).run()
    assert len(starts(tmp_path, 1)) == 1


@pytest.mark.parametrize(("script", "code"), [("obey", 0), ("deaf", 5)])
async def test_nothing_outlives_the_grace_time(tmp_path: Path, script: str, code: int) -> None:
    """Asked to stop, processes end; those that do not are killed, which the exit code says."""
    tempo = QUICK if script == "deaf" else replace(QUICK, grace_s=PATIENCE_S)
    made = supervisor(tmp_path, script, [answer(1)], [answer(1)], tempo=tempo)
    codes = []

    async def run() -> None:
        codes.append(await made.run())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: asked(tmp_path, 2) > 0)
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
