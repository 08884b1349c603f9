"""`check`: every problem of settings, machines, plugins and rules, with its place, in one go."""

from __future__ import annotations

import pytest

from tests.cli.center import MACHINE, PLUGIN, SETTINGS, Project


def test_all_is_well(project: Project) -> None:
    """A project without problems says so, and no log is made."""
    assert project.done("check").out == "ok: 1 machine, 2 callbacks, 2 topics\n"
    assert project.done("check", "--json").json == {
        "ok": True,
        "machines": ["task"],
        "problems": [],
        "warnings": [],
    }
    assert not (project.root / "event-center.db").exists()


def test_all_problems_of_machines(project: Project) -> None:
    """Problems of several machines come in one pass, each with file, line and column."""
    project.write("machines/task.yaml", MACHINE.replace("done\n", "dnoe\n", 1))
    project.write("machines/other.yaml", "machine: other\nversion: 1\ninitial: a\nstaets: {}\n")
    answer = project.run("check", "--json")
    assert answer.code == 1
    problems = answer.json["problems"]
    sources = {problem["source"].rpartition("/")[2] for problem in problems}
    assert sources == {"task.yaml", "other.yaml"}
    assert all(problem["line"] and problem["column"] for problem in problems)
    out = project.run("check").out
    assert f"{len(problems)} problems found" in out
    assert "did you mean 'done'?" in out


def test_problems_of_plugins(project: Project) -> None:
    """A callback that nobody implements, and one that nobody uses, are told with their places."""
    project.write("machines/task.py", PLUGIN.replace('action("work")', 'action("wrok")'))
    answer = project.run("check", "--json")
    assert answer.code == 1
    (problem,) = answer.json["problems"]
    assert problem["code"] == "plugin"
    assert problem["source"].endswith("task.yaml")
    assert "nobody implements the callback 'work'" in problem["message"]


def test_warnings_are_no_problems(project: Project) -> None:
    """What is not used is a warning, with exit code 0."""
    project.write(
        "machines/task.py", PLUGIN + '\n\n@task.action("wrok")\ndef wrok() -> None: ...\n'
    )
    answer = project.done("check")
    assert "warning: " in answer.out
    assert "'wrok'" in answer.out
    (warning,) = project.done("check", "--json").json["warnings"]
    assert warning["source"].endswith("task.py")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("[log]\nkid = 1\n[engin]\n", ["log.kid", "engin"]),
        ('machines = ["nowhere"]\n', ["nowhere"]),
        (
            SETTINGS + '[topics.a]\nmachine = "task"\nid = "=body."\n'
            '[topics.b]\nmachine = "task"\nid = "=bdoy.id"\n',
            ["topics.a", "topics.b"],
        ),
        (SETTINGS + '[topics.c]\nmachine = "taks"\n', ["did you mean 'task'?"]),
    ],
)
def test_problems_of_settings(project: Project, settings: str, said: list[str]) -> None:
    """Settings, the rules of every topic, and the machines they name are checked."""
    project.write("event-center.toml", settings)
    answer = project.run("check")
    assert answer.code == 1
    for text in said:
        assert text in answer.out


def test_named_machines(project: Project) -> None:
    """Machines that are named are checked by themselves, wherever they lie."""
    good = project.write(
        "elsewhere/lamp.yaml",
        "machine: lamp\nversion: 1\ninitial: a\nperpetual: true\nstates: {a: {}}",
    )
    bad = project.write("elsewhere/bad.yaml", "machine: [")
    assert project.done("check", str(good)).out == "ok: 1 machine, 0 callbacks, 0 topics\n"
    answer = project.run("check", str(good), str(bad), str(project.root / "none.yaml"))
    assert answer.code == 1
    assert "bad.yaml:1:" in answer.out
    assert "none.yaml:1:1" in answer.out


@pytest.mark.parametrize("named", ["by the settings", "by the command"])
def test_a_file_that_is_named_twice_is_one_file(project: Project, named: str) -> None:
    """With its folder too, and by another name: its problems are told once, and a good one runs."""
    again = ["machines/task.yaml", "machines/../machines/task.yaml"]
    given: list[str] = []
    if named == "by the settings":
        project.write("event-center.toml", f"machines = {['machines', *again]}\n{SETTINGS}")
    else:
        given = [str(project.root / name) for name in ["machines", *again]]
    assert project.done("check", *given).out.startswith("ok: 1 machine, ")
    project.done("run", "--until-idle")
    project.write("machines/task.yaml", MACHINE.replace("done\n", "dnoe\n", 1))
    assert len(project.run("check", *given, "--json").json["problems"]) == 1


def test_a_folder_without_machines_is_said(project: Project) -> None:
    """Nothing was checked, and that is a mistake."""
    (project.root / "empty").mkdir()
    answer = project.run("check", str(project.root / "empty"))
    assert answer.code == 1
    assert "no file in it ends in .yaml" in " ".join(answer.out.split())


def test_explain_says_what_a_code_means(project: Project) -> None:
    """With an example; a code that is none is refused with those that there are."""
    said = project.done("check", "--explain", "e208")
    assert "E208: States without a way to an end" in said.out
    assert project.done("check", "--explain", "E208", "--json").json["code"] == "E208"
    refused = project.run("check", "--explain", "E999")
    assert refused.code == 2
    assert "E308" in refused.err


def test_paths_are_written_as_from_here(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places in machines and in plugins are both told from the working directory on."""
    monkeypatch.chdir(project.root)
    project.write("machines/task.yaml", MACHINE.replace("done\n", "dnoe\n", 1))
    assert "\nmachines/task.yaml:" in "\n" + project.run("check").out
    project.write("machines/task.yaml", MACHINE)
    project.write("machines/task.py", PLUGIN.replace('action("work")', 'action("wrok")'))
    (problem,) = project.run("check", "--json").json["problems"]
    assert problem["source"] == "machines/task.yaml"


def test_problems_come_in_the_order_of_the_files(project: Project) -> None:
    """Whoever finds them, problems are told by file and line, and what has no place comes last."""
    project.write("machines/task.py", '"""Nothing."""\n')
    tests = "tests:\n- {name: a, steps: [{event: begun}, {event: begin, state: bussy}]}\n"
    project.write("machines/lamp.yaml", MACHINE.replace("task", "lamp", 1) + tests)
    project.write("machines/lamp.py", PLUGIN.replace('callbacks("task")', 'callbacks("lamp")'))
    project.write("event-center.toml", SETTINGS + '[topics.a]\nmachine = "task"\nid = "=body."\n')
    problems = project.run("check", "--json").json["problems"]
    assert [(str(one["source"]).rpartition("/")[2], one["line"]) for one in problems] == [
        ("event-center.toml", 14),
        ("lamp.yaml", 17),
        ("lamp.yaml", 17),
        ("task.yaml", 11),
        ("task.yaml", 13),
    ]
