"""`graph`: a machine by file or by name, in each format, with the way of a workflow marked."""

from __future__ import annotations

import pytest

from tests.cli.center import Project


def test_a_table_by_name_and_by_file(project: Project) -> None:
    """The machine is found by its name in the settings, and as a file; no log is made."""
    named = project.done("graph", "task").out
    assert "| new[^]" in named
    assert project.done("graph", str(project.root / "machines/task.yaml")).out == named
    assert not (project.root / "event-center.db").exists()


@pytest.mark.parametrize(
    ("form", "begins"),
    [("mermaid", "stateDiagram-v2\n"), ("dot", "digraph machine {"), ("svg", "<svg xmlns=")],
)
def test_pictures(project: Project, form: str, begins: str) -> None:
    """Each format is a document of its own on stdout."""
    assert project.done("graph", "task", "--format", form).out.startswith(begins)


def test_the_way_of_a_workflow(decided: Project) -> None:
    """`--history` marks where a workflow is, and the events that led there."""
    told = decided.done("graph", "task", "--history", "t-2", "--json").json
    assert [one["name"] for one in told["states"] if one["at"]] == ["done"]
    assert [(one["on"], one["taken"]) for one in told["arrows"]] == [("begin", True), ("end", True)]
    other = decided.done("graph", "task", "--history", "t-1", "--json").json
    assert [one["taken"] for one in other["arrows"]] == [True, False]
    assert decided.run("graph", "task", "--history", "nobody").code == 4


def test_a_state_is_marked(project: Project) -> None:
    """`--at` marks a state; a misspelt one is told with the one that was meant."""
    assert "@busy" in project.done("graph", "task", "--at", "busy").out
    answer = project.run("graph", "task", "--at", "bsuy")
    assert answer.code == 2
    assert "did you mean 'busy'?" in answer.err
    assert project.run("graph", "task", "--at", "busy", "--history", "t-1").code == 2


def test_a_machine_that_is_not_there(decided: Project) -> None:
    """A name that nobody has, and a workflow of another machine, are told in a sentence."""
    answer = decided.run("graph", "tsak")
    assert answer.code == 2
    assert "did you mean 'task'?" in answer.err
    text = (
        "machine: lamp\nversion: 1\ninitial: off\nperpetual: true\nstates: {off: {on: {a: {}}}}\n"
    )
    path = decided.write("lamp.yaml", text)
    answer = decided.run("graph", str(path), "--history", "t-1")
    assert answer.code == 2
    assert "machine 'task'" in answer.err
