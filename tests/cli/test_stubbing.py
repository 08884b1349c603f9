"""`stubs`: the module beside a machine is begun, brought up to date, or left alone."""

from __future__ import annotations

from tests.cli.center import MACHINE, Project


def test_a_module_is_begun_and_brought_up_to_date(project: Project) -> None:
    """It is written beside the machine; run again it is up to date; what is new is added."""
    path = str(
        project.write("machines/more.yaml", MACHINE.replace("machine: task", "machine: more"))
    )
    plugin = project.root / "machines/more.py"
    shown = project.process("stubs", path, "--dry-run")
    assert (shown.code, shown.out[:3], plugin.exists()) == (0, "---", False)
    assert project.process("stubs", path).out == (
        "machines/more.py is written, with functions for announce, work\n"
    )
    assert project.process("stubs", path).out == "machines/more.py is up to date\n"
    text = MACHINE.replace("machine: task", "machine: more").replace("announce", "tell")
    project.write("machines/more.yaml", text)
    again = project.process("stubs", path)
    assert again.out == "machines/more.py is written, with functions for tell\n"
    assert "implements 'announce', which the machine does not name" in again.err
    assert project.process("check", path).code == 0


def test_a_machine_in_python_needs_none(project: Project) -> None:
    """A module is refused in a sentence."""
    answer = project.process("stubs", "machines/task.py")
    assert (answer.code, "needs no stubs" in answer.err) == (2, True)
