"""The plugin of pytest: the tests of a machine are collected and run, and failures are sentences."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.machine.test_cases import LAMP, TESTS

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


def test_a_machine_with_problems_is_told(tmp_path: Path) -> None:
    """A machine that does not load fails with its problems, not with a traceback."""
    (tmp_path / "lamp.yaml").write_text(LAMP.replace("initial: dark", "initial: drak") + TESTS)
    code, out = ran(tmp_path)
    assert code != 0
    assert "did you mean 'dark'?" in out
