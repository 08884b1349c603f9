"""`health`, and what `stats` says of the daemon: for people, and for probes, by the exit code."""

from __future__ import annotations

import os
import signal

from tests.cli.center import Project, eventually
from tests.waiting import wait_until


def test_without_a_log_or_a_daemon(project: Project) -> None:
    """No log: 3. A log on which nobody runs: 1, with what to do."""
    assert project.run("health").code == 3
    project.done("publish", "tasks", "--workflow-id", "t-1", "--event", "begin")
    answer = project.run("health")
    assert answer.code == 1
    assert "no daemon runs on this log: start one" in answer.out
    assert project.run("health", "--json").json["daemon"] is None


def test_a_daemon_that_is_well_and_one_that_stands_still(project: Project) -> None:
    """0 while it lives; 1 when it has not been heard of, or more is unread than is allowed; 0 again."""
    with project.daemon() as daemon:
        wait_until(lambda: project.run("health").code == 0)
        answer = project.done("health", "--json").json
        assert (answer["healthy"], answer["members"], answer["lag"]) == (True, 1, 0)
        pid = answer["daemon"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: project.run("health", "--max-silence", "1500ms").code == 1)
            told = project.run("health", "--max-silence", "1500ms").out
            assert f"process {pid}, has not been heard of" in told
            project.done("publish", "tasks", "--workflow-id", "t-1", "--event", "begin")
            assert "1 records are not taken in yet" in project.run("health", "--max-lag", "0").out
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: project.run("health", "--max-lag", "0").code == 0)
        daemon.signal(signal.SIGTERM)
        assert daemon.end() == 0
    assert f"the last was process {pid}" in project.run("health").out


def test_a_callback_that_blocks_is_named(project: Project) -> None:
    """
    While it does, by `health`; and afterwards by `stats`, with plugin, file and line.

    It blocks until `health` has named it, however long that takes on a busy machine.
    """
    named = project.root / "named"
    blocking = f"""import pathlib, time
        while not pathlib.Path({str(named)!r}).exists():
            time.sleep(0.01)"""
    plugin = (project.root / "machines/task.py").read_text()
    project.write("machines/task.py", plugin.replace("await asyncio.Event().wait()", blocking))
    with project.daemon():
        wait_until(lambda: project.run("health").code == 0)
        slow = ("--event", "begin", "--payload", '{"slow": true}')
        project.done("publish", "tasks", "--workflow-id", "t-1", *slow)
        try:
            eventually(
                project,
                "health",
                "--max-silence",
                "1100ms",
                holds="blocked by .*task.py:.*announce",
            )
        finally:
            named.touch()
        eventually(
            project, "stats", holds=r"event loop blocked for \d+\.\d* s by \S*task\S*, .*announce"
        )
        [block] = project.done("stats", "--json").json["blocked"][-1:]
        assert block["where"].endswith("announce")
    assert project.done("stats", "--json").json["limits"] is None


def test_stats_names_the_limit_that_is_reached(project: Project) -> None:
    """A limit at which events wait is in `stats` and in the daemon's log, while it is reached."""
    settings = (project.root / "event-center.toml").read_text()
    project.write(
        "event-center.toml", settings.replace('grace = "10s"', 'grace = "1s"\ncallbacks = 1')
    )
    slow = '{"workflow_id": "t-%d", "event": "begin", "payload": {"slow": true}}\n'
    path = project.write("e.jsonl", slow % 1 + slow % 2)
    with project.daemon() as daemon:
        project.done("publish", "tasks", "--file", str(path))
        eventually(project, "stats", holds="at its limit callbacks: 1 callbacks wait")
        assert project.done("stats", "--json").json["limits"][0]["limit"] == "callbacks"
        assert "at its limit callbacks" in project.done("health").out
        daemon.wait_for("limit.reached")
