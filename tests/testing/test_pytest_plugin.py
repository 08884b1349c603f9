"""The plugin of pytest: the tests of a machine are collected and run, and failures are sentences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.machine.test_cases import LAMP, TESTS

LIGHT = """
machine: light
version: 1
initial: dark
states:
  dark: {on: {"on": light}}
  light: {entry: glow, on: {cool: dark, break: broken}}
  broken: {type: final, result: failure}
"""
GUARDS = '''
"""The guard of a lamp."""
from event_center import callbacks

lamp = callbacks("lamp")


@lamp.guard
def powered() -> bool:
    return True


@lamp.action
async def count() -> None: ...


@lamp.action
async def note() -> None: ...


@lamp.action
async def glow() -> None: ...
'''


def ran(folder: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-q", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_each_case_is_a_test(tmp_path: Path) -> None:
    """Machines with tests are collected, other YAML is not; a failure names its line and what came."""
    (tmp_path / "other.yaml").write_text("tests: [machine]\n")
    (tmp_path / "lamp.yaml").write_text(LAMP + TESTS)
    (tmp_path / "lamp.py").write_text(GUARDS)
    code, out = ran(tmp_path)
    assert code == 0, out
    assert "3 passed" in out
    wrong = TESTS.replace("state: broken}", "state: dark}")
    (tmp_path / "lamp.yaml").write_text(LAMP + wrong)
    code, out = ran(tmp_path)
    assert code == 1
    assert "1 failed, 2 passed" in out
    assert "test 'the bulb breaks': on 'glow' the state is 'broken', not 'dark'" in out
    assert "Traceback" not in out


TESTS_OF_A_CENTER = """
import pytest


async def test_what_happened_is_told(project_center):
    async with project_center(fakes={"glow": "cool"}) as center:
        await center.publish("lamp-1", "on")
        assert center.workflow("lamp-1").state == "dim"


def test_another_has_no_center():
    raise AssertionError
"""


def test_a_failed_test_tells_of_its_center(tmp_path: Path) -> None:
    """The report of a failed test has the history of the project's center, and only of its own."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines/lamp.yaml").write_text(LIGHT)
    (tmp_path / "event-center.toml").write_text('[topics.lamps]\nmachine = "light"\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_lamp.py").write_text(TESTS_OF_A_CENTER)
    code, out = ran(tmp_path / "tests")
    assert code == 1
    assert "2 failed" in out
    assert out.count("- event center -") == 1
    assert "lamp-1: light is in dark (active)" in out
    assert "applied on dark -> light" in out
    assert "applied cool light -> dark" in out


def test_a_machine_with_problems_is_told(tmp_path: Path) -> None:
    """A machine that does not load fails with its problems, not with a traceback."""
    (tmp_path / "lamp.yaml").write_text(LAMP.replace("initial: dark", "initial: drak") + TESTS)
    code, out = ran(tmp_path)
    assert code != 0
    assert "did you mean 'dark'?" in out
