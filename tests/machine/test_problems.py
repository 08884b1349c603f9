"""
Every problem of a definition: its code, its position, its message; and all of them in one pass.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center.errors import DefinitionError
from event_center.machine import load, parse

GOOD = """\
machine: order
version: 1
initial: START
data: {count: 0}
states:
  START: {on: {GO: RUNNING}}
  RUNNING:
    entry: begin
    on: {STOP: DONE}
  DONE: {type: final}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        parse(text, "m.yaml")
    return [str(problem) for problem in caught.value.problems]


def with_running(body: str, root: str = "") -> str:
    """A machine whose state RUNNING, from line 6 on, has this body."""
    return (
        "machine: m\nversion: 1\ninitial: START\nstates:\n"
        f"  RUNNING:\n{body}\n"
        "  START: {on: {GO: RUNNING, B: DONE}}\n"
        "  DONE: {type: final}\n"
        f"{root}"
    )


def cases(name: str) -> list[tuple[str, list[str]]]:
    """Blocks of a file beside this one: some lines of YAML, and after each `=> ` one problem."""
    blocks = (Path(__file__).parent / name).read_text("utf-8").rstrip("\n").split("\n\n")
    split = [block.split("\n=> ") for block in blocks]
    return [(lines, expected) for lines, *expected in split]


@pytest.mark.parametrize(("body", "expected"), cases("problems_of_states.txt"))
def test_problems_of_a_state(body: str, expected: list[str]) -> None:
    """Each mistake in a state gives its problem, at the place of the mistake."""
    assert problems(with_running(body)) == [f"m.yaml:{problem}" for problem in expected]


@pytest.mark.parametrize(("line", "expected"), cases("problems_of_machines.txt"))
def test_problems_of_a_machine(line: str, expected: list[str]) -> None:
    """Each mistake in a key of the machine gives its problem; the line is the eleventh."""
    assert problems(f"{GOOD}{line}\n") == [f"m.yaml:{problem}" for problem in expected]


def test_livelock() -> None:
    """States that loop without a way to an end are each reported."""
    text = with_running("    on: {STOP: START}").replace(", B: DONE", "")
    text = text.replace("  DONE: {type: final}\n", "")
    end = (
        "can not reach a final state (from it there are only 'RUNNING', 'START'); "
        "add a way to an end, or mark a state `perpetual: true`"
    )
    assert problems(text) == [
        f"m.yaml:5:3 E208 state 'RUNNING' {end}; it is reached by 'GO'",
        f"m.yaml:7:3 E208 state 'START' {end}",
    ]


LATER_IN_STATE = [
    "timeout",
    "on_timeout",
]
LATER_IN_MACHINE = [
    "always",
    "defer",
    "after",
    "context_type",
]
LATER_IN_BRANCH = ["with"]


@pytest.mark.parametrize("key", LATER_IN_STATE)
def test_later_key_of_a_state(key: str) -> None:
    """What this release does not build is refused by name, not passed over."""
    found = problems(with_running(f"    on: {{X: DONE}}\n    {key}: x"))
    assert found == [f"m.yaml:7:5 E105 '{key}' is not supported by this release"]


@pytest.mark.parametrize("key", LATER_IN_MACHINE)
def test_later_key_of_a_machine(key: str) -> None:
    """As for states: machine-wide keys of later releases are refused by name."""
    found = problems(GOOD + f"{key}: x\n")
    assert found == [f"m.yaml:11:1 E105 '{key}' is not supported by this release"]


@pytest.mark.parametrize("key", LATER_IN_BRANCH)
def test_later_key_of_a_branch(key: str) -> None:
    """As for states: keys of branches of later releases are refused by name."""
    found = problems(with_running(f"    on: {{X: {{target: DONE, {key}: x}}}}"))
    assert found == [f"m.yaml:6:28 E105 '{key}' is not supported by this release"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("machine: order", "machine: a b", "1:10 E106 a machine's name has 1 to 100 letters"),
        ("machine: order", "machine: 3",
         "1:10 E106 the name of a machine is a text, not the number 3"),
        ("machine: order\n", "", "1:1 E106 a machine needs the key 'machine'"),
        ("version: 1", "version: 0", "2:10 E106 version is at least 1"),
        ("version: 1", "version: '1'", "2:10 E106 version is a number, not the text '1'"),
        ("version: 1", "version: true", "2:10 E106 version is a number, not true"),
        ("initial: START", "initial: STRAT",
         "3:10 E201 initial state 'STRAT' is not declared; did you mean 'START'?"),
        ("initial: START", "initial: DONE", "3:10 E201 initial state 'DONE' is final"),
        ("{count: 0}", "[]", "4:7 E106 data maps keys to their defaults; this is a list"),
        ("{count: 0}", "{a: =now}", "4:11 E106 '=now' looks like an expression"),
        ("{count: 0}", "{1: 0}", "4:8 E106 a key is a text, not the number 1"),
        ("  DONE: {type: final}", "  DONE: {type: final}\n  LOST: {on: {X: DONE}}",
         "11:3 E207 state 'LOST' can never be entered from 'START'; connect it or remove it"),
        ("  DONE: {type: final}", "  DONE: {type: final}\n  '': {type: final}",
         "11:3 E106 the name of a state has 1 to 200 characters"),
    ],
)  # fmt: skip
def test_problem_of_the_frame(old: str, new: str, expected: str) -> None:
    """Mistakes in what every machine has."""
    found = problems(GOOD.replace(old, new))
    assert any(one.startswith(f"m.yaml:{expected}") for one in found), found


def test_root_callbacks_and_exits() -> None:
    """A branch of the machine runs with the exit of each state, so their names must differ."""
    text = with_running(
        "    exit: note\n    on: {X: DONE}", "on: {STOP: {target: DONE, actions: note}}\n"
    )
    assert problems(text) == [
        "m.yaml:10:36 E306 callback 'note' runs twice in the transition on 'STOP' in 'RUNNING': "
        "both runs would have the same idempotency key; give one of them another name"
    ]


def test_all_in_one_pass_in_the_order_of_the_file() -> None:
    """All problems come at once, sorted by position; graph checks wait until names are right."""
    text = (
        GOOD.replace("GO: RUNNING", "GO: RUNING")
        .replace("initial", "inital")
        .replace("0}", "0, a: =x}")
    )
    found = problems(text + "on_failure: stop\n")
    assert [one.split()[1] for one in found] == ["E106", "E104", "E106", "E202", "E106"]
    assert found == sorted(
        found, key=lambda one: [int(part) for part in one.split()[0].split(":")[1:]]
    )


def test_perpetual_switches_the_ends_off() -> None:
    """A machine without an end says so; then loops and resting states are no mistakes."""
    text = with_running("    on: {STOP: START}").replace("  DONE: {type: final}\n", "")
    text = text.replace(", B: DONE", "")
    assert parse(text + "perpetual: true\n").perpetual
    assert parse(text.replace("RUNNING:\n", "RUNNING:\n    perpetual: true\n")).states


def test_unreadable_file(tmp_path: Path) -> None:
    """A file that is missing, or is not UTF-8, is a problem of that file like any other."""
    missing = tmp_path / "no.yaml"
    with pytest.raises(DefinitionError, match=r"no\.yaml:1:1 E101 can not be read: No such file"):
        load(missing)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"machine: x\ntitle: caf\xe9\n")
    with pytest.raises(DefinitionError, match=r"latin\.yaml:2:11 E101 not UTF-8"):
        load(latin)
    good = tmp_path / "good.yaml"
    good.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(good).source == str(good)
