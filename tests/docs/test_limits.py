"""docs/limits.md is the list of limits: every one of the code is in it, with a test that reaches it."""

from __future__ import annotations

import ast
import dataclasses
import re

import pytest

from event_center.engine import known_ids, listening, run, turn, watchdog
from event_center.engine import limits as reaching
from event_center.engine.plan import EngineLimits
from event_center.log import sqlite
from event_center.log.kafka import MAX_EVENT_BYTES
from event_center.machine import arithmetic, expression
from event_center.model import MAX_EVENT_ID, MAX_ID_BYTES, MAX_NAME
from event_center.wire import envelope, history
from tests.docs.project import ROOT

PAGE = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
SETTINGS, FIXED = PAGE.split("## What is fixed")
ROWS = re.findall(
    r"^\| `(\w+)` \| .+ \| (yes|-) \| `(tests/[\w/]+\.py)::(\w+)` \|$", SETTINGS, re.MULTILINE
)
TESTS = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
OTHERWISE = {"keep_finished_ms": "keep_finished", "kept_bytes": "kept", "grace_s": "grace"}
"""What the engine calls a limit whose setting has another name."""


def test_every_limit_is_in_the_list() -> None:
    """Each limit of the engine has its row; `record_bytes` is no setting."""
    names = {OTHERWISE.get(one.name, one.name) for one in dataclasses.fields(EngineLimits)}
    assert names - {"record_bytes"} == {name for name, *_ in ROWS}


def test_the_named_ones_are_those_that_the_engine_names() -> None:
    """What the page says is named in `stats` is what `engine/limits.py` names, and the log."""
    tree = ast.parse((ROOT / "event_center/engine/limits.py").read_text(encoding="utf-8"))
    told = {
        node.elts[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple)
        and len(node.elts) == 2
        and isinstance(node.elts[0], ast.Constant)
    }
    assert told - {"log", "limit"} == {name for name, named, *_ in ROWS if named == "yes"}
    assert {"log", "limit"} <= told
    assert reaching.Reached._fields == ("limit", "shard", "meaning")


@pytest.mark.parametrize(("file", "test"), sorted(set(TESTS)))
def test_the_test_that_reaches_it_exists(file: str, test: str) -> None:
    """Each test that the page names is there."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert test in {node.name for node in tree.body if isinstance(node, functions)}


def test_the_fixed_values_are_those_of_the_code() -> None:
    """Each number that the page prints is the code's."""
    assert f"1 to {MAX_ID_BYTES} bytes" in FIXED
    assert f"an event's name | {MAX_NAME:,} characters" in FIXED
    assert f"an event's id | {MAX_EVENT_ID:,} characters" in FIXED
    assert f"{history.MAX_DETAIL:,} and {MAX_NAME:,} characters" in FIXED
    assert f"{envelope.MAX_DEPTH} levels" in FIXED
    assert f"{sqlite.MAX_EVENT_BYTES // 1024**2} MiB on SQLite, {MAX_EVENT_BYTES:,} bytes" in FIXED
    assert f"| {turn.LOOP:,} |" in FIXED
    assert f"| {known_ids.IDS} |" in FIXED
    assert f"| {listening.WAITING:,} |" in FIXED
    assert f"| {(watchdog.ASK_S + watchdog.CALLBACK_S) * 1_000:.0f} ms |" in FIXED
    assert f"| {run.ABANDON_S:.0f} s |" in FIXED
    most = f"{expression.MAX_CHARACTERS:,} characters, {expression.MAX_DEPTH} levels"
    assert f"{most}, results of {arithmetic.MAX_LENGTH:,}" in FIXED
