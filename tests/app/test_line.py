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
from event_center.app.supervisor import Supervisor
from event_center.errors import ProcessFailed
from tests.app.supervising import answer, starts, supervisor
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
pathlib.Path("stdin").write_bytes(os.read(0, 1) + b".")
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
        await until(lambda: (tmp_path / "helpers").exists())
        made.stop()
        return await ended(child)

    monkeypatch.setattr(Child, "ended", stopped_when_it_ended)
    with anyio.fail_after(PATIENCE_S):
        await made.run()
    assert len(starts(tmp_path, 1)) == 1


@pytest.mark.parametrize("abort", [True, False])
async def test_the_line_ends_with_the_process(tmp_path: Path, *, abort: bool) -> None:
    """Who asks is told so; a line that only the process ends would be waited for while a helper lives."""
    child = await Child.start([sys.executable, "-S", str(CHILD), "leave", str(tmp_path), "--child", "1"])
