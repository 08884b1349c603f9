"""
Random machines beside an interpreter that others wrote: python-statemachine, which follows SCXML.

Each machine is written twice and hears the same events; after each the same states must be active, with
the same data. `scripts/fuzz statecharts` does it for as many as one likes. What the two mean differently
is not drawn (`statecharts`), and each such thing has a test here that names the reason.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statemachine.statemachine import StateChart

from event_center.machine import parse
from event_center.machine.trial import Trial
from tests.machine.peer import Bounded, EndlessStep, Peer, compared, leaves_of
from tests.machine.statecharts import Body, statechart

EXAMPLES = 500
RICH = 0.3


@pytest.mark.slow
def test_a_peer_is_in_the_same_states(capsys: pytest.CaptureFixture[str]) -> None:
    """Over 500 random machines: the same states and data after each event as in python-statemachine."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.randoms())
    def beside(random_: random.Random) -> None:
        seen[compared(statechart(random_), random_, seen)] += 1

    beside()
    with capsys.disabled():
        print("\nbeside python-statemachine:", dict(sorted(seen.items())))
    assert seen["machines"] >= EXAMPLES * 0.6
    assert seen["rich machines"] >= seen["machines"] * RICH
    for shape in ("deep", "parallel", "shallow history", "deep history", "on_done", "raise"):
        assert seen[f"machines with {shape}"] >= seen["machines"] * 0.1, shape


def machine(states: Body, on: Body | None = None) -> Body:
    """A machine that begins in the first of its states."""
    return {
        "machine": "m", "version": 1, "initial": next(iter(states)), "perpetual": True,
        "data": {"flag": False}, "on": on or {}, "states": states,
    }  # fmt: skip


def both(document: Body, *events: str) -> tuple[str, str]:
    """Where a machine is after these events here, and where the peer is."""
    read = parse(json.dumps(document))
    trial, peer = Trial(read), Peer(document)
    for name in events:
        trial.send(name)
        peer.send(name)
    return trial.snapshot.state, peer.active(leaves_of(read))


DEVICE = machine({
    "work": {
        "initial": "idle",
        "on": {"fault": [{"target": "broken"}]},
        "states": {
            "idle": {"on": {"begin": [{"target": "fast"}]}},
            "measuring": {"initial": "slow", "states": {"slow": {}, "fast": {}}},
            "back": {"type": "history", "history": "deep"},
        },
    },
    "broken": {"on": {"repaired": [{"target": "back"}], "slow": [{"target": "slow"}]}},
})  # fmt: skip


def test_the_comparison_sees_a_difference() -> None:
    """The twin: with another kind of history on the peer's side, the two do not agree."""
    other = copy.deepcopy(DEVICE)
    other["states"]["work"]["states"]["back"]["history"] = "shallow"
    events = ("begin", "fault", "repaired")
    assert both(DEVICE, *events) == ("fast", "fast")
    peer = Peer(other)
    for name in events:
        peer.send(name)
    assert peer.active(["slow", "fast"]) == "slow"


# -- found by the comparison ---------------------------------------------------------------------


def to(target: str) -> Body:
    """A state that `e` leads out of."""
    return {"on": {"e": [{"target": target}]}}


def region(name: str, **more: Any) -> Body:
    """A region that `e` brings to its end."""
    begun: Body = {"on": {"e": [{"target": f"{name}2"}]}}
    return {
        "initial": f"{name}1",
        "states": {f"{name}1": begun, f"{name}2": {"type": "final"}},
    } | more


def test_what_is_around_regions_is_done_after_the_last_of_them() -> None:
    """Two regions that end in one step are done in their order, and then what is around them."""
    regions = {"l": region("l"), "r": region("r", on_done=[{"target": "y"}])}
    around = {"type": "parallel", "on_done": [{"target": "z"}], "states": regions}
    assert both(machine({"p": around, "y": {}, "z": {}}), "e") == ("y", "y")


def test_a_history_state_that_means_the_own_state_leads_out_of_it() -> None:
    """What is entered again was left: its callbacks are not owed twice, nor are there two timers."""
    trial = Trial(
        parse("""
        machine: m
        version: 1
        initial: p
        perpetual: true
        states:
          p:
            initial: c
            on: {out: q}
            states:
              back: {type: history}
              c:
                initial: c1
                entry: hello
                exit: bye
                after: {1h: q}
                on: {again: back}
                states: {c1: {on: {e: c2}}, c2: {}}
          q: {on: {in: back}}
    """)
    )
    for name in ("out", "in", "e", "again"):
        trial.send(name)
    assert (trial.snapshot.state, trial.actions) == ("c1", ("bye",))
    assert len(trial.snapshot.timers) == len(trial.snapshot.owed) == 1


# -- what the two mean differently ---------------------------------------------------------------


def test_what_is_around_regions_hears_only_what_none_of_them_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in XState; SCXML takes an inner and an outer branch together if one of them leaves nothing."""
    quiet = {"on": {"e": [{"assign": {"flag": True}}]}}
    around = {"type": "parallel", "states": {"l": quiet, "r": {}}, "on": {"e": [{"target": "z"}]}}
    document = machine({"p": around, "z": {}})
    assert both(document, "e") == ("l|r", "l|r")
    monkeypatch.delattr(Bounded, "_filter_conflicting_transitions")
    assert both(document, "e") == ("l|r", "z")


def test_a_branch_that_lost_still_keeps_the_event_from_what_is_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same rule: `b` would leave what `a` leaves; SCXML then asks what is around `b`."""
    inner = {"type": "parallel", "states": {"b": to("out"), "c": {}}, **to("y")}
    right = {"initial": "i", "states": {"i": inner, "y": {}}}
    left = {"initial": "a", "states": {"a": to("x"), "x": {}}}
    around = {"type": "parallel", "states": {"l": left, "r": right}}
    document = machine({"p": around, "out": {}})
    assert both(document, "e") == ("x|b|c", "x|b|c")
    monkeypatch.delattr(Bounded, "_filter_conflicting_transitions")
    assert both(document, "e") == ("x|b|c", "x|y")


def test_a_branch_to_the_active_leaf_is_internal() -> None:
    """The rule of flat machines; SCXML leaves the leaf, and so the other region, and enters it again."""
    left = {"initial": "a", "states": {"a": {}}}
    right = {"initial": "b", "states": {"b": {"on": {"f": [{"target": "c"}]}}, "c": {}}}
    around = {"type": "parallel", "states": {"l": left, "r": right}, "on": {"e": [{"target": "a"}]}}
    assert both(machine({"p": around}), "f", "e") == ("a|c", "a|b")


def test_a_compound_state_that_is_its_own_target_stays() -> None:
    """What is inside begins anew, as the target says; SCXML leaves the state too, which a history tells."""
    inside = {"a": {"on": {"f": [{"target": "b"}]}}, "b": {}}
    region_ = {"initial": "a", "states": inside, "on": {"e": [{"target": "c"}]}}
    other = {"initial": "x", "states": {"x": {"on": {"f": [{"target": "y"}]}}, "y": {}}}
    around = {"type": "parallel", "states": {"c": region_, "o": other}}
    assert both(machine({"p": around}), "f", "e") == ("a|y", "a|x")


def test_a_region_that_is_parallel_tells_what_is_around_it() -> None:
    """All that is around and has ended is done; SCXML asks only the parent and its parent."""
    inner = {"type": "parallel", "states": {"l": region("l"), "r": region("r")}}
    around: Body = {"type": "parallel", "states": {"i": inner, "o": region("o")}}
    around["on_done"] = [{"target": "z"}]
    assert both(machine({"p": around, "z": {}}), "e")[0] == "z"
    del around["states"]["o"]["states"]["o1"]["on"]["e"]
    around["states"]["o"]["states"]["o1"]["on"]["f"] = [{"target": "o2"}]
    assert both(machine({"p": around, "z": {}}), "f", "e") == ("z", "l2|r2|o2")


def test_a_step_has_a_hundred_microsteps_at_most() -> None:
    """Here a machine that never rests is an error (E210); SCXML goes on for ever."""
    states: Body = {"a": {"on": {"e": [{"raise": "e"}]}}}
    with pytest.raises(Exception, match="E210"):
        both(machine(states), "e")
    with pytest.raises(EndlessStep):
        Peer(machine(states)).send("e")


# -- what is put right of the peer ---------------------------------------------------------------


def test_the_first_region_in_the_document_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two regions would leave the same states; once more without it, the one entered first wins."""
    left = {"initial": "a", "states": {"a": {"on": {"f": [{"target": "b"}]}}, "b": to("x")}}
    around = {"type": "parallel", "states": {"l": left, "r": to("y")}}
    document = machine({"p": around, "x": {}, "y": {}})
    assert both(document, "f", "e") == ("x", "x")
    monkeypatch.setattr("tests.machine.peer._in_order", StateChart._build_configuration)
    assert both(document, "f", "e") == ("x", "y")


def test_what_a_branch_to_a_history_state_raises_is_heard_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The peer does what such a branch does once more when it enters the state around the history."""
    inside = {"a": to("b"), "b": to("c"), "c": {}, "h": {"type": "history", "history": "shallow"}}
    states: Body = {"q": {"on": {"f": [{"target": "h", "raise": "e"}]}}}
    document = machine(states | {"p": {"initial": "a", "states": inside}})
    assert both(document, "f") == ("b", "b")
    monkeypatch.delattr(Bounded, "compute_entry_set")
    assert both(document, "f") == ("b", "c")
