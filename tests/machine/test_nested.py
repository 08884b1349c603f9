"""States inside of states: what is left and entered, in which order, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.errors import DefinitionError, ExpressionError
from event_center.machine import Machine, parse
from event_center.machine.decision import Refused, Transition
from event_center.model import Event, Owed, Reason, Snapshot, Timer, Unhandled

NOW = 1_000
SHIPPING = """
machine: shipping
version: 1
initial: draft
data: {n: 0}
timeout: {7d: late}
on: {cancel: cancelled}
states:
  draft:
    on: {go: ship, pick: which, any: {target: draft}}
  which:
    type: choice
    always:
      - {target: ship, guard: =data.n > 2, actions: chose_ship}
      - {target: packed, guard: =payload, assign: {n: =data.n + 1}}
      - draft
  ship:
    type: parallel
    entry: open
    exit: close
    states:
      paying:
        initial: asked
        exit: end_paying
        states:
          asked: {entry: ask, exit: asked_out, on: {pay: paid, both: paid}, after: {5s: asked2}}
          asked2: {on: {pay: paid, nothing: {}}}
          paid: {type: final}
          last: {type: history}
      packing:
        initial: picking
        exit: end_packing
        states:
          picking: {on: {pack: packed, both: {target: packed, actions: both_packed}}, exit: picked}
          packed: {on: {seal: {target: sealed, guard: {in: paid}}}, defer: [pay]}
          sealed: {type: final}
        on: {again: {target: packing}, over: {target: packing, reenter: true}}
    on: {hold: {target: held, before: note}, into: packed, pay: {actions: log}}
    after: {1m: {actions: nag, repeat: true}}
    on_done: {target: done, actions: finished}
  held: {entry: rest, on: {go_on: last, deeper: ship, '*': {actions: log}}}
  done: {type: final}
  late: {type: final, result: failure}
  cancelled: {type: final, result: cancelled}
"""


@pytest.fixture(scope="module")
def shipping() -> Machine:
    return parse(SHIPPING)


def workflow(state: str, **parts: Any) -> Snapshot:
    snapshot = Snapshot("w", "shipping", 1, state)
    snapshot.data = {"n": 0}
    for name, value in parts.items():
        setattr(snapshot, name, value)
    return snapshot


def told(machine: Machine, snapshot: Snapshot, name: str, payload: Any = None) -> Any:
    """Target, decide callbacks and owed runs; of a refusal its reason."""
    decision = machine.step(snapshot, Event(name, payload), NOW)
    if isinstance(decision, Refused):
        return decision.reason
    return decision.target, [one.name for one in decision.decide], list(decision.owed)


@pytest.mark.parametrize(
    ("state", "event", "target", "decide", "owed"),
    [
        ("draft", "go", "asked|picking", [], ["open", "ask"]),
        ("asked|picking", "pay", "paid|picking", ["asked_out"], []),
        ("asked|picking", "both", "paid|packed", ["picked", "asked_out", "both_packed"], []),
        ("asked|picking", "cancel", "cancelled",
         ["picked", "end_packing", "asked_out", "end_paying", "close"], []),
        ("asked|packed", "hold", "held",
         ["note", "end_packing", "asked_out", "end_paying", "close"], ["rest"]),
        ("asked|packed", "again", "asked|picking", [], []),
        ("asked|packed", "over", "asked|picking",
         ["end_packing", "asked_out", "end_paying", "close"], ["open", "ask"]),
        ("asked|picking", "into", "asked|packed",
         ["picked", "end_packing", "asked_out", "end_paying", "close"], ["open", "ask"]),
        ("held", "unheard", "held", ["log"], []),
        ("held", "cancel", "held", ["log"], []),
        ("paid|picking", "pay", "paid|picking", ["log"], []),
        ("asked2|packed", "nothing", "asked2|packed", [], []),
        ("paid|packed", "seal", "done",
         ["end_packing", "end_paying", "close", "finished"], []),
        ("held", "deeper", "asked|picking", [], ["open", "ask"]),
    ],
)  # fmt: skip
def test_inner_exits_first_outer_entries_first(
    shipping: Machine, *, state: str, event: str, target: str, decide: list[str], owed: list[str]
) -> None:
    """`before`, then exits from the inside out, then `actions`; entries from the outside in."""
    assert told(shipping, workflow(state), event) == (target, decide, owed)


def test_a_choice_is_never_rested_in(shipping: Machine) -> None:
    """It takes its first branch whose guard says yes, with the data of then; else the last one."""
    assert told(shipping, workflow("draft", data={"n": 3}), "pick") == (
        "asked|picking",
        ["chose_ship"],
        ["open", "ask"],
    )
    decision = shipping.step(workflow("draft"), Event("pick", True), NOW)
    assert isinstance(decision, Transition)
    assert (decision.target, decision.data) == ("asked|packed", {"n": 1})
    back = shipping.step(workflow("draft"), Event("pick", False), NOW)
    assert isinstance(back, Transition)
    assert (back.target, back.entered) == ("draft", True)
    assert not shipping.rests("which")
    assert not shipping.can_enter("which")


def test_a_leaf_that_is_its_own_target_is_not_left(shipping: Machine) -> None:
    """As in a flat machine: also if what is around it has the branch."""
    decision = shipping.step(workflow("draft"), Event("any"), NOW)
    assert isinstance(decision, Transition)
    assert not decision.entered


def test_a_deferred_event_is_kept_from_what_is_around(shipping: Machine) -> None:
    """A state that defers an event sets it aside, unless another region takes it."""
    refused = DEFERS.step(workflow("a"), Event("x"), NOW)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.unhandled) == (Reason.NOT_ACCEPTED, Unhandled.DEFER)
    assert told(DEFERS, workflow("b"), "x")[0] == "c"
    assert not DEFERS.has("a", "x")
    assert told(shipping, workflow("asked|packed"), "pay")[0] == "paid|packed"
    assert shipping.has("asked|packed", "pay")
    assert shipping.has("held", "anything")


def test_guards_see_what_is_active(shipping: Machine) -> None:
    """`in` names a state: active is the leaf, and all that is around it."""
    assert told(shipping, workflow("asked|packed"), "seal") == Reason.GUARD
    refused = shipping.step(workflow("asked|packed"), Event("seal"), NOW)
    assert isinstance(refused, Refused)
    assert refused.detail == "in paid"


def test_history_brings_the_child_back(shipping: Machine) -> None:
    """What was left is remembered by the workflow; without it, it begins as its parent does."""
    left = shipping.step(workflow("asked2|packed"), Event("hold"), NOW)
    assert isinstance(left, Transition)
    assert left.memory == {"last": "asked2"}
    back = shipping.step(workflow("held", memory=left.memory), Event("go_on"), NOW)
    assert isinstance(back, Transition)
    assert back.target == "asked2|picking"
    assert told(shipping, workflow("held"), "go_on")[0] == "asked|picking"
    lost = workflow("held", memory={"last": "gone in a later version"})
    assert told(shipping, lost, "go_on")[0] == "asked|picking"


DEFERS = parse(
    "machine: defers\nversion: 1\ninitial: p\nperpetual: true\non: {'*': {}}\nstates:\n"
    "  p: {initial: a, states: {a: {defer: x, on: {y: b}}, b: , c: }, on: {x: c}}\n"
)
DEEP = """
machine: deep
version: 1
initial: p
perpetual: true
states:
  p:
    initial: a
    states:
      a: {on: {down: b2}}
      b: {initial: b1, states: {b1: {on: {x: b2}}, b2: {on: {x: b1}}}}
      all: {type: history, history: deep}
      one: {type: history, target: b}
    on: {out: q}
  q: {on: {deep: all, shallow: one}}
"""


def test_deep_history_brings_the_leaf_back() -> None:
    """Deep: the leaf; shallow: the child, which begins anew; `target` where nothing was left yet."""
    machine = parse(DEEP)
    left = machine.step(workflow("b2"), Event("out"), NOW)
    assert isinstance(left, Transition)
    assert left.memory == {"all": "b2", "one": "b"}
    assert told(machine, workflow("q", memory=left.memory), "deep")[0] == "b2"
    assert told(machine, workflow("q", memory=left.memory), "shallow")[0] == "b1"
    assert told(machine, workflow("q"), "deep")[0] == "a"
    assert told(machine, workflow("q"), "shallow")[0] == "b1"


def test_timers_belong_to_their_states(shipping: Machine) -> None:
    """A transition drops the timers of what it leaves, arms those of what it enters, keeps others."""
    birth = shipping.birth(0)
    week = Timer("@after/7d/*", 0, 604_800_000)
    assert birth.timers == (week,)
    entered = shipping.step(workflow("draft", timers=birth.timers), Event("go"), NOW)
    assert isinstance(entered, Transition)
    minute, five = Timer("@after/1m/ship", 1, 61_000), Timer("@after/5s/asked", 1, 6_000)
    assert entered.timers == (week, minute, five)
    paid = shipping.step(workflow("asked|picking", timers=entered.timers), Event("pay"), NOW)
    assert isinstance(paid, Transition)
    assert paid.timers == (week, minute)
    nagged = workflow("paid|picking", timers=(week, minute))
    decision = shipping.step(nagged, Event(minute.id), 61_000)
    assert isinstance(decision, Transition)
    assert (decision.entered, decision.timers) == (False, (week, minute._replace(due_ms=121_000)))
    late = shipping.step(nagged, Event(week.id), week.due_ms)
    assert isinstance(late, Transition)
    assert (late.target, late.result) == ("late", "failure")
    put = shipping.entering("held", 9, NOW, nagged)
    assert put.timers == (week,)


def test_left_names_the_entries_of_what_is_left(shipping: Machine) -> None:
    """Runs that states owe which stay active are not given up; None says that nothing stays."""
    some = shipping.step(workflow("asked|picking"), Event("pay"), NOW)
    assert isinstance(some, Transition)
    assert some.left == frozenset({"ask"})
    everything = shipping.step(workflow("asked|picking"), Event("cancel"), NOW)
    assert isinstance(everything, Transition)
    assert everything.left is None


OWNERS = """
machine: owners
version: 1
initial: p
perpetual: true
on_error: lost
states:
  p:
    type: parallel
    states:
      l: {initial: l1, states: {l1: {entry: [a, b], on_done: l2, on_error: l2}, l2: }}
      r: {initial: r1, states: {r1: {entry: c, on_done: r2}, r2: {entry: d}}}
    on_error: {target: p, guard: =payload.sure, reenter: true}
  lost: {perpetual: true}
"""


def test_done_and_error_belong_to_the_state_of_the_callback() -> None:
    """Its `on_done` comes after its own last run; its `on_error` first, then those around it."""
    machine = parse(OWNERS)
    at = "l1|r1"
    assert machine.done_event(at, [Owed("a", 0), Owed("b", 0), Owed("c", 0)]) is None
    assert machine.done_event(at, [Owed("b", 0), Owed("c", 0)]) == "@done/l1"
    assert machine.done_event(at, [Owed("c", 0)]) == "@done/r1"
    assert machine.done_event("l1|r2", [Owed("d", 0)]) is None
    assert machine.same_state(at, "a") == {"a", "b"}
    assert told(machine, workflow(at), "@done/r1")[0] == "l1|r2"
    assert machine.error_event(at, "a") == "@error/l1"
    assert told(machine, workflow(at), "@error/l1", {"sure": False})[0] == "l2|r1"
    assert told(machine, workflow(at), "@error/r1", {"sure": False})[0] == "lost"
    assert told(machine, workflow("l2|r2"), "@error/r2", {"sure": True})[0] == "l1|r1"


def test_a_step_that_never_rests_is_cut() -> None:
    """Guards that send a workflow round and round are an error of the machine, with its place."""
    machine = parse(
        "machine: m\nversion: 1\ninitial: a\ndata: {n: 0}\nperpetual: true\nstates:\n"
        "  a: {on: {go: b}}\n"
        "  b: {type: choice, always: [{target: c, guard: =data.n == 0}, a]}\n"
        "  c: {always: [{target: b, guard: =data.n == 0}]}\n"
    )
    with pytest.raises(DefinitionError, match=r":\d+:3 E210 workflow 'w' does not come to rest"):
        machine.step(workflow("a"), Event("go"), NOW)
    assert told(machine, workflow("a", data={"n": 1}), "go")[0] == "a"


def test_what_is_no_configuration() -> None:
    """Leaves of two children of one state, a compound state, a region too few, another order."""
    machine = parse(OWNERS)
    assert machine.rests("l1|r1")
    for text in ("p", "l1", "r1|l1", "l1|l2|r1", "lost|l1", "", "l1|r1|", "nobody"):
        assert not machine.rests(text)
        with pytest.raises(DefinitionError, match="E502"):
            machine.step(workflow(text), Event("x"), NOW)
    assert machine.can_enter("p")
    assert machine.entering("r2", 1, 0).target == "l1|r2"
    assert machine.entering("l2|r2", 1, 0).target == "l2|r2"


RAISING = """
machine: raising
version: 1
initial: a
data: {n: 1}
perpetual: true
states:
  a:
    on:
      go: {target: b, raise: {event: more, payload: {n: =data.n}}, assign: {n: 2}}
      lost: {raise: nobody}
      round: {raise: round}
    on_error:
      - {target: b, errors: [TimeoutError, Busy], guard: =payload.attempt > 1}
      - {target: c, errors: Busy}
  b: {on: {more: {target: c, assign: {n: =payload.n + data.n}}}}
  c:
"""


def test_a_raised_event_is_heard_in_the_same_step() -> None:
    """In the new state, with a payload worked out on the old data; one that nobody hears is lost."""
    machine = parse(RAISING)
    raised = machine.step(workflow("a", data={"n": 1}), Event("go"), NOW)
    assert isinstance(raised, Transition)
    assert (raised.target, raised.data) == ("c", {"n": 3})
    lost = machine.step(workflow("a"), Event("lost"), NOW)
    assert isinstance(lost, Transition)
    assert not lost.entered
    with pytest.raises(DefinitionError, match="E210"):
        machine.step(workflow("a"), Event("round"), NOW)


@pytest.mark.parametrize(
    ("error", "attempt", "target"),
    [("Busy", 1, "c"), ("Busy", 2, "b"), ("TimeoutError", 2, "b"), ("KeyError", 2, "guard")],
)
def test_on_error_by_class(error: str, attempt: int, target: str) -> None:
    """Branches of `on_error` with `errors` are for these classes; the first that fits is taken."""
    found = told(parse(RAISING), workflow("a"), "@error", {"type": error, "attempt": attempt})
    assert found == target if target == "guard" else found[0] == target


@pytest.mark.parametrize(
    ("deadline", "due_ms"),
    [(5_000, 5_000), ("1970-01-01T00:00:07+00:00", 7_000), ("1970-01-01T00:00:08Z", 8_000),
     (None, None)],
)  # fmt: skip
def test_timers_with_a_time(deadline: Any, due_ms: int | None) -> None:
    """The time of a timer is read from the new data; without one it is not armed."""
    machine = parse(TIMED)
    decision = machine.step(workflow("a"), Event("go", deadline), NOW)
    assert isinstance(decision, Transition)
    found = [timer.due_ms for timer in decision.timers or ()]
    assert found == ([] if due_ms is None else [due_ms])


@pytest.mark.parametrize(
    ("deadline", "message"),
    [("soon", "Invalid isoformat"), ("2030-01-01T00:00:00", "has no zone"), (True, "a boolean"),
     ([], "a list, not a time"), (1e15, "more than a hundred years")],
)  # fmt: skip
def test_timers_without_a_time(deadline: Any, message: str) -> None:
    """What is no time is an error of the event, with the place of the expression."""
    with pytest.raises(ExpressionError, match=message):
        parse(TIMED).step(workflow("a"), Event("go", deadline), NOW)


TIMED = """
machine: timed
version: 1
initial: a
data: {deadline: null}
states:
  a: {on: {go: {target: b, assign: {deadline: =payload}}}}
  b: {after: {=data.deadline: c}}
  c: {type: final}
"""


def test_a_birth_that_can_not_set_its_timers_is_found_at_load() -> None:
    """The defaults of `data` never change: what fails at load would fail at every birth."""
    text = (
        TIMED.replace("initial: a", "initial: b")
        .replace("null", "soon")
        .replace("  a:", "  b: {after: {=data.deadline: c}, on: {x: a}}\n  a:")
        .replace("  b: {after: {=data.deadline: c}}\n  c", "  c")
    )
    with pytest.raises(DefinitionError, match=r":4:10 E303 the timers of a workflow"):
        parse(text)
