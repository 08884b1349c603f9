"""
Properties over random machines, events and texts: the table is right, and loading never crashes.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_center.errors import DefinitionError
from event_center.machine import Machine, parse
from event_center.machine.decision import Refused
from event_center.model import Event, Snapshot, Timer
from tests.machine import naive

STATES = ["A", "B b", "C", "D"]
EVENTS = ["go", "stop now", "x"]
DELAYS = ["5s", "1m"]
BOOLS = st.booleans()


def some(values: list[str], least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.permutations(values).flatmap(
        lambda order: st.integers(least, len(order)).map(lambda size: order[:size])
    )


def branch(draw: Any, *, timer: bool, guarded: bool) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if draw(BOOLS):
        made["target"] = draw(st.sampled_from(STATES))
        if draw(BOOLS):
            made["reenter"] = draw(BOOLS)
    elif timer and draw(BOOLS):
        made["repeat"] = draw(BOOLS)
    if guarded:
        made["guard"] = draw(st.sampled_from(["=payload.p", "=payload.q", "=data.n"]))
    if draw(BOOLS):
        made["before"] = draw(some(["b1", "b2"], 1))
    if draw(BOOLS):
        made["actions"] = draw(some(["a1", "a2"], 1))
    if draw(BOOLS):
        values = st.sampled_from(
            ["=payload.p", "=data.n", "=data.m", "text", 3, None, [1, {"k": "v"}]]
        )
        made["assign"] = {key: draw(values) for key in draw(some(["n", "m"]))}
    return made


def way(draw: Any, *, timer: bool = False) -> Any:
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(STATES))
    guarded = draw(st.integers(0, 2))
    drawn = [branch(draw, timer=timer, guarded=True) for _ in range(guarded)]
    drawn.append(branch(draw, timer=timer, guarded=draw(BOOLS)))
    # The same guard a second time is refused: such a branch could never be taken.
    branches = list({one.get("guard"): one for one in drawn}.values())
    return branches[0] if len(branches) == 1 and draw(BOOLS) else branches


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    """Flat machines as plain mappings; D is final, and root branches make all states reachable."""
    states: dict[str, Any] = {}
    for name in STATES[:3]:
        body: dict[str, Any] = {"on": {event: way(draw) for event in draw(some(EVENTS))}}
        if draw(BOOLS):
            body["entry"] = draw(some(["e1", "e2", "e3"], 1))
        if draw(BOOLS):
            body["exit"] = draw(some(["x1", "x2"], 1))
        if draw(BOOLS):
            jobs = draw(some(["j1", "j2"], 1))
            body["invoke"] = [
                {"do": job, "on_done": way(draw), "on_error": way(draw)} for job in jobs
            ]
        if draw(BOOLS):
            body["after"] = {delay: way(draw, timer=True) for delay in draw(some(DELAYS))}
        if draw(BOOLS):
            body["unhandled"] = draw(st.sampled_from(["ignore", "reject", "dead_letter"]))
        states[name] = body
    states["D"] = {"type": "final", "result": draw(st.sampled_from(["success", "cancelled"]))}
    root = {f"to {name}": name for name in STATES}
    root |= {event: way(draw) for event in draw(some(EVENTS))}
    return {
        "machine": "m",
        "version": 1,
        "initial": "A",
        "data": {"n": 0, "m": "old"},
        "on": root,
        "states": states,
    }


def snapshot_of(before: dict[str, Any]) -> Snapshot:
    snapshot = Snapshot("w", "m", 1, before["state"])
    snapshot.data = before["data"]
    snapshot.seq = before["seq"]
    snapshot.timers = tuple(Timer(*timer) for timer in before["timers"])
    return snapshot


def told(
    machine: Machine, before: dict[str, Any], event: tuple[str, Any], now_ms: int
) -> dict[str, Any]:
    """The machine's decision in the words of the naive interpreter."""
    decision = machine.step(snapshot_of(before), Event(*event), now_ms)
    if isinstance(decision, Refused):
        return {
            "refused": decision.reason,
            "unhandled": decision.unhandled,
            "detail": decision.detail,
        }
    timers = before["timers"] if decision.timers is None else decision.timers
    return {
        "target": decision.target,
        "entered": decision.entered,
        "decide": [action.name for action in decision.decide],
        "data": before["data"] if decision.data is None else decision.data,
        "timers": [tuple(timer) for timer in timers],
        "owed": list(decision.owed),
        "jobs": list(decision.jobs or ()),
        "result": decision.result,
    }


PAYLOADS = st.fixed_dictionaries({"p": st.sampled_from([0, 1, "y"]), "q": BOOLS})
ENDS = ("@done/@j1", "@done/@j2", "@error/@j1", "@error/@j2")
NAMES = st.sampled_from(
    [*EVENTS, *(f"to {name}" for name in STATES), "unheard", "@after/5s", "@after/1m", *ENDS]
)
STEPS = st.lists(st.tuples(NAMES, PAYLOADS, st.integers(0, 100_000)), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(documents(), STEPS)
def test_table_agrees_with_naive_interpreter(document: dict[str, Any], steps: Any) -> None:
    """
    Over random machines and runs, the compiled table decides what the rules say, and changes
    nothing.
    """
    # JSON is YAML, so the document is its own text.
    machine = parse(json.dumps(document))
    before: dict[str, Any] = {"state": "A", "data": {"n": 0, "m": "old"}, "seq": 0, "timers": []}
    now_ms = 1_000
    for name, payload, passed_ms in steps:
        now_ms += passed_ms
        kept = copy.deepcopy(before)
        expected = naive.step(document, before, (name, payload), now_ms)
        assert told(machine, before, (name, payload), now_ms) == expected
        assert before == kept
        if "target" in expected:
            before = {
                "state": expected["target"],
                "data": expected["data"],
                "seq": before["seq"] + 1,
                "timers": expected["timers"],
            }


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), st.randoms(use_true_random=False))
def test_hash_does_not_see_the_order_of_keys(document: dict[str, Any], random: Any) -> None:
    """
    The same definition with its keys in another order has the same hash, and decides the same.
    """
    turned = shuffled(document, random)
    assert parse(json.dumps(turned)).hash == parse(json.dumps(document, indent=1)).hash


def shuffled(value: Any, random: Any) -> Any:
    if not isinstance(value, dict):
        return value
    keys = list(value)
    random.shuffle(keys)
    return {key: shuffled(value[key], random) for key in keys}


TEXT = """\
machine: order # one
version: 1
initial: new
data: {reason: null, "n": 0}
events: {go: {missing: create}, stop: , halt: , twice: }
retries: {default: {max_attempts: 5, interval: 1s, jitter: full}}
on: {twice: both, halt: {target: done, guard: {not: {and: [g, =data.n > 1]}}}}
states:
  new: {on: {go: run}}
  run: &run
    entry: {do: start, retry: none, timeout: 10s}
    on:
      stop: [{target: done, guard: =payload.x == 1, assign: {reason: =payload.message}}, new]
    after: {24h: done, 5s: {actions: ping, repeat: true}}
    on_error: done
  done: {type: final, result: failure, tags: [a, 'b'], meta: {x: [1, 2.5, ~]}}
  both:
    type: parallel
    defer: [stop]
    states:
      left:
        initial: l1
        states: {l1: {on: {stop: l2}}, l2: {type: final}, back: {type: history, history: deep}}
      right: {initial: r1, states: {r1: {always: {target: r2, guard: {in: l2}}}, r2: {type: final}}}
    on_done: pick
  pick: {type: choice, always: [{target: back, guard: g, raise: go}, done]}
timeout: {90d: done}
"""
PIECES = st.sampled_from(
    ["[", "]", "{", "}", ": ", ", ", "- ", "&a ", "*a ", "*run", "<<: ", "!!str ", "!", "|", ">",
     "%", "?", "'", '"', "\\", "\n", "\n  ", "\t", "---\n", "...\n", "#", " #", "@", "`", "=", "==",
     "0x", "1e9", "-", "null", "true", "\0", "\x85", "\u2028", "\ufeff", "\ud800", "\u00e9",
     "\U0001f600", "\x07", "type: ", "invoke: ",
     "states: ", "initial: ", "history: ", "parallel", "l1", "both", "in: ",
     "target: ", "guard: ", "=payload.__class__", "=(",
     "30", ".inf", "9" * 30]
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, len(TEXT)), st.integers(0, 30), PIECES), min_size=1, max_size=6
)


def only_definition_errors(text: str) -> None:
    """Load the text: a machine that can step, or problems in order that have places."""
    try:
        machine = parse(text, "fuzz.yaml")
    except DefinitionError as error:
        problems = error.problems
    else:
        assert machine.step(Snapshot("w", "m", 1, machine.initial), Event("nobody's"), 0)
        return
    last = len(text.splitlines()) + 1
    assert problems
    assert all(1 <= one.line <= last and one.column >= 1 for one in problems)
    assert list(problems) == sorted(problems, key=lambda one: one[1:])


NODES = st.recursive(
    st.one_of(
        st.none(), BOOLS, st.integers(), st.floats(), st.sampled_from(["new", "=now", "5s", ""])
    ),
    lambda part: st.one_of(
        st.lists(part, max_size=3),
        st.dictionaries(
            st.sampled_from(["target", "do", "on", "not", "go", "1"]), part, max_size=3
        ),
    ),
    max_leaves=6,
)
LINES = TEXT.splitlines()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted({line.strip().split(":")[0] for line in LINES})), NODES)
def test_any_value_at_any_key(key: str, value: Any) -> None:
    """
    Any value under any key of a machine is read or refused with problems, never with a traceback.
    """
    written = json.dumps(value)
    lines = []
    for line in LINES:
        name, colon, _ = line.partition(":")
        lines.append(f"{name}{colon} {written}" if name.strip() == key else line)
    only_definition_errors("\n".join(lines))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(EDITS)
def test_any_edit(edits: list[tuple[int, int, str]]) -> None:
    """A machine with some of its text replaced is read or refused with problems."""
    text = TEXT
    for start, size, piece in edits:
        text = text[:start] + piece + text[start + size :]
    only_definition_errors(text)


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    """Any text at all gives problems, or a machine."""
    only_definition_errors(text)
