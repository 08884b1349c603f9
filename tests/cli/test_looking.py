"""`list`, `show`, `history`, `stats`: tables for people, JSON for programs, one error in one sentence."""

from __future__ import annotations

import re

import orjson
import pytest

from tests.cli.center import Project, answered
from tests.docs.project import ROOT

CAPTURED = (80, 120)


def test_list(decided: Project) -> None:
    """Workflows are listed with state and status, narrowed by options."""
    out = decided.done("list").out
    assert [line.split()[0] for line in out.splitlines()] == ["WORKFLOW", "t-1", "t-2"]
    assert "busy" in out
    assert decided.done("list", "--state", "done", "--json").json[0]["workflow_id"] == "t-2"
    assert (
        decided.done("list", "--status", "final", "--machine", "task", "--json").json[0]["seq"] == 2
    )
    assert decided.done("list", "--older-than", "1h").out == "no workflows\n"
    empty = decided.done("list", "--machine", "task", "--status", "paused", "--json").json
    assert empty == []
    nowhere = decided.run("list", "--state", "nowhere")
    assert nowhere.code == 4
    assert "the states are 'busy', 'done', 'new'" in nowhere.err
    limited = decided.done("list", "--limit", "1")
    assert len(limited.out.splitlines()) == 2
    assert "1 of 2 workflows" in limited.err


def test_show(decided: Project) -> None:
    """One workflow is shown with what was refused; the applied position stands below."""
    answer = decided.done("show", "t-2")
    for text in ("done", "final", "success", "refused (1)", "work", "finished"):
        assert text in answer.out
    assert "as of cut" in answer.err
    assert "tasks" in answer.err
    shown = decided.done("show", "t-2", "--json").json
    assert (shown["state"], shown["result"], shown["seq"]) == ("done", "success", 2)
    assert shown["refusals"][0]["event"] == "work"


def test_show_says_what_to_do_about_a_parked_workflow(project: Project) -> None:
    """The next commands are there to be copied, with the id as a shell wants it."""
    machine = (project.root / "machines/task.yaml").read_text(encoding="utf-8")
    project.write("machines/task.yaml", machine.replace("dead_letter", "park"))
    for event in ("begin", "work"):
        project.done("publish", "tasks", "--workflow-id", "t 1", "--event", event)
    project.done("run", "--until-idle")
    out = project.done("show", "t 1").out
    for command in ("retry", "skip", "cancel", "why", "history"):
        assert f"event-center {command} 't 1'" in out


def test_history(decided: Project) -> None:
    """The history has every event in order, the refused one with its reason, and the runs."""
    out = decided.done("history", "t-2").out
    assert "begin" in out
    assert "finished" in out
    lines = decided.done("history", "t-2", "--json").json
    assert [(line["kind"], line["event"]) for line in lines if line["kind"] != "run"] == [
        ("created", "begin"),
        ("applied", "begin"),
        ("applied", "end"),
        ("rejected", "work"),
    ]
    assert [line["callback"] for line in lines if line["kind"] == "run"] == ["announce"]
    for line in lines:
        assert line.keys() >= {"seq", "at", "event", "from", "to", "outcome", "reason", "kind"}


def test_stats(decided: Project) -> None:
    """Counters add up, and the tables hold what the JSON says."""
    stats = decided.done("stats", "--json").json
    events = stats["events"]
    assert (events["read"], events["applied"], events["rejected"]) == (4, 3, 1)
    assert (stats["lag"], stats["workflows"]["total"]) == (0, 2)
    assert stats["workflows"]["by_state"] == {"task": {"busy": 1, "done": 1}}
    out = decided.done("stats").out
    for text in ("read", "applied", "busy", "final", "lag"):
        assert text in out


@pytest.mark.parametrize("command", [["show", "t-9"], ["history", "t-9"], ["pause", "t-9"]])
def test_nobody(decided: Project, command: list[str]) -> None:
    """What is not found is told in a sentence, or in JSON, with exit code 4."""
    answer = decided.run(*command)
    assert answer.code == 4
    assert "there is no workflow 't-9'" in answer.err
    answer = decided.run(*command, "--json")
    assert (answer.code, answer.out) == (4, "")
    assert "t-9" in orjson.loads(answer.err)["error"]


@pytest.mark.parametrize(
    "command", [["list"], ["show", "t"], ["stats"], ["send", "t", "e"], ["cancel", "t"]]
)
def test_no_log(project: Project, command: list[str]) -> None:
    """A command that only looks makes no log; it says where it looked, with exit code 3."""
    answer = project.run(*command)
    assert answer.code == 3
    assert "there is no log at" in answer.err
    assert not (project.root / "event-center.db").exists()


def test_the_wrong_folder(project: Project) -> None:
    """Where there is neither a log nor a settings file, somebody most likely stands elsewhere."""
    (project.root / "event-center.toml").unlink()
    answer = project.process("stats")
    assert answer.code == 3
    assert "nor is there a settings file" in answer.err


def test_another_log(decided: Project) -> None:
    """--log names the file of the log; a relative path is meant from where one stands."""
    (decided.root / "event-center.db").rename(decided.root / "other.db")
    assert decided.run("stats").code == 3
    other = str(decided.root / "other.db")
    assert decided.done("stats", "--log", other, "--json").json["events"]["read"] == 4
    answer = decided.process("stats", "--log", "./other.db", "--json")
    assert answer.json["events"]["read"] == 4


def test_wrong_settings(project: Project) -> None:
    """Settings that are wrong are told with their place, with exit code 2 and no traceback."""
    project.write("event-center.toml", "[log]\nkid = 1\n")
    answer = project.run("stats")
    assert answer.code == 2
    assert "event-center.toml:2" in answer.err
    assert "did you mean" in answer.err


def test_what_others_wrote_can_not_move_the_cursor(project: Project) -> None:
    """Control characters in payloads and names are shown, not obeyed."""
    payload = orjson.dumps({"workflow_id": "t-1", "event": "\x1b[31mbegin"}).decode()
    path = project.write("e.jsonl", '{"workflow_id": "t-1", "event": "begin"}\n' + payload)
    project.done("publish", "tasks", "--file", str(path))
    project.done("run", "--until-idle")
    out = project.done("history", "t-1").out
    assert "\x1b" not in out
    assert "\\x1b[31mbegin" in out


def test_what_is_printed_fits_the_screen(decided: Project) -> None:
    """No line is longer than the screen, no time is folded, and docs/captures has what is printed."""
    begun, whole = r"\d{4}-\d\d-\d\dT", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z"
    commands = (["list"], ["show", "t-2"], ["history", "t-2"], ["stats"])
    settings = decided.root / "event-center.toml"
    for columns in (60, 80, 120):
        printed = ""
        for command in commands:
            out = answered(settings, *command, columns=columns).out
            assert max(map(len, out.splitlines())) <= columns
            assert len(re.findall(begun, out)) == len(re.findall(whole, out))
            if command != ["stats"]:  # cuts are made by the clock, so their number may differ
                printed += f"$ event-center {' '.join(command)}\n{_even(out)}\n"
        if columns in CAPTURED:
            capture = ROOT / f"docs/captures/looking-{columns}.txt"
            assert capture.read_text(encoding="utf-8") == printed


def _even(out: str) -> str:
    """The same text at any time."""
    out = re.sub(r"(?<=\dT)[\d:]+", "05:00:00", re.sub(r"\d{4}-\d\d-\d\dT", "2026-11-23T", out))
    out = re.sub(r"(?<=:\d\d)\.\d{3}Z", ".000Z", out)
    return "".join(f"{line.rstrip()}\n" for line in out.splitlines())
