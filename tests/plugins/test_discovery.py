"""Where plugins are found, that each is loaded once, and what is said when one cannot be."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from event_center.errors import PluginError
from event_center.plugins.discovery import ENTRY_POINTS, discover

PLUGIN = """\
from event_center.plugins.callbacks import callbacks

order = callbacks("order")

@order.action("charge")
async def charge(ctx):
    return None
"""


@pytest.fixture(autouse=True)
def _modules_forgotten() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith(("shop", "event_center_plugin"))]:
        del sys.modules[name]


def _write(path: Path, text: str = PLUGIN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_module_beside_the_machine(tmp_path: Path) -> None:
    """machines/order.py is found beside machines/order.yaml; a machine without one is fine."""
    _write(tmp_path / "machines/order.py")
    found = discover([tmp_path / "machines/order.yaml", tmp_path / "machines/job.yaml"])
    assert [one.machine for one in found] == ["order"]
    assert [one.name for one in found[0].implementations] == ["charge"]


def test_a_file_named_in_the_settings(tmp_path: Path) -> None:
    """A path in `plugins` starts from the project's directory."""
    _write(tmp_path / "plugins/foo.py")
    assert [one.machine for one in discover([], ["plugins/foo.py"], tmp_path)] == ["order"]


def test_a_module_named_in_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dotted name in `plugins` is imported like any module."""
    _write(tmp_path / "shop_plugins/__init__.py", "")
    _write(tmp_path / "shop_plugins/order.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert [one.machine for one in discover([], ["shop_plugins.order"])] == ["order"]


def test_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package announces a module, or the callbacks in it."""
    _write(tmp_path / "shop_announced.py")
    _write(
        tmp_path / "shop-1.0.dist-info/entry_points.txt",
        f"[{ENTRY_POINTS}]\nshop = shop_announced\nagain = shop_announced:order\n",
    )
    _write(tmp_path / "shop-1.0.dist-info/METADATA", "Name: shop\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("shop") == "1.0"
    assert [one.machine for one in discover([])] == ["order"]


def test_an_entry_point_to_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that names neither a module nor callbacks is refused by its name."""
    _write(tmp_path / "shop_wrong.py", PLUGIN)
    _write(
        tmp_path / "shop-1.0.dist-info/entry_points.txt",
        f"[{ENTRY_POINTS}]\nshop = shop_wrong:charge\n",
    )
    _write(tmp_path / "shop-1.0.dist-info/METADATA", "Name: shop\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"'shop' = 'shop_wrong:charge'.*name a module"):
        discover([])


def test_a_file_is_loaded_once(tmp_path: Path) -> None:
    """Named in the settings, twice, and lying beside a machine, it still gives one Callbacks."""
    _write(tmp_path / "machines/order.py")
    named = ["machines/order.py", "machines/../machines/order.py"]
    assert len(discover([tmp_path / "machines/order.yaml"], named, tmp_path)) == 1


def test_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """Two files called order.py are two modules, each findable under its own name."""
    text = PLUGIN + "from dataclasses import dataclass\n@dataclass\nclass Card:\n    number: str\n"
    files = [_write(tmp_path / folder / "order.py", text) for folder in ("a", "b")]
    found = discover([path.with_suffix(".yaml") for path in files])
    names = {one.implementations[0].function.__module__ for one in found}
    assert len(names) == 2
    assert names <= set(sys.modules)


def test_two_centers_do_not_meet(tmp_path: Path) -> None:
    """Discovering again loads the file again: nothing leaks from one center to the next."""
    machine = _write(tmp_path / "order.py").with_suffix(".yaml")
    (first,), (second,) = discover([machine]), discover([machine])
    assert first is not second
    assert len(second.implementations) == 1


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("x = 1\n\nraise ValueError('no card')\n", 3, "ValueError: no card"),
        ("import no_such_library\n", 1, "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def f():\n    return 1 +\n", 2, "SyntaxError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError"),
    ],
)
def test_a_failing_import_names_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    """The message names the plugin's file and line, the exception, and what to do."""
    path = _write(tmp_path / "order.py", text)
    before = set(sys.modules)
    with pytest.raises(PluginError) as caught:
        discover([path.with_suffix(".yaml")])
    message = str(caught.value)
    assert message.startswith(f"{path.resolve()}:{line}: importing the plugin order.py failed")
    assert what in message
    assert "mend it" in message
    left = set(sys.modules) - before
    assert not [name for name in left if name.startswith("event_center_plugin_order")]


def test_a_missing_file(tmp_path: Path) -> None:
    """A path that leads nowhere is named in full."""
    with pytest.raises(PluginError, match=r"plugins/foo\.py: there is no such plugin file"):
        discover([], ["plugins/foo.py"], tmp_path)


@pytest.mark.parametrize("name", ["no_such_module", "no_such.module", "json.no_such"])
def test_a_missing_module(name: str) -> None:
    """A module that cannot be found is told apart from one that fails."""
    with pytest.raises(PluginError, match="there is no such module; install its package"):
        discover([], [name])


def test_a_parent_package_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose own import fails is reported with its line, not as missing."""
    _write(tmp_path / "shop_broken/__init__.py", "import no_such_library\n")
    _write(tmp_path / "shop_broken/order.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"__init__\.py:1: .*no_such_library"):
        discover([], ["shop_broken.order"])


def test_a_named_module_without_callbacks() -> None:
    """What is named as a plugin must be one."""
    with pytest.raises(PluginError, match=r"defines no callbacks; begin with"):
        discover([], ["json"])


@pytest.mark.parametrize(
    ("files", "configured", "said"),
    [
        (["order.yaml"], [], "(it lies beside order.yaml)"),
        ([], ["./order.py"], "take it out of `plugins`"),
    ],
)
def test_a_failed_import_says_who_wanted_it(
    tmp_path: Path, files: list[str], configured: list[str], said: str
) -> None:
    """Whether the settings name a plugin, or it lies beside its machine, what to do differs."""
    _write(tmp_path / "order.py", "1 / 0")
    with pytest.raises(PluginError, match="ZeroDivisionError") as caught:
        discover([tmp_path / name for name in files], configured, tmp_path)
    assert said in str(caught.value)
