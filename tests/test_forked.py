"""The processes of the tests: each is what a new one would be, and ends as it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.forked import Forked, Heard
from tests.waiting import wait_until


def tell() -> None:
    """What a process knows: its arguments, place, variables, and what is typed."""
    print(sys.argv[1:], Path.cwd(), sorted(os.environ), sys.stdin.read())
    os.environ["LEFT"] = "behind"
    sys.exit(7)


def stay() -> None:
    """Never end."""
    print("still here")
    threading.Event().wait()


def test_it_is_a_process_of_its_own(tmp_path: Path) -> None:
    """It has the arguments, place, variables and input that it is given, and nothing of the one before."""
    for _ in range(2):
        made = Heard(["a", "b c"], cwd=tmp_path, work=tell, env={"MINE": "1"}, typed=b"typed")
        done = made.done()
        assert made.pid != os.getpid()
        assert done.returncode == 7
        assert done.stdout == f"['a', 'b c'] {tmp_path} ['MINE'] typed\n"


def test_a_command(tmp_path: Path) -> None:
    """Without other work it is the command line, with its exit codes, stdout and stderr."""
    assert Heard(["--version"], cwd=tmp_path).done().stdout.startswith("event-center ")
    wrong = Heard(["no-such-command"], cwd=tmp_path).done()
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no-such-command" in wrong.stderr


def test_signals_end_it(tmp_path: Path) -> None:
    """SIGKILL and SIGTERM end it, and its code says so; later ones meet nobody."""
    for number in (signal.SIGKILL, signal.SIGTERM):
        made = Forked([], cwd=tmp_path, work=stay)
        assert made.poll() is None
        made.send_signal(number)
        assert made.wait() == -number == made.returncode
        made.kill()


def test_who_does_not_end_is_ended(tmp_path: Path) -> None:
    """A process that is waited for too long is killed, and the test hears what it said."""
    made = Heard([], cwd=tmp_path, work=stay)
    wait_until(lambda: os.fstat(made._said.fileno()).st_size > 0)
    with pytest.raises(subprocess.TimeoutExpired) as late:
        made.done(0.1)
    assert late.value.output == "still here\n"
    assert made.wait() == -signal.SIGKILL
