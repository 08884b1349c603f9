"""Two versions in words: whatever changes the hash is told, once, where it stands."""

from __future__ import annotations

import pytest

from event_center.machine import parse
from event_center.machine.comparison import differences, renamed, without_place

OLD = """
machine: job
version: 1
initial: new
data: {n: 1}
events: {go: , end: , fix: {missing: reject}}
on: {fix: new}
states:
  new:
    on: {go: [{target: busy, guard: =payload.n > 1}, busy]}
    after: {1h: {target: failed, assign: {n: 3}}}
  busy: {entry: work, on: {end: done}}
  done: {type: final}
  failed: {type: final, result: failure}
"""
GO = "state 'new', event 'go', branch"
GONE = """state 'busy', entry is gone; it was [["work", [3, 1000, 2.0, 60000, "none"], 30000, false]]"""
CASES = [
    ("n: 1}", "n: 2}", ["data, n: 2 instead of 1"]),
    ("n: 1}", "n: 1, m: 0}", ["data, m is new: 0"]),
    ("{n: 1}", "{m: 0}", ["data, n is gone; it was 1", "data, m is new: 0"]),
    ("version: 1", "version: 2", ["version: 2 instead of 1"]),
    ("initial: new", "initial: busy", ["initial: busy instead of new"]),
    ("target: busy, guard", "target: new, guard", [f"{GO} 1, target: new instead of busy"]),
    ("n > 1", "n > 2", [f"{GO} 1, guard: =payload.n > 2 instead of =payload.n > 1"]),
    (", busy]}", "]}", [f"{GO} 2 is gone"]),
    ("1h:", "2h:", ["state 'new', timer '1h' is gone", "state 'new', timer '2h' is new"]),
    ("n: 3}", "n: =now}", ["state 'new', timer '1h', branch 1, assign, n: =now instead of 3"]),
    ("entry: work,", "", [GONE]),
    ("{type: final}", "{type: final, title: a}", []),
    ("missing: reject", "missing: create", ["event 'fix': create instead of reject"]),
    ("{fix: new}", "{fix: busy}", ["event 'fix', branch 1, target: busy instead of new"]),
    ("failure", "cancelled", ["state 'failed', result: cancelled instead of failure"]),
    ("version: 1", "version: 1\nunhandled: ignore", ["unhandled: ignore instead of reject"]),
    ("version: 1", "version: 1\ntitle: A job", []),
]


@pytest.mark.parametrize(("before", "after", "expected"), CASES)
def test_a_change_in_words(before: str, after: str, expected: list[str]) -> None:
    """Each kind of change is a sentence that says where it is and what it was."""
    old, new = parse(OLD), parse(OLD.replace(before, after, 1))
    assert differences(old, new) == expected
    assert (new.hash == old.hash) == (not expected)


def test_states_without_a_place() -> None:
    """Who would be parked is named, unless `migrate` maps the state."""
    old = parse(OLD)
    text = OLD.replace("busy", "working").replace("version: 1", "version: 2")
    assert without_place(old, parse(text)) == ["busy"]
    assert renamed(old, parse(text)) == {"busy": "working"}
    mapped = parse(f"{text}\nmigrate: {{from: 1, states: {{busy: working}}}}\n")
    assert without_place(old, mapped) == []


def test_no_guess_at_a_name_where_two_would_do() -> None:
    """Of two new states that say the same nobody knows which is meant."""
    text = OLD.replace("busy", "working").replace("version: 1", "version: 2")
    twice = text.replace("  done:", "  second: {entry: work, on: {end: done}}\n  done:")
    twice = twice.replace(", working]}", ", second]}")
    assert renamed(parse(OLD), parse(twice)) == {}
