"""docs/log-events.md is the one list of the names in the center's own log, and holds against the code."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from tests.cli.center import Project
from tests.docs.project import ROOT

PACKAGE = ROOT / "event_center"
PAGE = (ROOT / "docs/log-events.md").read_text(encoding="utf-8")
MORE = "**"
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
ROW = re.compile(r"^\| `([a-z._]+)` \| (\w+) \| .+ \| (.+) \|$", re.MULTILINE)
LISTED = {
    name: (level, set(re.findall(r"`(\w+)`", fields))) for name, level, fields in ROW.findall(PAGE)
}


@cache
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
                    found.append((name, level, {one.arg or MORE for one in keywords}))
    return found


def test_every_log_event_is_listed() -> None:
    """Each name that the code logs stands in the list, with its level and its fields."""
    told = _told()
    assert told
    for name, level, fields in told:
        assert name in LISTED, f"add {name} to docs/log-events.md"
        assert LISTED[name][0] == level, name
        assert fields - {MORE} <= LISTED[name][1], name


def test_every_listed_field_is_logged() -> None:
    """No field stands in the list that its line does not have, as far as its calls name all of them."""
    told: dict[str, set[str]] = {}
    for name, _, fields in _told():
        told.setdefault(name, set()).update(fields)
    whole = {name: fields for name, fields in told.items() if MORE not in fields}
    del whole["log.not_read"]  # backoff logs it too, by a name that it is given
    assert {name: LISTED[name][1] for name in whole} == whole


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


def _logged(root: Path, events: list[str]) -> list[dict[str, Any]]:
    """What a center logs that decides these events of two workflows, twice each."""
    project = Project(root)
    lines = [
        orjson.dumps({"workflow_id": name, "event": event, "id": f"{name}-{event}"}).decode()
        for name in ("t-1", "t-2")
        for event in events * 2
    ]
    path = project.write("events.jsonl", "\n".join(lines))
    project.done("publish", "tasks", "--file", str(path))
    told = project.done("run", "--until-idle").err
    return [orjson.loads(line) for line in told.splitlines() if line.startswith("{")]


def test_a_healthy_day_is_quiet(tmp_path: Path) -> None:
    """Events, callbacks, duplicates and refusals log nothing: only what the page lists is there."""
    (listed,) = re.findall(r"## A healthy day.+?```text\n(.+?)```", PAGE, re.DOTALL)
    quiet = listed.split()
    assert {LISTED[name][0] for name in quiet} == {"info"}
    logged = _logged(tmp_path, ["begin", "end", "begin"])
    assert {line["event"] for line in logged} <= set(quiet)
    shards = 2
    assert len(logged) == 2 + 2 * shards


def test_a_day_that_is_not_healthy_is_told(tmp_path: Path) -> None:
    """A callback that fails is told with the workflow that it was for; the twin of a quiet day."""
    failed = [
        line for line in _logged(tmp_path, ["begin", "work"]) if line["event"] == "run.failed"
    ]
    assert {(line["workflow_id"], line["machine"], line["seq"]) for line in failed} == {
        ("t-1", "task", 1),
        ("t-2", "task", 1),
    }
