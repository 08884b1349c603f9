"""SIGTERM while as much runs as there may be: the daemon ends in time, and nobody does anything again."""

from __future__ import annotations

import signal
import time

from tests.cli.center import Project
from tests.waiting import wait_until

MACHINE = """
machine: task
version: 1
initial: idle
perpetual: true
states:
  idle: {on: {begin: busy}}
  busy: {entry: work, on_done: idle}
"""
PLUGIN = """
import asyncio
import os
from pathlib import Path

from event_center import Context, callbacks

task = callbacks("task")
CALLS = os.open(Path(__file__).parent / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@task.action("work")
async def work(ctx: Context) -> None:
    os.write(CALLS, f"{ctx.idempotency_key}\\n".encode())
    await asyncio.sleep(0.2)
"""
WORKFLOWS = 1_500
EACH = 2
EVENTS = WORKFLOWS * EACH
LATE = 1_000
"""So many calls have begun when the signal comes: more than a thousand at once are under way or wait."""
GRACE_S = 10.0
"""As the project's settings say."""


def calls(project: Project) -> list[str]:
    """The idempotency keys of all calls so far."""
    path = project.root / "machines/calls"
    return path.read_text().splitlines() if path.exists() else []


def ended(project: Project, number: signal.Signals) -> tuple[int, float]:
    """The exit code of a daemon that gets this signal in full work, and how long its end took."""
    project.write("machines/task.yaml", MACHINE)
    project.write("machines/task.py", PLUGIN)
    lines = [f'{{"workflow_id": "t-{n % WORKFLOWS}", "event": "begin"}}' for n in range(EVENTS)]
    project.done("publish", "tasks", "--file", str(project.write("e.jsonl", "\n".join(lines))))
    with project.daemon() as daemon:
        wait_until(lambda: len(calls(project)) >= LATE)
        begun_s = time.monotonic()
        daemon.signal(number)
        code = daemon.end()
        took_s = time.monotonic() - begun_s
    assert len(calls(project)) < EVENTS
    project.done("run", "--until-idle")
    assert len(set(calls(project))) == EVENTS
    return code, took_s


def test_sigterm_under_full_load_leaves_nothing_to_do_again(project: Project) -> None:
    """Within the grace time; every callback that began has ended, on record, and none is called twice."""
    code, took_s = ended(project, signal.SIGTERM)
    print(f"it ended in {took_s:.2f} s")
    assert (code, took_s < GRACE_S) == (0, True)
    assert len(calls(project)) == EVENTS


def test_a_kill_leaves_something(project: Project) -> None:
    """The twin: callbacks that ran are called again by the next daemon."""
    ended(project, signal.SIGKILL)
    assert len(calls(project)) > EVENTS
