"""What an installation brings is all that the package needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _missing(project: str) -> set[str]:
    """Modules that the package imports and that nothing in this pyproject.toml brings."""
    dependencies = tomllib.loads(project)["project"]["dependencies"]
    # Pytest itself loads the plugin.
    declared = {re.split(r"[\[<>=;]", each)[0] for each in dependencies} | {"pytest"}
    modules = {
        name.partition(".")[0]
        for path in (ROOT / "event_center").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in _imported(node)
    }
    foreign = packages_distributions()
    others = modules - sys.stdlib_module_names - {"event_center"}
    return {name for name in others if declared.isdisjoint(foreign[name])}


def test_what_is_imported_is_declared() -> None:
    """An environment with only what pyproject.toml names imports every module, and each name counts."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert _missing(project) == set()
    assert _missing(project.replace('"click>=8.1",', "")) == {"click"}
