"""What docstrings of modules say of other modules is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "event_center"


def _callers(tree: ast.Module, modules: set[str]) -> set[str]:
    """Those of the modules by which a module says that it is called; the CLI's commands are none."""
    said = (ast.get_docstring(tree) or "").replace("\n", " ")
    found = " ".join(re.findall(r"[Cc]alled by ([^.;:]*)", said))
    found = re.sub(r"CLI's `\w+`| after .*", "", found)
    return set(re.findall(r"`(\w+)`", found)) & modules


def test_who_is_said_to_call_a_module_imports_it() -> None:
    """A docstring that names callers names those who are."""
    trees = {path: ast.parse(path.read_bytes()) for path in sorted(PACKAGE.rglob("*.py"))}
    imports: dict[str, str] = {}
    for path, tree in trees.items():
        lines = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imports[path.stem] = imports.get(path.stem, "") + " ".join(map(ast.unparse, lines))
    modules = {path.stem for path in trees}
    said = [(path, caller) for path, tree in trees.items() for caller in _callers(tree, modules)]
    wrong = [
        f"{path.relative_to(PACKAGE)}: {caller} does not import it"
        for path, caller in said
        if not re.search(rf"\b{path.stem}\b", imports[caller])
    ]
    assert wrong == []
    assert len(said) > 50
