"""A small project in a directory, and its command line: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson
from typer.testing import CliRunner

from event_center.cli import app
from tests.cli.interrupted import interrupted
from tests.forked import PATIENT, Forked, Heard
from tests.waiting import PATIENCE_S, wait_until

SETTINGS = """
[log]
partitions = 2
[engine]
grace = "10s"
[topics.tasks]
machine = "task"
[topics.results]
machine = "task"
event = "end"
workflow_id = "=body.task"
"""

MACHINE = """
machine: task
version: 1
initial: new
on_failure: dead_letter
retries:
  never: {max_attempts: 1}
states:
  new: {on: {begin: busy}}
  busy:
    entry: {do: announce, timeout: 60s}
    on:
      work: {actions: {do: work, retry: never}}
      end: done
  done: {type: final, result: success}
"""

PLUGIN = '''
"""The callbacks of a task."""
import asyncio
from pathlib import Path

from event_center import Context, callbacks

task = callbacks("task")
HERE = Path(__file__).parent


@task.action("announce")
async def announce(ctx: Context) -> None:
    if ctx.payload and ctx.payload.get("slow"):
        await asyncio.Event().wait()


@task.action("work")
async def work(ctx: Context) -> None:
    if not (HERE / "mended").exists():
        raise RuntimeError("the disk is \\x1b[31mfull")
'''


class Answer:
    """What a command has printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """What it printed on stdout, all of it, as JSON."""
        return orjson.loads(self.out)

    @property
    def told(self) -> str:
        """What it printed on stderr, on one line and without the box around wrong usage."""
        return " ".join(re.sub("[│╭╮╰╯─]", "", self.err).split())

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


def answered(settings: Path, *arguments: str, columns: int = 200, typed: str = "") -> Answer:
    """Run a command in this process; what is no error of ours comes out."""
    config = ["--config", str(settings)]
    environment = {"COLUMNS": str(columns), "XDG_STATE_HOME": str(settings.parent / "state")}
    result = CliRunner().invoke(
        app, [*arguments, *config], env=environment, input=typed, default_map=PATIENT
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


class Project:
    """A project with one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("event-center.toml", SETTINGS)
        self.write("machines/task.yaml", MACHINE)
        self.write("machines/task.py", PLUGIN)

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def run(self, *arguments: str, typed: str = "") -> Answer:
        """Run a command in this process."""
        return answered(self.root / "event-center.toml", *arguments, typed=typed)

    def done(self, *arguments: str) -> Answer:
        """Run a command that must succeed."""
        answer = self.run(*arguments)
        assert answer.code == 0, answer
        return answer

    def command(self, *arguments: str) -> list[str]:
        """The command line of a process of its own."""
        return [sys.executable, "-m", "event_center", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process of its own."""
        state = str(self.root / "state")
        return os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "XDG_STATE_HOME": state}

    def process(self, *arguments: str, stdin: bytes = b"") -> Answer:
        """Run a command in a process of its own, in the project's directory."""
        done = Heard(arguments, cwd=self.root, env=self.environment, typed=stdin).done()
        return Answer(done.returncode, done.stdout, done.stderr)

    def interrupted(self, at: int, number: signal.Signals, *command: str) -> Answer:
        """Run a command that gets a signal at a step of its progress."""
        arguments = [*command, str(at), number.name]
        process = Heard(arguments, cwd=self.root, work=interrupted, env=self.environment)
        done = process.done()
        return Answer(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def daemon(self) -> Iterator[Daemon]:
        """A daemon in a process of its own, serving."""
        heard, told = os.pipe()
        process = Forked(["run"], cwd=self.root, stderr=told)
        os.close(told)
        try:
            with os.fdopen(heard, "rb") as words:
                daemon = Daemon(process, words)
                daemon.wait_for("shard.serving")
                daemon.wait_for("shard.serving")
                yield daemon
                process.terminate()
                daemon.end()
        finally:
            process.kill()
            process.wait()


class Daemon:
    """A daemon that runs, and what it has logged so far."""

    def __init__(self, process: Forked, words: IO[bytes]) -> None:
        self.logged = ""
        self.pid = process.pid
        self._process = process
        self._words = words

    def wait_for(self, event: str) -> None:
        """Wait until it logs an event."""
        while line := self._words.readline().decode():
            self.logged += line
            if f'"event":"{event}"' in line:
                return
        raise AssertionError(f"the daemon ended before {event}:\n{self.logged}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> int:
        """Wait for its end; returns its exit code."""
        self.logged += self._words.read().decode()
        return self._process.wait(PATIENCE_S)


def eventually(project: Project, *arguments: str, holds: str) -> Answer:
    """Ask until the answer has a text in it: the daemon is another process."""
    answers: list[Answer] = []

    def says_it() -> bool:
        answers[:] = [project.run(*arguments)]
        return re.search(holds, answers[0].out) is not None

    wait_until(says_it)
    return answers[0]
