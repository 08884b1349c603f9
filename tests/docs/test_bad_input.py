"""docs/bad-input.md and the tests of bad input hold each other: no item is in one of them alone."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.project import ROOT
from tests.engine.test_bad_input import CALLBACKS, RECORDS

PAGE = (ROOT / "docs/bad-input.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
SAID = {
    "a workflow_id with control characters": "with control characters",
    "an empty workflow_id": "or an empty one",
    "another machine": "another machine than the workflow's",
    "a payload of depth 10,000": "JSON of depth 10,000",
}
"""Items that the page words otherwise."""
WORDS = """
not JSON; not UTF-8; no workflow_id; workflow_id of 10 kB; with control characters; an empty one; an
unknown event; an unknown machine; another machine; payload of 5 MB; depth 10,000; NaN; an integer
of 400 digits; duplicate keys; a null key; null value; 1,000 headers; an event id for the second
time; an event for a finished workflow; after its tombstone; snapshot of an unknown format;
truncated; of a machine that is gone; grow past; does not fit; raises; hangs past its timeout;
blocks the event loop; cancels itself; SystemExit; KeyboardInterrupt; os._exit; returns nonsense;
emits a million events; a YAML with every kind of mistake; a config with every kind of mistake;
another program's; read-only; locked; damaged; of a newer release; disk is full; deleted or replaced
while; an hour forward, and back
"""
"""What bad input may be, whatever the tests have: each has its row."""


def _tests_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_of_an_item_exists(file: str, test: str) -> None:
    """Each test that the page names is there."""
    assert test in _tests_of(file)


@pytest.mark.parametrize("word", [" ".join(one.split()) for one in WORDS.split(";")])
def test_every_kind_of_bad_input_has_a_row(word: str) -> None:
    """Nothing of the list goes out of the page: each word stands in the first cell of a row with a test."""
    cells = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    assert any(word in first and "`tests/" in test for first, _, test in cells[1:])


def test_every_test_is_of_an_item() -> None:
    """Each test of bad input stands in the page."""
    ours = {
        name for name in _tests_of("tests/engine/test_bad_input.py") if name.startswith("test_")
    }
    assert ours == {test for file, test in NAMED if file == "tests/engine/test_bad_input.py"}


@pytest.mark.parametrize("name", [*RECORDS, *CALLBACKS])
def test_every_case_is_in_the_page(name: str) -> None:
    """What a record holds or a callback does is said where its outcome is; a letter's reason too."""
    rows = [
        line
        for line in PAGE.splitlines()
        if SAID.get(name, name.rsplit("raises ", maxsplit=1)[-1]) in line
    ]
    assert rows
    if name in RECORDS:
        reason = re.sub(r".*[( ](\w+)\)?$", r"\1", RECORDS[name][1])
        assert reason == "applied" or any(f"`{reason}`" in row for row in rows)
