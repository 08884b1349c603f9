"""Several versions of a machine in one project: only where the newest one pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center.app.settings import load_settings
from event_center.app.wiring import make_plan
from event_center.errors import ConfigurationError

OLD = "machine: job\nversion: 1\ninitial: a\nstates: {a: {entry: work, on: {go: b}}, b: {type: final}}\n"
NEW = (
    "machine: job\nversion: 2\ninitial: c\non_upgrade: pin\n"
    "states: {c: {entry: more, on: {go: b}}, b: {type: final}}\n"
)
PLUGIN = '''
"""The callbacks of both versions."""
from event_center import callbacks

job = callbacks("job")


@job.entry("a")
async def work(): ...


@job.action("more")
async def more(): ...
'''


def project(tmp_path: Path, **files: str) -> Path:
    """A project with these machines, and one plugin for all of them."""
    (tmp_path / "machines").mkdir()
    for name, text in files.items():
        (tmp_path / "machines" / f"{name}.yaml").write_text(text)
    (tmp_path / "machines" / "new.py").write_text(PLUGIN)
    path = tmp_path / "event-center.toml"
    path.write_text("")
    return path


def test_older_versions_are_loaded_beside_a_machine_that_pins(tmp_path: Path) -> None:
    """The newest serves new workflows, and the plugin serves all versions."""
    plan = make_plan(load_settings(project(tmp_path, old=OLD, new=NEW)))
    assert plan.machines["job"].version == 2
    assert set(plan.older) == {("job", 1)}
    assert list(plan.older["job", 1].callbacks) == ["work"]
    assert list(plan.bound["job"].callbacks) == ["more"]
    assert plan.bound["job"].warnings == ()


def test_without_pin_two_versions_are_a_mistake(tmp_path: Path) -> None:
    """The message says what to write if both are meant."""
    with pytest.raises(ConfigurationError, match=r"write `on_upgrade: pin` in version 2"):
        make_plan(load_settings(project(tmp_path, old=OLD, new=NEW.replace("pin", "move"))))


def test_one_version_twice_is_a_mistake(tmp_path: Path) -> None:
    """Two files of one version can not both count."""
    with pytest.raises(ConfigurationError, match=r"both define machine 'job'; rename one of them$"):
        make_plan(load_settings(project(tmp_path, new=NEW, other=NEW)))
