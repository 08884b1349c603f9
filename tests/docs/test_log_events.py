"""docs/log-events.md is the one list of the names in the center's own log, and holds against the code."""

from __future__ import annotations

import ast
import re

from tests.docs.project import ROOT

PACKAGE = ROOT / "event_center"
PAGE = (ROOT / "docs/log-events.md").read_text(encoding="utf-8")
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
ROW = re.compile(r"^\| `([a-z._]+)` \| (\w+) \| .+ \| (.+) \|$", re.MULTILINE)
LISTED = {
    name: (level, set(re.findall(r"`(\w+)`", fields))) for name, level, fields in ROW.findall(PAGE)
}


def _trees() -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]


def _told() -> list[tuple[str, str, set[str]]]:
    """Name, level and fields of each line that the package logs under a name of its own."""
    found = []
    for tree in _trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str(name))],
                    keywords=keywords,
                ) if level in LEVELS:
                    level = "error" if level == "exception" else level
                    found.append((name, level, {one.arg for one in keywords if one.arg}))
    return found


def test_every_log_event_is_listed() -> None:
    """Each name that the code logs stands in the list, with its level and its fields."""
    told = _told()
    assert told
    for name, level, fields in told:
        assert name in LISTED, f"add {name} to docs/log-events.md"
        assert LISTED[name][0] == level, name
        assert fields <= LISTED[name][1], name


def test_every_listed_event_is_logged() -> None:
    """No name stands in the list that the code does not have, and none stands there twice."""
    texts = {
        node.value
        for tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert sorted(set(LISTED) - texts) == []
    assert len(ROW.findall(PAGE)) == len(LISTED)
