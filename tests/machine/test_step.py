"""The step: what an event does to a workflow, and that it changes nothing by itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from event_center.errors import DefinitionError, ExpressionError
from event_center.machine import Machine, parse
from event_center.machine.decision import DONE, ERROR, Action, Refused, Retry, Transition
from event_center.model import Event, Reason, Result, Snapshot, Timer, Unhandled

NOW = 1_000_000
ORDER = """
machine: order
version: 1
initial: new
data: {reason: null, tries: 0, lines: []}
unhandled: dead_letter
on:
  cancel: {target: cancelled, guard: may_cancel}
  note: {assign: {note: =payload}}
on_error: failed
states:
  new:
    on:
      begin: {target: running, before: [check, reserve], actions: tell}
      ping: {actions: pong}
      rename: {target: new, assign: {reason: renamed}}
      again: {target: new, reenter: true}
      skip: idle
    exit: leave_new
    unhandled: ignore
  idle:
    on: {begin: running, stop: done}
    after: {1m: idle2}
  idle2: {on: {skip: idle, stop: done, cancel: {target: done, guard: =payload.sure}}}
  running:
    entry: [charge, {do: pack, retry: none, timeout: 5s, eager: true}]
    exit: release
    on:
      finish:
        - {target: done, guard: {and: [=payload.amount > 10, {not: blocked}]}}
        - {target: idle, guard: {or: [blocked, =payload.amount < 0]}}
      fail: {target: failed, assign: {reason: =payload.message, tries: =data.tries + 1}}
    after:
      30s: {actions: remind, repeat: true}
      24h: failed
    on_error:
      target: failed
      guard: "=payload.callback == 'charge'"
      assign: {reason: =payload.type}
    on_done: idle
  done: {type: final, entry: thank}
  failed: {type: final, result: failure}
  cancelled: {type: final, result: cancelled}
"""


def yes(_snapshot: Snapshot, _event: Event, _now_ms: int) -> bool:
    return True


def no(_snapshot: Snapshot, _event: Event, _now_ms: int) -> bool:
    return False


@pytest.fixture(scope="module", name="order")
def _order() -> Machine:
    return parse(ORDER, "order.yaml").with_guards({"may_cancel": no, "blocked": no})


def workflow(state: str, **fields: Any) -> Snapshot:
    snapshot = Snapshot("w1", "order", 1, state)
    snapshot.data = {"reason": None, "tries": 0, "lines": []}
    snapshot.seq = 7
    for name, value in fields.items():
        setattr(snapshot, name, value)
    return snapshot


def state_of(snapshot: Snapshot) -> dict[str, Any]:
    return {slot: copy.deepcopy(getattr(snapshot, slot)) for slot in Snapshot.__slots__}


def taken(machine: Machine, snapshot: Snapshot, name: str, payload: Any = None) -> Transition:
    decision = machine.step(snapshot, Event(name, payload), NOW)
    assert isinstance(decision, Transition)
    return decision


def refused(machine: Machine, snapshot: Snapshot, name: str, payload: Any = None) -> Refused:
    decision = machine.step(snapshot, Event(name, payload), NOW)
    assert isinstance(decision, Refused)
    return decision


def names(transition: Transition) -> list[str]:
    return [action.name for action in transition.decide]


def test_entering(order: Machine) -> None:
    """
    A transition to a state runs before, exit, actions, and owes its entries; timers carry seq + 1.
    """
    transition = taken(order, workflow("new"), "begin")
    assert (transition.target, transition.entered, transition.result) == ("running", True, None)
    assert names(transition) == ["check", "reserve", "leave_new", "tell"]
    assert transition.owed == ("charge", "pack")
    assert transition.timers == (
        Timer("@after/30s", 8, NOW + 30_000),
        Timer("@after/24h", 8, NOW + 86_400_000),
    )
    assert transition.data is None


def test_plain_transitions_are_shared(order: Machine) -> None:
    """
    A transition that needs nothing of its event is the same object each time, with no timers left.
    """
    snapshot = workflow("new", timers=(Timer("@after/1m", 3, 5),))
    first, second = taken(order, snapshot, "ping"), taken(order, snapshot, "ping")
    assert first is second
    stop = taken(order, workflow("idle"), "stop")
    assert (stop.timers, stop.owed, stop.result) == ((), ("thank",), Result.SUCCESS)
    assert stop is taken(order, workflow("idle"), "stop")
    skip = taken(order, workflow("new"), "skip")
    assert skip is not taken(order, workflow("new"), "skip")


def test_internal(order: Machine) -> None:
    """No target, or the own state: nothing is left or entered, timers stay."""
    ping = taken(order, workflow("new"), "ping")
    assert (ping.target, ping.entered, ping.timers, ping.owed) == ("new", False, None, ())
    assert names(ping) == ["pong"]
    rename = taken(order, workflow("new"), "rename")
    assert (rename.entered, names(rename), rename.data) == (
        False,
        [],
        {"reason": "renamed", "tries": 0, "lines": []},
    )


def test_reenter(order: Machine) -> None:
    """`reenter` leaves the own state and enters it again."""
    again = taken(order, workflow("new"), "again")
    assert (again.target, again.entered, names(again)) == ("new", True, ["leave_new"])


def test_assign_sees_the_old_data(order: Machine) -> None:
    """All assigns of a branch are worked out on the old data; the old data stays as it was."""
    snapshot = workflow("running", data={"reason": "r", "tries": 4, "lines": [1]})
    before = state_of(snapshot)
    fail = taken(order, snapshot, "fail", {"message": "no"})
    assert fail.data == {"reason": "no", "tries": 5, "lines": [1]}
    assert (fail.result, names(fail)) == (Result.FAILURE, ["release"])
    assert state_of(snapshot) == before


def test_data_shares_nothing_with_the_payload(order: Machine) -> None:
    """What an assign takes from a payload is a copy."""
    payload = {"a": [1]}
    note = taken(order, workflow("idle"), "note", payload)
    assert note.data is not None
    payload["a"].append(2)
    assert note.data["note"] == {"a": [1]}


def test_branches_are_tried_in_order(order: Machine) -> None:
    """The first branch whose guard says yes is taken; not, and, or mean what they say."""
    snapshot = workflow("running")
    assert taken(order, snapshot, "finish", {"amount": 11}).target == "done"
    assert taken(order, snapshot, "finish", {"amount": -1}).target == "idle"
    blocked = order.with_guards({"may_cancel": no, "blocked": yes})
    assert taken(blocked, snapshot, "finish", {"amount": 11}).target == "idle"


def test_guard_said_no(order: Machine) -> None:
    """
    A refusal by guards names them, says what is accepted, and what is to be done with the event.
    """
    denied = refused(order, workflow("running"), "finish", {"amount": 5})
    assert denied.reason == Reason.GUARD
    assert (
        denied.detail == "(=payload.amount > 10 and not blocked), (blocked or =payload.amount < 0)"
    )
    assert denied.accepted == ("cancel", "fail", "finish", "note")
    assert denied.unhandled is Unhandled.DEAD_LETTER


def test_own_branches_first_then_the_machines(order: Machine) -> None:
    """An event that the state's own guards deny goes to the machine's branches."""
    yes_order = order.with_guards({"may_cancel": yes, "blocked": no})
    assert taken(yes_order, workflow("idle2"), "cancel", {"sure": False}).target == "cancelled"
    assert taken(yes_order, workflow("idle2"), "cancel", {"sure": True}).target == "done"
    denied = refused(order, workflow("idle2"), "cancel", {"sure": False})
    assert denied.detail == "=payload.sure, may_cancel"


@pytest.mark.parametrize(
    ("state", "event", "reason"),
    [
        ("new", "finish", Reason.NOT_ACCEPTED),
        ("new", "nonsense", Reason.UNKNOWN_EVENT),
        ("idle", "ping", Reason.NOT_ACCEPTED),
        ("idle", "@after/9s", Reason.NOT_ACCEPTED),
        ("idle", DONE, Reason.NOT_ACCEPTED),
        ("done", "cancel", Reason.NOT_ACCEPTED),
        ("done", ERROR, Reason.NOT_ACCEPTED),
    ],
)
def test_refusals(order: Machine, state: str, event: str, reason: Reason) -> None:
    """Unknown to the machine, and not accepted in this state, are different answers."""
    decision = refused(order, workflow(state), event)
    unhandled = Unhandled.IGNORE if state == "new" else Unhandled.DEAD_LETTER
    assert (decision.reason, decision.unhandled, decision.detail) == (reason, unhandled, "")
    assert all(order.has(state, name) for name in decision.accepted)


def test_exceptions_come_out_and_change_nothing(order: Machine) -> None:
    """A guard or assign that raises is an error, never "false", and the workflow is as before."""

    def broken(_snapshot: Snapshot, _event: Event, _now_ms: int) -> bool:
        raise LookupError("no such customer")

    snapshot = workflow("running", timers=(Timer("@after/30s", 7, NOW),))
    before = state_of(snapshot)
    with pytest.raises(
        ExpressionError, match=r"order\.yaml:30:40: '=payload.amount > 10': payload has"
    ):
        order.step(snapshot, Event("finish", {}), NOW)
    with pytest.raises(
        ExpressionError, match=r"order\.yaml:\d+:\d+: '=payload.message': payload is null"
    ):
        order.step(snapshot, Event("fail"), NOW)
    with pytest.raises(LookupError, match="no such customer"):
        order.with_guards({"blocked": broken}).step(snapshot, Event("finish", {"amount": 11}), NOW)
    assert state_of(snapshot) == before


def test_unbound_guard() -> None:
    """A named guard that nobody gave is an error that names it and its place."""
    machine = parse(ORDER, "order.yaml")
    with pytest.raises(
        ExpressionError, match=r"order\.yaml:8:38: no plugin gives the guard 'may_cancel'"
    ):
        machine.step(workflow("new"), Event("cancel"), NOW)
    assert machine.guards == {"may_cancel", "blocked"}


def test_lost_state(order: Machine) -> None:
    """A workflow in a state that the machine lost gets a message that says what to do."""
    with pytest.raises(
        DefinitionError, match=r"E502 workflow 'w1' is in state 'gone', which version 1 of"
    ):
        order.step(workflow("gone"), Event("begin"), NOW)


def test_timer_that_repeats(order: Machine) -> None:
    """An internal transition of a timer arms it again; the other timers stay."""
    timers = (Timer("@after/30s", 7, NOW - 5), Timer("@after/24h", 7, NOW + 9))
    snapshot = workflow("running", timers=timers)
    remind = taken(order, snapshot, "@after/30s")
    assert (remind.target, remind.entered, names(remind)) == ("running", False, ["remind"])
    assert remind.timers == (timers[1], Timer("@after/30s", 7, NOW - 5 + 30_000))
    assert snapshot.timers == timers
    assert taken(order, workflow("running"), "@after/30s").timers is None


@pytest.mark.parametrize(
    ("late_ms", "periods"),
    [(-1, 1), (0, 1), (1, 1), (29_999, 1), (30_000, 2), (30_001, 2), (3_600_000, 121)],
)
def test_timers_after(order: Machine, late_ms: int, periods: int) -> None:
    """A repeating timer fires once for all the periods that were missed, in its own rhythm."""
    timer = Timer("@after/30s", 7, NOW)
    snapshot = workflow("running", timers=(timer,))
    again = order.timers_after(snapshot, timer, NOW + late_ms)
    assert again == (timer._replace(due_ms=NOW + periods * 30_000),)
    assert again[0].due_ms > NOW + late_ms


def test_timers_after_once(order: Machine) -> None:
    """A timer that does not repeat is gone once it was dealt with."""
    once, other = Timer("@after/24h", 7, NOW), Timer("@after/30s", 7, NOW + 5)
    snapshot = workflow("running", timers=(once, other))
    assert order.timers_after(snapshot, once, NOW) == (other,)
    assert taken(order, snapshot, "@after/24h").target == "failed"


def test_birth(order: Machine) -> None:
    """A workflow begins with seq 0 in the initial state, with its own copy of the default data."""
    birth = order.birth(NOW)
    assert (birth.target, birth.entered, birth.timers, birth.owed) == ("new", True, (), ())
    assert birth.data == {"reason": None, "tries": 0, "lines": []}
    birth.data["lines"].append(1)
    assert order.birth(NOW).data == {"reason": None, "tries": 0, "lines": []}


def test_birth_owes_and_times() -> None:
    """An initial state may owe runs and have timers; they carry seq 0."""
    text = ORDER.replace("initial: new", "initial: running").replace(
        "on_done: idle", "on_done: new"
    )
    birth = parse(text).birth(NOW)
    assert birth.owed == ("charge", "pack")
    assert birth.timers is not None
    assert [timer.seq for timer in birth.timers] == [0, 0]


def test_entering_without_an_event(order: Machine) -> None:
    """An operator who puts a workflow into a state starts its timers and entry runs."""
    running = order.entering("running", 9, NOW)
    assert (running.target, running.entered, running.decide, running.data) == (
        "running",
        True,
        (),
        None,
    )
    assert running.owed == ("charge", "pack")
    assert [timer.seq for timer in running.timers or ()] == [9, 9]
    assert order.entering("failed", 9, NOW).result is Result.FAILURE
    with pytest.raises(KeyError):
        order.entering("gone", 9, NOW)


def test_on_error(order: Machine) -> None:
    """The state's `on_error` is tried first, then the machine's; a final state has neither."""
    failure = {"callback": "charge", "type": "Declined", "message": "no", "attempt": 3}
    own = taken(order, workflow("running"), ERROR, failure)
    assert own.data is not None
    assert (own.target, own.data["reason"]) == ("failed", "Declined")
    other = taken(order, workflow("running"), ERROR, {**failure, "callback": "pack"})
    assert (other.target, other.data) == ("failed", None)
    assert [order.has(state, ERROR) for state in ("running", "new", "failed")] == [
        True,
        True,
        False,
    ]
    assert [order.has(state, DONE) for state in ("running", "new", "failed")] == [
        True,
        False,
        False,
    ]
    assert taken(order, workflow("running"), DONE).target == "idle"


def test_last_resort_does_not_handle_itself() -> None:
    """
    Failures in the state that the machine's `on_error` leads to are not "handled" by staying
    there.
    """
    machine = parse(
        "machine: m\nversion: 1\ninitial: a\non_error: b\non: {end: c}\n"
        "states: {a: {entry: x}, b: {entry: y}, c: {type: final}}\n"
    )
    assert machine.has("a", ERROR)
    assert not machine.has("b", ERROR)


def test_effect(order: Machine) -> None:
    """An owed run finds its retry policy, timeout and eagerness by state and name."""
    assert order.effect("running", "charge") == Action("charge", Retry(), 30_000, eager=False)
    pack = order.effect("running", "pack")
    assert (pack.retry.max_attempts, pack.timeout_ms, pack.eager) == (1, 5_000, True)
    with pytest.raises(KeyError):
        order.effect("running", "thank")


def test_what_a_machine_tells(order: Machine) -> None:
    """A machine answers what engine, plugins and command line ask of it."""
    assert order.events == {
        "again", "begin", "cancel", "fail", "finish", "note", "ping", "rename", "skip", "stop",
    }  # fmt: skip
    assert order.states[:2] == ("new", "idle")
    assert [order.result(state) is not None for state in ("new", "done")] == [False, True]
    assert [order.result(state) for state in ("new", "done", "failed", "cancelled")] == [
        None, Result.SUCCESS, Result.FAILURE, Result.CANCELLED,
    ]  # fmt: skip
    assert order.unhandled("new") is Unhandled.IGNORE
    assert order.callbacks["leave_new"] == {"exit"}
    assert order.callbacks["charge"] == {"entry"}
    assert order.callbacks["check"] == {"before"}
    assert order.callbacks["remind"] == {"action"}
    assert order.entries["running"] == ("charge", "pack")
    assert order.exits["running"] == ("release",)
    assert order.position("callback", "charge") == "order.yaml:26:13"
    assert order.position("guard", "blocked") == "order.yaml:30:68"
    with pytest.raises(KeyError):
        order.position("guard", "charge")


def test_frozen(order: Machine) -> None:
    """A machine is never changed after it was built."""
    with pytest.raises(AttributeError):
        order.version = 2  # type: ignore[misc]  # on purpose
