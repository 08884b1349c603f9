"""SIGTERM while as much runs as there may be: the daemon ends in time, and nobody does anything again."""

from __future__ import annotations

import signal
import time

from tests.cli.center import SETTINGS, Project
from tests.waiting import PATIENCE_S, wait_until

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
from itertools import count
from pathlib import Path

from event_center import Context, callbacks

task = callbacks("task")
HERE = Path(__file__).parent
CALLS = os.open(HERE / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
NUMBERS = count()


@task.action("work")
async def work(ctx: Context) -> None:
    os.write(CALLS, f"{ctx.idempotency_key}\\n".encode())
    late = next(NUMBERS) >= SHORT
    await asyncio.sleep(0.2)
    while late and not (HERE / "signalled").exists():
        await asyncio.sleep(0.2)
"""
WORKFLOWS = 1_500
EACH = 2
EVENTS = WORKFLOWS * EACH
SHORT = 600
"""So many calls end by themselves; the others last until the signal has come."""
LATE = 1_400
"""So many calls have begun when it comes: hundreds are under way, and more wait."""
GRACE_S = PATIENCE_S
"""In which the daemon has to end: on a busy machine a thousand results take their time."""


def calls(project: Project) -> list[str]:
    """The idempotency keys of all calls so far."""
    path = project.root / "machines/calls"
    return path.read_text().splitlines() if path.exists() else []


def ended(project: Project, number: signal.Signals) -> int:
    """The exit code of a daemon that gets this signal in full work."""
    project.write("event-center.toml", SETTINGS.replace('"10s"', f'"{GRACE_S:g}s"'))
    project.write("machines/task.yaml", MACHINE)
    project.write("machines/task.py", PLUGIN.replace("SHORT", str(SHORT)))
    lines = [f'{{"workflow_id": "t-{n % WORKFLOWS}", "event": "begin"}}' for n in range(EVENTS)]
    project.done("publish", "tasks", "--file", str(project.write("e.jsonl", "\n".join(lines))))
    with project.daemon() as daemon:
        wait_until(lambda: len(calls(project)) >= LATE)
        begun_s = time.monotonic()
        daemon.signal(number)
        if number is signal.SIGTERM:
            daemon.wait_for("run.signal")
        project.write("machines/signalled", "")
        code = daemon.end()
        print(f"it ended in {time.monotonic() - begun_s:.2f} s")
    assert len(calls(project)) < EVENTS
    project.done("run", "--until-idle")
    assert len(set(calls(project))) == EVENTS
    return code


def test_sigterm_under_full_load_leaves_nothing_to_do_again(project: Project) -> None:
    """Within the grace time; every callback that began has ended, on record, and none is called twice."""
    assert ended(project, signal.SIGTERM) == 0
    assert len(calls(project)) == EVENTS


def test_a_kill_leaves_something(project: Project) -> None:
    """The twin: callbacks that ran are called again by the next daemon."""
    ended(project, signal.SIGKILL)
    assert len(calls(project)) > EVENTS
