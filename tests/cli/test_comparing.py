"""`diff`: what changed between two files of a machine, and what to do about it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from event_center.cli import app
from tests.cli.center import MACHINE, Answer, Project


@pytest.fixture
def files(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project, in its directory."""
    monkeypatch.chdir(project.root)
    return project


def diff(*arguments: str) -> Answer:
    """The command, which has no settings."""
    result = CliRunner().invoke(app, ["diff", *arguments], env={"COLUMNS": "200"})
    return Answer(result.exit_code, result.stdout, result.stderr)


def test_no_difference(files: Project) -> None:
    """Titles and comments are no difference."""
    files.write("old.yaml", f"title: something else\n{MACHINE}# a comment\n")
    answer = diff("old.yaml", "machines/task.yaml")
    assert answer.out == "no difference in what they do\n"
    told = diff("old.yaml", "machines/task.yaml", "--json").json
    assert (told["changes"], told["needs_version"]) == ([], False)


def test_what_changed_and_who_has_no_place(files: Project) -> None:
    """Each change is a line; an unchanged version and states without a place are pointed at."""
    files.write("new.yaml", MACHINE.replace("busy", "elsewhere"))
    answer = diff("machines/task.yaml", "new.yaml")
    assert answer.code == 1
    assert "state 'busy' is gone" in answer.out
    assert "! the version is still 1; write version: 2" in answer.out
    assert "! workflows in 'busy' have no place in version 1" in answer.out
    assert "perhaps as 'elsewhere'" in answer.out
    told = diff("machines/task.yaml", "new.yaml", "--json").json
    assert (told["without_place"], told["renamed"]) == (["busy"], {"busy": "elsewhere"})


def test_who_stays_needs_no_place(files: Project) -> None:
    """With `on_upgrade: pin` nobody is to be mapped: the older file has to stay."""
    pinned = MACHINE.replace("busy", "elsewhere").replace("version: 1", "version: 2")
    files.write("new.yaml", "on_upgrade: pin\n" + pinned)
    answer = diff("machines/task.yaml", "new.yaml")
    assert "! workflows of version 1 stay there (`on_upgrade: pin`): keep its file" in answer.out
    assert "have no place" not in answer.out


def test_a_file_that_is_no_machine(files: Project) -> None:
    """What can not be compared is told in a sentence, with the exit code of wrong usage."""
    files.write("broken.yaml", "machine: x\n")
    for other, said in (("broken.yaml", "needs the key"), ("nowhere.yaml", "is not a file")):
        answer = diff("machines/task.yaml", other)
        assert answer.code == 2
        assert said in answer.err
