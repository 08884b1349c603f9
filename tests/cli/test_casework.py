"""`cases`: tests that can be put below a machine, and which branches are taken."""

from __future__ import annotations

from tests.cli.center import MACHINE, Project


def test_derived_tests_pass(project: Project) -> None:
    """What `cases` prints, put below the machine, is found right by `check`."""
    text = project.done("cases", "task").out
    assert text.startswith("tests:\n")
    project.write("machines/task.yaml", MACHINE + text)
    assert project.done("check").out == "ok: 1 machine, 2 callbacks, 2 topics, 5 tests\n"
    assert project.done("cases", "task", "--coverage").out.endswith("3 of 3 branches are taken\n")


def test_a_failing_test_is_a_problem(project: Project) -> None:
    """The twin: a test that comes out otherwise is told by `check`, with its place, and exit code 1."""
    text = "tests:\n- {steps: [{event: begin, state: done}]}\n"
    project.write("machines/task.yaml", MACHINE + text)
    answer = project.run("check", "--json")
    assert answer.code == 1
    [problem] = answer.json["problems"]
    assert problem["code"] == "E401"
    assert problem["line"] == MACHINE.count("\n") + 2


def test_coverage_by_events(project: Project) -> None:
    """Events in the form of the machine's topic are counted; a line that is none is named."""
    lines = ['{"workflow_id": "a", "event": "begin"}', '{"workflow_id": "a", "event": "begin"}']
    path = project.write("events.jsonl", "\n".join(lines))
    answer = project.done("cases", "task", "--events", str(path), "--json").json
    assert (answer["covered"], answer["of"], answer["events"], answer["refused"]) == (1, 3, 2, 1)
    project.write("events.jsonl", lines[0] + "\n{}")
    wrong = project.run("cases", "task", "--events", str(path))
    assert wrong.code == 2
    assert "events.jsonl:2: " in wrong.err
