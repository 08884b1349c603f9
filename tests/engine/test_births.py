"""Births: what a machine asks when a workflow begins, and what becomes of the event that makes it."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.errors import DefinitionError, ExpressionError
from event_center.machine import parse
from event_center.model import Event
from tests.engine.world import NOW, World

CLAIM = """
machine: claim
version: 1
initial: size
data: {amount: 0, path: []}
timeout: {30d: late}
states:
  size:
    type: choice
    always:
      - {target: large, guard: =payload.amount > 100, assign: {amount: =payload.amount}}
      - {target: nothing, guard: =payload.amount == 0}
      - small
  small: {entry: note, on: {claim: {}, end: over}}
  large:
    after: {1h: late}
    initial: first
    states:
      first: {always: [{target: second, guard: =data.amount > 1000, assign: {path: [=workflow_id]}}]}
      second: {entry: tell}
    on: {claim: over, end: over}
  nothing: {type: final, result: cancelled}
  late: {type: final, result: failure}
  over: {type: final}
"""


async def nothing() -> None:
    """A callback that does nothing."""


async def test_a_choice_at_the_beginning_is_asked_with_the_event_that_makes_the_workflow() -> None:
    """The birth goes on by itself until the workflow rests; then the same event is decided there."""
    ran: list[str] = []

    async def tell(workflow_id: str) -> None:
        ran.append(workflow_id)

    async with World((CLAIM, {"note": tell, "tell": tell})) as world:
        world.send("a", "claim", {"amount": 5})
        world.send("b", "claim", {"amount": 500})
        world.send("c", "claim", {"amount": 0})
        world.send("d", "end", {"amount": 5_000})
        await world.idle()
        assert [world.state(one) for one in "abcd"] == ["small", "over", "nothing", "over"]
        assert ran == ["a", "d"]
        assert world.snapshot("a").seq == 1
        assert world.snapshot("d").data == {"amount": 5_000, "path": ["d"]}
        created = world.history("d", "created")[0]
        assert (created["seq"], created["to"]) == (0, "second")
        assert world.outcomes("c") == ["claim rejected(finished)"]
        assert world.snapshot("c").result == "cancelled"
        await world.crash_and_recover()
        await world.leap(24 * 31)
        await world.idle()
        assert world.snapshot("a").result == "failure"


async def test_a_guard_that_fails_at_a_birth_leaves_a_letter_and_no_workflow() -> None:
    """There is nothing to park: the event is kept as a letter, and the next one makes the workflow."""
    async with World((CLAIM, {"note": nothing, "tell": nothing})) as world:
        world.send("a", "claim", {"amount": "much"})
        await world.idle()
        assert not world.exists("a")
        [letter] = world.letters()
        assert letter.reason == "failed"
        world.send("a", "claim", {"amount": 5})
        await world.idle()
        assert world.outcomes("a") == ["? dead_lettered(failed)", "claim applied"]


def test_a_birth_has_the_timers_of_where_it_ends() -> None:
    """Timers of states that are only passed are not armed, those of the workflow and its states are."""
    birth = parse(CLAIM).birth(NOW, Event("claim", {"amount": 500}), "w")
    assert birth.target == "first"
    assert [(timer.id, timer.seq) for timer in birth.timers or ()] == [
        ("@after/30d/*", 0),
        ("@after/1h/large", 0),
    ]
    with pytest.raises(ExpressionError):
        parse(CLAIM).birth(NOW, Event("claim"), "w")


def test_what_creates_is_what_one_of_the_beginnings_accepts() -> None:
    """`missing` looks at every state in which a workflow can begin."""
    assert parse(CLAIM).creating() == ("claim", "end")
    assert parse(CLAIM.replace("on: {claim: {}, end: over}", "on: {go: over}")).creating() == (
        "claim",
        "end",
        "go",
    )


@pytest.mark.parametrize("key", ["before: x", "actions: x", "emit: {event: e, workflow_id: w}"])
def test_nothing_is_awaited_at_a_birth(key: str) -> None:
    """A callback, or an emit, on the way from a birth is refused when the machine is loaded."""
    text = CLAIM.replace("assign: {path: [=workflow_id]}", key)
    with pytest.raises(DefinitionError) as raised:
        parse(text)
    [problem] = raised.value.problems
    assert (problem.code, problem.line) == ("E211", 19)
    assert "at the birth of a workflow" in problem.message


def test_a_birth_that_is_the_same_for_every_event_is_checked_when_loaded() -> None:
    """Without a choice a birth asks nothing, so what fails then would fail at each."""
    text = "machine: m\nversion: 1\ninitial: a\nperpetual: true\ndata: {at: x}\n"
    states: Any = "states: {a: {after: {=data.at: a}}}"
    with pytest.raises(DefinitionError, match="can not be set at its birth"):
        parse(text + states)
