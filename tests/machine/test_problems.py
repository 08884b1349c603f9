"""Every problem of a definition: its code, its position, its message; and all of them in one pass."""

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
    """A machine whose state RUNNING (from line 5, keys in column 5) has this body."""
    return (
        "machine: m\nversion: 1\ninitial: START\nstates:\n"
        f"  RUNNING:\n{body}\n"
        "  START: {on: {GO: RUNNING}}\n"
        "  DONE: {type: final}\n"
        f"{root}"
    )


RUNNING = [
    # One body of RUNNING, which begins in line 6, and the one problem that it has.
    ("    on: {STOP: DONE, STOP: DONE}", "6:22 E102 key 'STOP' is written twice in the same mapping; "
     "the other one is in line 6, column 10: keep one of them"),
    ("    on: {STOP: DONE}\n    after: {30: DONE}", "7:13 E103 '30' is not a duration; write e.g. "
     "500ms, 30s, 5m, 24h, 3d"),
    ("    on: {STOP: DONE}\n    after: {1.5h: DONE}", "7:13 E103 '1.5h' is not a duration"),
    ("    on: {STOP: DONE}\n    after: {0s: DONE}", "7:13 E103 '0s' is too short here; it is at least"),
    ("    on: {STOP: DONE}\n    after: {36501d: DONE}", "7:13 E103 '36501d' is longer than a hundred"),
    ("    on: {STOP: DONE}\n    entyr: x", "7:5 E104 'entyr' is not a key of a state; did you mean "
     "'entry'?"),
    ("    on: {STOP: DONE}\n    outcome: x", "7:5 E104 'outcome' is not a key of a state; did you mean "
     "'result'?"),
    ("    on: {STOP: DONE}\n    1: x", "7:5 E104 '1' is not a key of a state; the keys are"),
    ("    on: {STOP: {to: DONE}, END: DONE}", "6:17 E104 'to' is not a key of a branch; did you mean "
     "'target'?"),
    ("    on: {STOP: {target: DONE, repeat: true}}", "6:31 E104 'repeat' is not a key of a branch"),
    ("    on: {STOP: DONE}\n    exit: {do: x, eager: true}", "7:19 E104 'eager' is not a key of a"),
    ("    on: {STOP: DONE}\n    type: finl", "7:11 E106 'finl' is not a value of type; did you mean "
     "'final'?"),
    ("    on: {STOP: DONE}\n    result: success", "7:13 E106 only a final state has a result; add "
     "`type: final`"),
    ("    on: {STOP: DONE}\n    unhandled: drop", "7:16 E106 'drop' is not a value of unhandled"),
    ("    on: {STOP: DONE}\n    unhandled: [x]", "7:16 E106 unhandled is one of reject, ignore, defer, "
     "dead_letter, not a list"),
    ("    on: {STOP: DONE}\n    perpetual: yes", "7:16 E106 perpetual is true or false, not the text"),
    ("    on: {STOP: DONE}\n    title: 3", "7:12 E106 title is a text, not the number 3; put it in quotes"),
    ("    on: {STOP: DONE}\n    tags: [a, {}]", "7:15 E106 a tag is a text, not a mapping"),
    ("    on: {STOP: DONE}\n    meta: {x: .inf}", "7:15 E106 a number is too large or is not a number"),
    ("    on: [STOP]\n    after: {1s: DONE}", "6:9 E106 events are written as a mapping, not as a list"),
    ("    on: {404: DONE, X: DONE}", "6:10 E106 the name of an event is a text, not the number 404; put it "
     "in quotes"),
    ("    on: {'a|b': DONE, X: DONE}", "6:10 E106 the name of an event does not begin with '@' and has no"),
    ('    on: {"a\\tb": DONE, X: DONE}', "6:10 E106 the name of an event does not begin with '@'"),
    ("    on: {'@x': DONE, X: DONE}", "6:10 E106 the name of an event does not begin with '@'"),
    ("    on: {'': DONE, X: DONE}", "6:10 E106 the name of an event has 1 to 200 characters"),
    ("    on: {X: DONE, Y: }", "6:21 E106 a branch is a target or a mapping, not nothing"),
    ("    on: {X: DONE, Y: []}", "6:22 E106 this list of branches is empty"),
    ("    on: {X: DONE, Y: [[DONE]]}", "6:23 E106 a branch is a target or a mapping, not a list"),
    ("    on: {X: DONE, Y: {target: 3}}", "6:31 E106 the name of a target is a text, not the number 3"),
    ("    on: {X: DONE, Y: {reenter: true}}", "6:32 E106 reenter needs a target"),
    ("    on: {X: DONE}\n    after: {1s: {target: DONE, repeat: true}}", "7:40 E106 repeat is for a "
     "branch without a target"),
    ("    on: {X: DONE}\n    after: [1s]", "7:12 E106 `after` maps durations to branches; this is a list"),
    ("    on: {X: {target: DONE, guard: 3}}", "6:35 E106 a guard is a name, an expression or not/and/or"),
    ("    on: {X: {target: DONE, guard: {not: a, or: [b]}}}", "6:35 E106 a guard has exactly one of"),
    ("    on: {X: {target: DONE, guard: {}}}", "6:35 E106 a guard has exactly one of"),
    ("    on: {X: {target: DONE, guard: {and: []}}}", "6:41 E106 'and' has a list of guards, not a list"),
    ("    on: {X: {target: DONE, guard: 'a b'}}", "6:35 E106 'a b' can not name a guard"),
    ("    on: {X: {target: DONE, guard: {nto: a}}}", "6:36 E104 'nto' is not a key of a guard; did you"),
    ("    on: {X: {target: DONE, assign: x}}", "6:36 E106 assign maps keys of data to values; this is"),
    ("    on: {X: {target: DONE, assign: {a: 99999999999999999999}}}", "6:40 E106 a number has more than "
     "64 bits"),
    ("    on: {X: {target: DONE, actions: a-b}}", "6:37 E106 'a-b' can not name a callback"),
    ("    on: {X: {target: DONE, before: []}}", "6:36 E106 this list of before callbacks is empty"),
    ("    on: {X: DONE}\n    entry: {retry: none}", "7:12 E106 a callback needs the key 'do'"),
    ("    on: {X: DONE}\n    entry: {do: x, timeout: 5}", "7:29 E103 '5' is not a duration"),
    ("    on: {X: DONE}\n    entry: {do: x, eager: 1}", "7:27 E106 eager is true or false, not the number"),
    ("    on: {X: DONE}\n    entry: {do: x, retry: {max_attempts: 0}}", "7:42 E106 max_attempts is at "
     "least 1"),
    ("    on: {X: DONE}\n    entry: {do: x, retry: {max_attempts: 1.5}}", "7:42 E106 max_attempts is a "
     "whole number, not 1.5"),
    ("    on: {X: DONE}\n    entry: {do: x, retry: {backoff_rate: .nan}}", "7:42 E106 backoff_rate is a "
     "number, not the number nan"),
    ("    on: {X: DONE}\n    entry: {do: x, retry: {jitter: ful}}", "7:36 E106 'ful' is not a value of "
     "jitter; did you mean 'full'?"),
    ("    on: {STOP: DNE}", "6:16 E202 target 'DNE' of 'STOP' in 'RUNNING' is not a declared state; did "
     "you mean 'DONE'?"),
    ("    on: {STOP: DONE}\n    after: {1s: {target: Q}}", "7:26 E202 target 'Q' of 'after 1s' in "
     "'RUNNING' is not a declared state; the states are 'RUNNING', 'START', 'DONE'"),
    ("    on: {STOP: DONE}\n    on_error: DOEN", "7:15 E202 target 'DOEN' of 'on_error' in 'RUNNING'"),
    ("    on: {STOP: [DONE, {target: START, guard: g}]}", "6:23 E204 unreachable branch: branch 1 of "
     "'STOP' in 'RUNNING' has no guard and always wins, so this branch can never be taken"),
    ("    type: final\n    on: {GO: DONE}", "7:9 E205 final state 'RUNNING' can not have 'on'; remove it"),
    ("    type: final\n    exit: x", "7:11 E205 final state 'RUNNING' can not have 'exit'"),
    ("    on: {STOP: DONE}\n    on_done: DONE", "7:14 E212 on_done of 'RUNNING' can never happen"),
    ("    on: {STOP: START}", "5:3 E208 state 'RUNNING' can not reach a final state (from it there are "
     "only 'RUNNING', 'START'); add a way to an end, or mark a state `perpetual: true`"),
    ("    on: {STOP: RUNNING}", "5:3 E209 state 'RUNNING' has no way out and is not final: a workflow "
     "that enters it stays forever; add a way out, `type: final`, or `perpetual: true`"),
    ("    on: {X: {target: DONE, guard: =payload.x(1)}}", "6:35 E303 expression '=payload.x(1)': a call "
     "is not part of the language"),
    ("    on: {X: {target: DONE, guard: =event.reason}}", "6:35 E303 an event has name, id, time and "
     "headers, but no 'reason'; did you mean payload.reason?"),
    ("    on: {X: {target: DONE, assign: {a: {b: [=event.x]}}}}", "6:45 E303 an event has name"),
    ("    on: {X: {target: DONE, assign: {a: =payload.x +}}}", "6:40 E303 expression '=payload.x +': not "
     "an expression"),
    ("    on: {STOP: DONE}\n    entry: {do: x, retry: qick}", "7:27 E305 retry policy 'qick' is not "
     "declared in `retries`; the policies are 'none'"),
    ("    on: {STOP: DONE}\n    entry: [x, {do: x}]", "7:16 E306 callback 'x' runs twice in entry of "
     "'RUNNING'"),
    ("    exit: x\n    on: {X: {target: DONE, actions: x}}", "7:37 E306 callback 'x' runs twice in the "
     "transition on 'X' in 'RUNNING'"),
    ("    on: {X: {target: DONE, guard: =data.cuont > 1, assign: {count: 1}}}", "6:35 E308 data has no "
     "key 'cuont'; did you mean 'count'?"),
    ("    on: {X: {target: DONE, assign: {a: =data.zzz}}}", "6:40 E308 data has no key 'zzz'; declare it "
     "with its default in `data`"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), RUNNING, ids=range(len(RUNNING)))
def test_problem_of_a_state(body: str, expected: str) -> None:
    """One mistake in a state gives one problem, at the place of the mistake."""
    text = with_running(body)
    if "E207" not in expected and "DONE" not in body.replace("DNE", "").replace("DOEN", ""):
        text = text.replace("START: {on: {GO: RUNNING}}", "START: {on: {GO: RUNNING, B: DONE}}")
    if "E208" in expected:
        text = text.replace(", B: DONE", "").replace("  DONE: {type: final}\n", "")
    found = problems(text)
    if "E208" in expected:
        assert len(found) == 2
        assert "state 'START' can not reach a final state" in found[1]
    else:
        assert len(found) == 1, found
    assert found[0].startswith(f"m.yaml:{expected}")


LATER_IN_STATE = "states initial always defer invoke emit raise history timeout on_timeout".split()
LATER_IN_MACHINE = "timeout migrate tests invoke always defer emit raise after context_type".split()
LATER_IN_BRANCH = "emit raise invoke errors with".split()


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
    ("body", "expected"),
    [
        ("    on: {X: DONE}\n    type: parallel", "7:11 E105 `type: parallel` is not supported"),
        ("    on: {X: DONE}\n    type: choice", "7:11 E105 `type: choice` is not supported"),
        ("    on: {X: DONE, '*': DONE}", "6:19 E105 '*' is not supported by this release"),
        ("    on: {X: DONE}\n    after: {=data.at: DONE}", "7:13 E105 `after` with an expression"),
        ("    on: {X: DONE}\n    on_error: [{errors: [x], target: DONE}]", "7:17 E105 'errors' is not"),
        ("    on: {X: {target: DONE, guard: {in: START}}}", "6:36 E105 'in' is not supported"),
        ("    on: {X: DONE}\n    entry: {do: x, with: {a: 1}}", "7:20 E105 'with' is not supported"),
        ("    on: {X: DONE}\n    entry: {do: x, retry: {errors: []}}", "7:28 E105 'errors' is not"),
        ("    <<: {on: {X: DONE}}\n    on: {Y: DONE}", "6:5 E105 '<<' is not supported"),
    ],
)
def test_later_value(body: str, expected: str) -> None:
    """Values and places of the wider language are refused by name too."""
    assert [found for found in problems(with_running(body)) if f"m.yaml:{expected}" in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("events: {GO: {schema: {}}, STOP: }", "11:15 E105 'schema' is not supported by this release"),
        ("events: {GO: {missing: hold}, STOP: }", "11:24 E105 `missing: hold` is not supported"),
        ("events: {GO: {missing: {hold: 10m}}, STOP: }", "11:24 E105 `missing: hold` is not"),
        ("events: {GO: {missing: crate}, STOP: }", "11:24 E106 'crate' is not a value of missing; did"),
        ("events: {GO: {mising: create}, STOP: }", "11:15 E104 'mising' is not a key of an event; did"),
        ("events: {G0: }", "9:10 E203 event 'STOP' is not declared in `events`; add it there"),
        ("events: {GO: , STP: }", "9:10 E203 event 'STOP' is not declared in `events`; did you mean "
         "'STP'?"),
        ("on: {PAUSE: DOEN}", "11:13 E202 target 'DOEN' of 'PAUSE' of the machine is not a declared"),
        ("on_failure: crash", "11:13 E106 'crash' is not a value of on_failure"),
        ("unhandled: 3", "11:12 E106 unhandled is one of reject, ignore, defer, dead_letter, not the"),
        ("retries: {none: {max_attempts: 2}}", "11:11 E106 'none' always means one attempt"),
        ("retries: {fast: {interval: 5}}", "11:28 E103 '5' is not a duration"),
        ("retries: {fast: 5}", "11:17 E106 a retry policy is a mapping, not the number 5"),
        ("retries: 5", "11:10 E106 retry policies are written as a mapping"),
        ("contxt: {}", "11:1 E104 'contxt' is not a key of a machine"),
        ("context: {}", "11:1 E104 'context' is not a key of a machine; did you mean 'data'?"),
        ("description: [x]", "11:14 E106 description is a text, not a list"),
    ],
)  # fmt: skip
def test_problem_of_the_machine(line: str, expected: str) -> None:
    """Mistakes in the keys of the machine itself."""
    found = problems(GOOD + line + "\n")
    assert any(one.startswith(f"m.yaml:{expected}") for one in found), found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("machine: order", "machine: a b", "1:10 E106 a machine's name has 1 to 100 letters"),
        ("machine: order", "machine: 3", "1:10 E106 the name of a machine is a text, not the number 3"),
        ("machine: order\n", "", "1:1 E106 a machine needs the key 'machine'"),
        ("version: 1", "version: 0", "2:10 E106 version is at least 1"),
        ("version: 1", "version: '1'", "2:10 E106 version is a number, not the text '1'"),
        ("version: 1", "version: true", "2:10 E106 version is a number, not true"),
        ("initial: START", "initial: STRAT", "3:10 E201 initial state 'STRAT' is not declared; did you "
         "mean 'START'?"),
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
    text = with_running("    exit: note\n    on: {X: DONE}", "on: {STOP: {target: DONE, actions: note}}\n")
    assert problems(text) == [
        "m.yaml:10:36 E306 callback 'note' runs twice in the transition on 'STOP' in 'RUNNING': both runs "
        "would have the same idempotency key; give one of them another name"
    ]


def test_all_in_one_pass_in_the_order_of_the_file() -> None:
    """All problems come at once, sorted by position; graph checks wait until names are right."""
    text = GOOD.replace("GO: RUNNING", "GO: RUNING").replace("initial", "inital").replace("0}", "0, a: =x}")
    found = problems(text + "on_failure: stop\n")
    assert [one.split()[1] for one in found] == ["E106", "E104", "E106", "E202", "E106"]
    assert found == sorted(found, key=lambda one: [int(part) for part in one.split()[0].split(":")[1:]])


def test_perpetual_switches_the_ends_off() -> None:
    """A machine without an end says so; then loops and resting states are no mistakes."""
    text = with_running("    on: {STOP: START}").replace("  DONE: {type: final}\n", "")
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
