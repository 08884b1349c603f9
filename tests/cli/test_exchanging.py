"""`export` and `import`: documents on stdout, what has no counterpart on stderr."""

from __future__ import annotations

import json

from tests.cli.center import Project


def test_a_machine_goes_there_and_back(project: Project) -> None:
    """What `export` prints, `import` reads; the machine is the same, and what XState lacks is told."""
    exported = project.done("export", "task")
    assert exported.json["id"] == "task"
    assert "timeout of 'announce'" in exported.err
    path = project.write("task.json", exported.out)
    imported = project.process("import", str(path))
    assert imported.code == 0, imported
    again = project.write("again.yaml", imported.out)
    first = project.done("graph", "task", "--json").json
    second = project.done("graph", str(again), "--json").json
    assert [one["label"] for one in first["arrows"]] == [one["label"] for one in second["arrows"]]


def test_events_with_their_topics(project: Project) -> None:
    """AsyncAPI has the topics that the settings give to the machine."""
    document = project.done("export", "task", "--format", "asyncapi").json
    assert [one["address"] for one in document["channels"].values()] == ["tasks", "results"]


def test_what_is_no_machine(project: Project) -> None:
    """No file, no JSON, no machine: told in a sentence; a machine with problems exits with 1."""
    for name, text, said in (
        ("a.json", "{", "is not JSON"),
        ("b.json", "[]", "has no `states`"),
    ):
        path = project.write(name, text)
        answer = project.process("import", str(path))
        assert (answer.code, said in answer.err) == (2, True)
    assert project.process("import", "nowhere.json").code == 2
    config = {"id": "m", "initial": "a", "states": {"a": {}}}
    answer = project.process("import", str(project.write("c.json", json.dumps(config))))
    assert answer.code == 1
    assert "E209" in answer.err
    assert answer.out.startswith("machine: m")
