"""The line between a supervisor and a process: who has it, and when it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from event_center.app.child import Child
from event_center.app.report import Report
from event_center.errors import ProcessFailed
from tests.app.supervising import CHILD, answer, starts, supervisor
from tests.cli.center import Project
from tests.waiting import PATIENCE_S, until

READS = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(os.read(0, 1) + b'.')"
"""What a plugin may start: it reads its stdin, and writes down what it read."""
ANSWERS = """
import os, socket, subprocess, sys
from event_center.app.report import take_line
line = take_line() if sys.argv[1] == "taken" else socket.socket(fileno=os.dup(0))
subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[3]], check=True)
while line.recv(1):
    line.sendall(b'{"read":1,"lag":0,"quiet":[]}\\n')
"""
PLUGIN = """
import os, pathlib
(pathlib.Path(__file__).parents[1] / "stdin").write_bytes(os.read(0, 1) + b".")
"""


@pytest.fixture(autouse=True)
def _no_helper_stays(tmp_path: Path) -> Iterator[None]:
    yield
    helpers = tmp_path / "helpers"
    for pid in helpers.read_text().split() if helpers.exists() else []:
        os.kill(int(pid), signal.SIGKILL)


async def test_a_helper_that_stays_holds_up_nobody(tmp_path: Path) -> None:
    """Process 1 dies before it answers, and what it started has the line still: it is tried again."""
    made = supervisor(tmp_path, "leave", [answer(1)], [answer(1)])
    with (
        anyio.fail_after(PATIENCE_S),
        pytest.raises(ProcessFailed, match="process 1 ended 3 times"),
    ):
        await made.run()


async def test_a_helper_holds_up_no_round(tmp_path: Path) -> None:
    """So it is in the midst of the questions: the next round has its answers from the next start."""
    made = supervisor(tmp_path, "leave-asked", [answer(1, 0, 1)])
    with anyio.fail_after(PATIENCE_S):
        assert await made.run(until_idle=True) == 0
    assert len(starts(tmp_path, 1)) == 2


async def test_a_helper_does_not_hold_up_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it if the process dies of the stop, and had not answered yet."""
    made = supervisor(tmp_path, "leave", [answer(1)], [answer(1)])
    ended = Child.ended

    async def stopped_when_it_ended(child: Child) -> int:
        await until((tmp_path / "helpers").exists)
        made.stop()
        return await ended(child)

    monkeypatch.setattr(Child, "ended", stopped_when_it_ended)
    with anyio.fail_after(PATIENCE_S):
        await made.run()
    assert len(starts(tmp_path, 1)) == 1


@pytest.mark.parametrize("aborted", [True, False])
async def test_the_line_ends_with_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, aborted: bool
) -> None:
    """Who asks is told so; the twin: as long as a helper has the other end, its answer is waited for."""
    command = [sys.executable, "-S", str(CHILD), "leave", str(tmp_path), "--child", "1"]
    child = await Child.start(command)
    abort = child._writer.transport.abort
    if not aborted:
        monkeypatch.setattr(child._writer.transport, "abort", lambda: None)
    told: list[Report | None] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heard_by, child, told)
        assert await child.ended() == 3
        if not aborted:
            await anyio.wait_all_tasks_blocked()
            assert told == []
            abort()
    assert told == [None]


async def heard_by(child: Child, told: list[Report | None]) -> None:
    """Ask a child once."""
    told.append(await child.ask())


@pytest.mark.parametrize("whose", ["taken", "shared"])
async def test_what_a_plugin_starts_does_not_hear_the_questions(tmp_path: Path, whose: str) -> None:
    """Its stdin is empty; the twin, in which it shares the line: it eats a question."""
    heard = tmp_path / "heard"
    child = await Child.start([sys.executable, "-c", ANSWERS, whose, READS, str(heard)])
    told: list[Report | None] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(heard_by, child, told)
        await until(lambda: heard.exists() and heard.read_bytes().endswith(b"."))
        if whose == "taken":
            await until(lambda: told != [])
        child.signal(signal.SIGKILL)
        await child.ended()
    found = heard.read_bytes(), told
    assert (
        found
        == {
            "taken": (b".", [Report(read=1, lag=0, quiet=())]),
            "shared": (b"\n.", [None]),
        }[whose]
    )


async def test_a_plugin_finds_an_empty_stdin(tmp_path: Path) -> None:
    """The line is taken before plugins are loaded, and answers there."""
    project = Project(tmp_path)
    project.write("machines/task.py", (tmp_path / "machines/task.py").read_text() + PLUGIN)
    settings = str(tmp_path / "event-center.toml")
    child = await Child.start([*project.command("run", "--config", settings), "--child", "1"])
    told = await child.ask()
    child.signal(signal.SIGTERM)
    assert await child.ended() == 0
    assert told is not None
    assert (tmp_path / "stdin").read_bytes() == b"."


async def test_one_that_ends_at_once_in_good_order_ends_all(tmp_path: Path) -> None:
    """Nobody had asked it to end, and it would be started for ever."""
    made = supervisor(tmp_path, "finish", [answer(1)], [answer(1)])
    with pytest.raises(
        ProcessFailed, match=r"ended 3 times .* code 0, though this command"
    ) as failed:
        await made.run()
    assert failed.value.code == 1
    assert len(starts(tmp_path, 1)) == 3
    assert starts(tmp_path, 2) == []
