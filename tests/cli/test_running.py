"""`run`: until idle, signals, refusals, log lines; and the process around all commands."""

from __future__ import annotations

import signal
import subprocess

import orjson
import pytest

from event_center import cli
from tests.cli.center import Project, eventually

SLOW = ["tasks", "--workflow-id", "t-1", "--event", "begin", "--payload", '{"slow": true}']
UNTIL_ENDED = """while not (HERE / "ended").exists():
            await asyncio.sleep(0.01)"""


def test_until_idle_sums_up(project: Project) -> None:
    """At the end stands what became of all events; with --json as one document on stdout."""
    path = project.write("e.jsonl", '{"workflow_id": "t-1", "event": "begin"}\n' * 3)
    project.done("publish", "tasks", "--file", str(path))
    answer = project.process("run", "--until-idle", "--json")
    assert answer.code == 0, answer
    assert (answer.json["events"]["read"], answer.json["lag"]) == (3, 0)
    lines = [orjson.loads(line) for line in answer.err.splitlines()]
    assert lines[0]["event"] == "center.started"
    assert all({"timestamp", "level"} <= line.keys() for line in lines)
    assert "STATE" in project.process("run", "--until-idle").out


def test_log_lines_are_as_the_settings_say(project: Project) -> None:
    """The level leaves lines out; the format for people is no JSON."""
    project.write(
        "event-center.toml", '[logging]\nlevel = "error"\n[topics.tasks]\nmachine = "task"\n'
    )
    assert project.process("run", "--until-idle").err == ""
    project.write(
        "event-center.toml", '[logging]\nformat = "console"\n[topics.tasks]\nmachine = "task"\n'
    )
    err = project.process("run", "--until-idle").err
    assert "center.started" in err
    assert not err.startswith("{")


def test_a_daemon_decides_while_others_publish(project: Project) -> None:
    """Other processes publish and look while a daemon runs; a second daemon is refused by name."""
    with project.daemon() as daemon:
        project.done("publish", "tasks", "--workflow-id", "t-1", "--event", "begin")
        eventually(project, "list", holds="t-1 .*busy")
        refused = project.process("run")
        assert refused.code == 3
        assert "another daemon runs" in refused.err
        daemon.signal(signal.SIGTERM)
        assert daemon.end() == 0
        assert "center.stopped" in daemon.logged


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(project: Project, number: signal.Signals) -> None:
    """The first signal waits for what runs, the second one does not; what ran is owed."""
    with project.daemon() as daemon:
        project.done("publish", *SLOW)
        eventually(project, "show", "t-1", holds="owed runs")
        daemon.signal(number)
        daemon.wait_for("run.signal")
        daemon.signal(number)
        assert daemon.end() == 5
    assert project.done("show", "t-1", "--json").json["owed"][0]["callback"] == "announce"


def test_a_second_signal_ends_a_callback_that_will_not_end(project: Project) -> None:
    """Who swallows every cancellation does not keep the process."""
    plugin = (project.root / "machines/task.py").read_text()
    stubborn = "await stubborn()"
    project.write(
        "machines/task.py",
        plugin.replace("await asyncio.Event().wait()", stubborn)
        + "\n\nasync def stubborn():\n    while True:\n        try:\n"
        "            await asyncio.Event().wait()\n        except BaseException:\n            pass\n",
    )
    with project.daemon() as daemon:
        project.done("publish", *SLOW)
        eventually(project, "show", "t-1", holds="owed runs")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("run.signal")
        daemon.signal(signal.SIGTERM)
        assert daemon.end() == 5
        assert "run.ended_hard" in daemon.logged
    assert project.done("show", "t-1", "--json").json["owed"][0]["callback"] == "announce"


def test_sigterm_lets_what_runs_end_and_begins_nothing_more(project: Project) -> None:
    """The callback ends, its result is kept, and the events behind it are the next daemon's."""
    plugin = (project.root / "machines/task.py").read_text()
    project.write("machines/task.py", plugin.replace("await asyncio.Event().wait()", UNTIL_ENDED))
    project.write("machines/mended", "")
    with project.daemon() as daemon:
        project.done("publish", *SLOW)
        eventually(project, "show", "t-1", holds="owed runs")
        lines = [f'{{"workflow_id": "t-1", "event": "{event}"}}' for event in ("work", "end")]
        path = project.write("e.jsonl", "\n".join(lines))
        project.done("publish", "tasks", "--file", str(path))
        eventually(project, "stats", "--json", holds='"waiting": ?2')
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("run.signal")
        project.write("machines/ended", "")
        assert daemon.end() == 0
        assert "center.stopped" in daemon.logged
    shown = project.done("show", "t-1", "--json").json
    assert (shown["state"], shown["owed"], shown["waiting"]["count"]) == ("busy", [], 2)
    project.done("run", "--until-idle")
    history = project.done("history", "t-1", "--json").json
    runs = [(line["callback"], line["outcome"]) for line in history if line["kind"] == "run"]
    assert runs == [("announce", "done")]
    assert project.done("show", "t-1", "--json").json["state"] == "done"


def test_a_machine_with_problems_does_not_run(project: Project) -> None:
    """What is wrong with a definition is told in sentences, without a traceback."""
    project.write("machines/task.yaml", "machine: task\n")
    answer = project.process("run")
    assert answer.code == 2
    assert "task.yaml:1" in answer.err
    assert "Traceback" not in answer.err


def test_an_error_while_it_runs_is_a_sentence(decided: Project) -> None:
    """An error that comes out of the running center is told like any other."""
    machine = (decided.root / "machines/task.yaml").read_text()
    decided.write("machines/task.yaml", machine.replace("60s", "61s"))
    answer = decided.process("run", "--until-idle")
    assert answer.code == 2
    assert "version" in answer.err
    assert "Traceback" not in answer.err


def test_what_nobody_expected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug ends the process with a traceback and code 70."""

    def fail() -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 70
    assert "of all things" in capsys.readouterr().err


LOOK = ("list", "show", "history", "stats")
COMMANDS = ("run", "check", "publish", "send", *LOOK, "pause", "resume", "retry", "cancel")


def test_help_is_enough(project: Project) -> None:
    """Every command explains itself; the exit codes stand at the end of the first page."""
    page = project.process("--help").out
    assert "Exit codes" in page
    for command in COMMANDS:
        assert f" {command} " in page
        assert "--config" in project.done(command, "--help").out
    letters = project.process("dead-letters", "--help").out
    assert all(f" {command} " in letters for command in ("list", "show", "replay", "discard"))
    assert project.process("--version").out.startswith("event-center 0.")
    assert project.process().code == 2


def test_an_argument_that_is_not_utf_8(project: Project) -> None:
    """Bytes that are no text are refused in a sentence, for whichever part they stand."""
    for arguments in (("show", "\udcff"), ("publish", "tasks", "--event", "\udcff")):
        answer = project.process(*arguments)
        assert answer.code == 2
        assert answer.err == "an argument is not UTF-8: no log and no settings can hold it\n"


def test_a_reader_that_leaves(decided: Project) -> None:
    """A pipe that is closed early ends a command without a traceback."""
    command = " ".join(decided.command("list", "--json"))
    done = subprocess.run(
        f"{command} | true", shell=True, cwd=decided.root, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
