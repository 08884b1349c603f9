"""
A new user's first day, from the wheel, in an environment that has nothing of this repository: a project
is made and tested, an order goes through, the machine is upgraded, an event fails and is replayed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import orjson
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PLACED = '{"items": ["a book"], "card": "4242"}'
THANKS = '''

@order.action
async def thank(ctx: Context) -> None:
    """Thank for the order, once there is a file of that name."""
    if not __import__("pathlib").Path("thanks.txt").exists():
        raise ConnectionError("the mail server is down")
'''


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this project, as it is released."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_has_all_that_is_needed(wheel: Path) -> None:
    """The wheel holds every module, every template of a project, and says that it has types."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = ROOT / "event_center"
    wanted = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= names
    assert "event_center/py.typed" in names
    assert "event_center/app/templates/project/Dockerfile" in names


def installed(wanted: set[str]) -> set[Path]:
    """The files and folders of these distributions, and of all that they ask for."""
    entries, seen, left = set[Path](), set[str](), set(wanted)
    while left:
        name = left.pop()
        seen.add(name)
        found = distribution(name)
        if name != "event-center":
            tops = {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}
            entries |= {Path(str(found.locate_file(top))).resolve() for top in tops}
        for requirement in map(Requirement, found.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                left |= {requirement.name} - seen
    return {entry for entry in entries if entry.name != "__pycache__"}


class User:
    """Somebody with an environment of their own, and a project."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.project = folder / "shop"
        environment = folder / "environment"
        venv.create(environment, with_pip=False)
        [packages] = environment.glob("lib/python*/site-packages")
        # As an index would give it: what the wheel asks for, and what the project's tests do; nothing else
        for entry in installed({"event-center", "pytest", "pytest-asyncio"}):
            (packages / entry.name).symlink_to(entry)
        pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install"]
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", str(wheel)]
        subprocess.run([*pip, *options], check=True, capture_output=True)
        self._bin = environment / "bin"

    def runs(self, *command: str, code: int = 0) -> str:
        """Run a command in the project; what it printed."""
        environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "COLUMNS": "160"}
        done = subprocess.run(
            [str(self._bin / command[0]), *command[1:]],
            cwd=self.project if self.project.exists() else self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def center(self, *command: str) -> str:
        """Run a command of `event-center`."""
        return self.runs("event-center", *command)

    def shown(self, workflow_id: str) -> Any:
        """A workflow."""
        return orjson.loads(self.center("show", workflow_id, "--json"))

    def edits(self, name: str, before: str, after: str) -> None:
        """Edit a file of the project."""
        path = self.project / name
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")


def test_a_first_day(wheel: Path, tmp_path: Path) -> None:
    """From `init` to a replayed letter: each step of a new user's first day does what it says."""
    user = User(tmp_path, wheel)
    user.center("init", "shop")
    where = user.runs("python", "-c", "import event_center; print(event_center.__file__)")
    assert Path(where).is_relative_to(tmp_path)
    assert "3 passed" in user.runs("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")

    placed = ("--workflow-id", "order-1", "--event", "order_placed", "--payload", PLACED)
    user.center("publish", "orders", *placed)
    user.center("run", "--until-idle")

    user.edits("machines/order.yaml", "version: 1", "version: 2\non_failure: dead_letter")
    thank = "{delivered: {target: done, actions: {do: thank, retry: none}}}"
    user.edits("machines/order.yaml", "{delivered: done}", thank)
    user.edits("machines/order.py", 'return "paid"\n', 'return "paid"\n' + THANKS)
    user.center("check")
    user.center("send", "order-1", "delivered")
    user.center("run", "--until-idle")
    why = user.center("why", "order-1")
    assert "shipping" in why
    assert "the mail server is down" in why
    assert "0/0" in user.center("dead-letters", "list")

    (user.project / "thanks.txt").write_text("thank you")
    user.center("dead-letters", "replay", "0/0", "--no-wait")
    user.center("run", "--until-idle")
    shown = user.shown("order-1")
    assert (shown["state"], shown["result"], shown["version"]) == ("done", "success", 2)
