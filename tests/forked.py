"""
Processes that begin with everything imported: the command line, and the daemons of crash tests.

A Python process of this project spends 0.7 s of a core on imports, and the tests need hundreds. These are
real processes all the same (signals end them, locks are their own, nothing is shared that one of them
writes), forked from a process in which nothing but the imports has happened. What a fresh interpreter
does is held by tests that start one: `tests/cli/test_new_user.py`, `test_exits.py`, `tests/soak`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

from event_center import cli
from tests.waiting import PATIENCE_S

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["tests.imported"])
_ONE_BY_ONE = threading.Lock()
"""A process that starts looks at all others that run, and how one has ended can be read only once."""


WAITS = ("pause", "resume", "retry", "skip", "cancel", "set-state", "forget")
LETTERS = ("replay", "discard")
PATIENT: dict[str, Any] = {verb: {"wait": f"{PATIENCE_S:g}s"} for verb in (*WAITS, *LETTERS)}
PATIENT["dead-letters"] = {verb: PATIENT.pop(verb) for verb in LETTERS}
"""How long a command waits for a daemon's answer if its test does not say: as tests do."""


def command_line() -> None:
    """What a process does unless it is told otherwise: a command of `event-center`, a patient one."""
    setattr(cli, "app", partial(cli.app, default_map=PATIENT))  # noqa: B010 - mypy knows no other way
    cli.main()


@dataclass(frozen=True)
class Beginning:
    """What a process is told that begins."""

    work: Callable[[], None]
    arguments: list[str]
    cwd: str
    environment: dict[str, str]
    files: dict[int, Connection]
    """By the number that each has there."""


def _live(told: Beginning) -> None:
    """What the process does: it becomes what a new one would be, and works."""
    os.chdir(told.cwd)
    os.environ.clear()
    os.environ.update(told.environment)
    sys.argv = ["event-center", *told.arguments]
    for number, file in told.files.items():
        os.dup2(file.fileno(), number)
        file.close()
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - for good
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    told.work()


class Forked:
    """One process, and what `subprocess.Popen` has for it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        work: Callable[[], None] = command_line,
        env: Mapping[str, str] = os.environ,
        stdin: IO[bytes] | int | None = None,
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
    ) -> None:
        """
        Start it.

        Args:
            arguments: what stands behind the program's name.
            cwd: the directory that it works in.
            work: what it does, a function of a module.
            env: its environment.
            stdin: a file; else it reads nothing.
            stdout: a file; else where this process writes.
            stderr: a file; else where this process writes.
        """
        self.args = list(arguments)
        given = {0: stdin, 1: stdout, 2: stderr}
        files = {
            number: Connection(os.dup(file if isinstance(file, int) else file.fileno()))
            for number, file in given.items()
            if file is not None
        }
        told = Beginning(work, self.args, str(cwd), dict(env), files)
        with _ONE_BY_ONE:
            process = FORKED.Process(target=_live, args=(told,), daemon=True)
            process.start()
        for file in files.values():
            file.close()
        assert process.pid is not None
        self.pid = process.pid
        self._code: int | None = None
        self._process: BaseProcess | None = process
        """Until it has ended: nothing is held open for one that has."""

    @property
    def returncode(self) -> int | None:
        """How it has ended, if it has: its exit code, or a signal below zero."""
        return self.poll()

    def poll(self) -> int | None:
        """How it has ended, if it has."""
        with _ONE_BY_ONE:
            if self._process is not None:
                self._code = self._process.exitcode
                self._process = None if self._code is not None else self._process
            return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; returns how."""
        process = self._process
        if process is not None and not wait([process.sentinel], timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class Done:
    """How a process has ended, and what it has written."""

    returncode: int
    stdout: str
    stderr: str


class Heard(Forked):
    """A process whose words are kept until its end."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        work: Callable[[], None] = command_line,
        env: Mapping[str, str] = os.environ,
        typed: bytes = b"",
    ) -> None:
        """Start it; `typed` is what it reads."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - until what is in it is asked for
        self._told = tempfile.TemporaryFile()  # noqa: SIM115
        with tempfile.TemporaryFile() as stdin:
            stdin.write(typed)
            stdin.seek(0)
            super().__init__(
                arguments,
                cwd=cwd,
                work=work,
                env=env,
                stdin=stdin,
                stdout=self._said,
                stderr=self._told,
            )

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end; returns what it has written to stdout and to stderr."""
        self.wait(timeout)
        return _text(self._said), _text(self._told)

    def done(self, limit_s: float = PATIENCE_S) -> Done:
        """How it ends; who does not, within this time, is ended."""
        try:
            said, told = self.communicate(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            words = self.communicate(PATIENCE_S)
            raise subprocess.TimeoutExpired(self.args, limit_s, *words) from None
        return Done(self.wait(), said, told)


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")
