"""The YAML text: version 1.2, positions, keys written twice, and texts that would never end."""

from __future__ import annotations

import json

import pytest

from event_center.machine.document import (
    MAX_CHARACTERS,
    MappingNode,
    Plain,
    ScalarNode,
    SequenceNode,
    read_document,
    resolved,
)
from event_center.machine.problems import Problems


def read(text: str) -> tuple[object, list[str]]:
    problems = Problems("d.yaml")
    root = read_document(text, problems)
    return root, [str(problem) for problem in problems.error().problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("NO", "NO"), ("y", "y"),
        ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
        ("2026-11-22", "2026-11-22"), ("12:30:00", "12:30:00"), ("=payload.x", "=payload.x"),
        ("1", 1), ("-7", -7), ("+3", 3), ("007", 7), ("0o17", 15), ("0xff", 255), ("0b1", "0b1"),
        ("1_000", "1_000"), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("-2.5e-1", -0.25),
        (".inf", float("inf")), ("-.Inf", float("-inf")), ("1.2.3", "1.2.3"), ("<<", "<<"),
        ("9" * 50, 1e50),
    ],
)  # fmt: skip
def test_core_schema(text: str, value: Plain) -> None:
    """Unquoted texts mean what YAML 1.2 says: `on`, `no` and dates stay text."""
    assert resolved(text) == value
    assert type(resolved(text)) is type(value)


def test_not_a_number() -> None:
    """`.nan` is the number that equals nothing."""
    value = resolved(".nan")
    assert value != value  # noqa: PLR0124 - that is how one knows it


def test_positions() -> None:
    """Every node knows its line and column, keys and values alike."""
    root, problems = read("a:\n  - x\n  - {b: 'true'}\n")
    assert problems == []
    assert isinstance(root, MappingNode)
    key, value = root.pairs[0]
    assert key.place == (1, 1)
    assert isinstance(value, SequenceNode)
    assert [item.place for item in value.items] == [(2, 5), (3, 5)]
    inner = value.items[1]
    assert isinstance(inner, MappingNode)
    assert inner.pairs[0][1] == ScalarNode(place=inner.pairs[0][1].place, value="true")
    assert inner.pairs[0][1].place == (3, 9)


def test_aliases() -> None:
    """An alias is the node that its anchor names."""
    root, problems = read("a: &x {b: 1}\nc: *x\n")
    assert problems == []
    assert isinstance(root, MappingNode)
    assert root.pairs[0][1] is root.pairs[1][1]


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{','.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1 E101 there is no machine here: the text is empty"),
        ("# nothing\n", "1:1 E101 there is no machine here"),
        ("a: [1", "1:6 E101 not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: b: c", "1:5 E101 not YAML: mapping values are not allowed here; the cause is often a colon, a "
         "quote or an indentation a little before this place: `event-center check --explain E101`"),
        ("a: 1\n\tb: 2", "2:1 E101 not YAML: "),
        ("a: 1\nb: \x07", "2:4 E101 not YAML: the character '\\x07' is not allowed"),
        ("a: 1\na: 2", "2:1 E102 key 'a' is written twice in the same mapping; the other one is in "
         "line 1, column 1: keep one of them"),
        ("a: 1\n---\nb: 1", "2:1 E101 a second document begins here; write one machine per file"),
        ("%YAML 1.1\n---\non: 1", "2:1 E101 machines are written in YAML 1.2; remove the %YAML"),
        ("a: !!str 3", "1:4 E101 tags are not used here; remove 'tag:yaml.org,2002:str'"),
        ("a: !x {}", "1:4 E101 tags are not used here; remove '!x'"),
        ("a: !!python/object/apply:os.system [ls]", "1:4 E101 tags are not used here"),
        ("? [a]\n: 1", "1:3 E101 a key is one plain text, not a collection"),
        ("a: *x", "1:4 E101 the alias '*x' names nothing: no '&x' stands before it"),
        ("a: &x [*x]", "1:8 E101 the alias '*x' stands inside of what it names"),
        ("[" * 5000, "1:51 E101 nested deeper than 50 levels"),
        ("a: &x [[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"
         "b: [[[[[[[[[[[[[[[[[[[[[[[[[*x]]]]]]]]]]]]]]]]]]]]]]]]]",
         "2:28 E101 nested deeper than 50"),
        (BOMB, "6:5 E101 this expands to more than 100,000 values"),
        ('"\\UFFFFFFFF"', "1:1 E101 not YAML: "),
        ('"\\ud800"', "1:1 E101 this text has half of a character (a surrogate)"),
        ("x" * (MAX_CHARACTERS + 1), "1:1 E101 the text is longer than 1,000,000 characters"),
    ],
    ids=range(21),
)  # fmt: skip
def test_problem(text: str, problem: str) -> None:
    """Whatever is wrong with the text is a problem with its place, and never another exception."""
    _, problems = read(text)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"d.yaml:{problem}")


def test_a_character_in_two_halves_is_one() -> None:
    """JSON is YAML, and writes what is beyond 16 bits as two surrogates."""
    problems = Problems("m.yaml")
    node = read_document(json.dumps(["\N{PARTY POPPER}"]), problems)
    assert isinstance(node, SequenceNode)
    assert [getattr(item, "value", None) for item in node.items] == ["\N{PARTY POPPER}"]
