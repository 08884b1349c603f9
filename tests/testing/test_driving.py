"""`drive`: a machine moved by hand, with what it decides and what becomes due."""

from __future__ import annotations

from pathlib import Path

import pytest

from event_center.errors import PluginError
from event_center.machine import parse
from event_center.testing import drive

ORDER = Path(__file__).parents[2] / "machines/order.yaml"
PAYING = """
machine: paying
version: 1
initial: open
data: {paid: 0}
states:
  open:
    on:
      paid: {target: done, guard: is_enough, assign: {paid: =payload.amount}}
      begin: waiting
  waiting: {invoke: {do: poll, on_done: done, on_error: failed}}
  done: {type: final, result: success}
  failed: {type: final, result: failure}
"""


def test_what_is_decided_is_told() -> None:
    """An event says where it led and what is owed; a refusal says why, and is false."""
    order = drive(ORDER)
    decided = order.send("flow_begin")
    assert decided
    assert (decided.before, decided.after, decided.owed) == (
        "initial",
        "running",
        ("start_processing",),
    )
    refused = order.send("flow_begni")
    assert not refused
    assert refused.reason == "unknown_event"
    assert "accepts: process_complete" in refused.detail
    assert order.state == "running"


def test_time_passes_by_hand() -> None:
    """Timers are told with the seconds that are left, and fire when time has passed."""
    order = drive(ORDER)
    order.send("flow_begin")
    assert order.timers == {"@after/24h": 86_400}
    order.advance("23h")
    assert (order.state, order.timers) == ("running", {"@after/24h": 3_600})
    assert order.advance(3_600).after == "error"
    assert (order.result, order.passed_s) == ("failure", 86_400)


def test_jobs_and_callbacks_end_by_hand() -> None:
    """A job that is done, or has failed, moves the workflow; one that is not owed is refused."""
    for end, state in (("done", "done"), ("failed", "failed")):
        paying = drive(parse(PAYING), guards={"is_enough": True})
        paying.send("begin")
        assert paying.jobs == ["poll"]
        getattr(paying, end)("poll")
        assert paying.state == state
    with pytest.raises(PluginError, match="'pol' is not owed in state 'open'; owed is nothing"):
        drive(parse(PAYING), guards={"is_enough": True}).done("pol")


def test_guards_are_answered() -> None:
    """Guards have the answers that the test gives; one that the machine has not is an error."""
    assert (
        drive(parse(PAYING), guards={"is_enough": True}).send("paid", {"amount": 3}).after == "done"
    )
    assert drive(parse(PAYING), guards={"is_enough": False}).send("paid", {}).reason == "guard"
    with pytest.raises(PluginError, match="did you mean 'is_enough'"):
        drive(parse(PAYING), guards={"is_enuogh": True})
