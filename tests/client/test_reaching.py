"""Waiting for a workflow: what was there before, what comes, and what never will."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest

from event_center.client.active import NONE, Machines
from event_center.client.reaching import Awaited, Goal, outcome_of, wait_for
from event_center.errors import NeverReached, NotReached, UnknownState
from event_center.machine import parse
from event_center.model import Position, Status
from tests.client.shelf import Shelf

pytestmark = pytest.mark.looptime
ENDED: dict[str, Any] = {
    "status": Status.FINAL,
    "result": "success",
    "state": "done",
    "data": {"n": 1},
}


ORDER = parse("""
machine: order
version: 1
initial: new
states:
  new: {on: {go: open, pick: which}}
  which: {type: choice, always: [{guard: =data.x, target: open}, {target: done}]}
  open:
    type: parallel
    on_done: done
    states:
      payment: {initial: due, states: {due: {on: {pay: paid}}, paid: {type: final}}}
      packing: {initial: shelf, states: {shelf: {on: {pack: packed}}, packed: {type: final}}}
  done: {type: final, result: success}
data: {x: null}
""")
AT_HAND = Machines([ORDER])


async def _wait(shelf: Shelf, state: str | None = None, machines: Machines = NONE) -> Awaited:
    goal = Goal(state, machines)
    return await wait_for(shelf.log, shelf.app, "o-1", goal, within_s=5)


async def _meanwhile(shelf: Shelf, *records: dict[str, Any]) -> None:
    """What a daemon tells a second later."""
    await anyio.sleep(1)
    for data in records:
        await shelf.told("applied", "o-1", {"outcome": "applied", **data})


async def test_what_is_there_already(shelf: Shelf) -> None:
    """A workflow that has ended, or is in the state, is not waited for."""
    shelf.workflow("o-1", "left|right")
    assert (await _wait(shelf, "right")).state == "left|right"
    shelf.workflow("o-1", **ENDED)
    reached = await _wait(shelf)
    assert (reached.state, reached.result, reached.data) == ("done", "success", {"n": 1})


@pytest.mark.parametrize("state", ["open", "payment", "paid", "packing|paid", "open|shelf"])
async def test_a_state_with_others_inside_is_one_too(shelf: Shelf, state: str) -> None:
    """Whoever is in a leaf is in all that is around it: compound states, parallel ones, and regions."""
    shelf.workflow("o-1", "paid|shelf")
    assert (await _wait(shelf, state, AT_HAND)).state == "paid|shelf"
    shelf.workflow("o-1", "new")
    async with anyio.create_task_group() as tasks:
        place = {"machine": "order", "version": 1}
        tasks.start_soon(_meanwhile, shelf, place | {"to": "paid|shelf"}, place | {"to": "done"})
        assert (await _wait(shelf, state, AT_HAND)).state == "paid|shelf"


async def test_without_its_machine_a_workflow_is_in_leaves_alone(shelf: Shelf) -> None:
    """The twin; so it is with the machine in another version, which does not have its leaves."""
    shelf.workflow("o-1", "paid|shelf")
    assert (await _wait(shelf, "paid")).state == "paid|shelf"
    with pytest.raises(NotReached):
        await _wait(shelf, "open")
    shelf.workflow("o-1", "lent", version=2)
    assert (await _wait(shelf, "lent", AT_HAND)).state == "lent"
    with pytest.raises(NotReached):
        await _wait(shelf, "open", AT_HAND)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("opem", "state 'opem'; did you mean 'open'?"),
        ("which", "'which' is a choice state: no workflow ever rests in it"),
        ("paid|shell", "state 'shell'; did you mean 'shelf'?"),
    ],
)
async def test_a_state_that_there_is_not_is_not_waited_for(
    shelf: Shelf, state: str, said: str
) -> None:
    """Its machine says so at once; of a workflow that is yet to come, all machines and the log do."""
    shelf.workflow("o-1", "new")
    began = anyio.current_time()
    with pytest.raises(UnknownState, match=re.escape(said)):
        await _wait(shelf, state, AT_HAND)
    shelf.workflow("o-1", status=Status.EXPECTED)
    with pytest.raises(UnknownState, match=re.escape(said)):
        await _wait(shelf, state, AT_HAND)
    assert anyio.current_time() == began


async def test_what_comes_is_seen_however_short(shelf: Shelf) -> None:
    """A state that was left at once was reached all the same; other workflows do not count."""
    await shelf.told("applied", "o-1", {"to": "paid"})
    shelf.workflow("o-1", "new")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_meanwhile, shelf, {"to": "paid"}, {"to": "sent"})
        began = anyio.current_time()
        assert (await _wait(shelf, "paid")).state == "paid"
        assert anyio.current_time() - began == pytest.approx(1, abs=0.1)


async def test_the_end_of_one_that_did_not_exist(shelf: Shelf) -> None:
    """A workflow that is made meanwhile is waited for, to its end, with its data."""

    async def ends() -> None:
        await _meanwhile(shelf, {"to": "new"})
        shelf.workflow("o-1", **ENDED)
        await _meanwhile(shelf, {"to": "done", "result": "success"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends)
        assert (await _wait(shelf)).data == {"n": 1}


async def test_what_never_comes(shelf: Shelf) -> None:
    """Not in time, not there at all, and ended elsewhere are three errors that say where it is."""
    with pytest.raises(
        NotReached, match="'o-1' has not ended within 5 s: there is no such workflow"
    ):
        await _wait(shelf)
    shelf.workflow("o-1", "new")
    with pytest.raises(TimeoutError, match="has not been in paid within 5 s: it is in new, active"):
        await _wait(shelf, "paid")
    shelf.workflow("o-1", **ENDED)
    with pytest.raises(NeverReached, match="has ended in done as success, and is not in paid"):
        await _wait(shelf, "paid")


async def test_one_that_ends_elsewhere_is_not_waited_for_any_longer(shelf: Shelf) -> None:
    """The end of the wait is the end of the workflow, long before the time is over."""
    shelf.workflow("o-1", "new")

    async def ends() -> None:
        await anyio.sleep(1)
        shelf.workflow("o-1", **ENDED)
        await shelf.told("command", "o-1", {"to": "new", "status": "final", "outcome": "applied"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ends)
        began = anyio.current_time()
        with pytest.raises(NeverReached):
            await _wait(shelf, "paid")
        assert anyio.current_time() - began < 2
        tasks.cancel_scope.cancel()


async def test_what_became_of_an_event(shelf: Shelf) -> None:
    """It is the record of the event's own place, and not that of another one or of a run."""
    position = Position("orders", 0, 7)
    place = position._asdict()
    await shelf.told("applied", "o-1", {**place, "offset": 6, "outcome": "applied"})
    await shelf.told("command", "o-1", {**place, "outcome": "applied"})
    await shelf.told("rejected", "o-1", {**place, "outcome": "rejected", "reason": "guard"})
    told = await outcome_of(shelf.log, shelf.app, "o-1", position, since=0)
    assert (told["kind"], told["reason"]) == ("rejected", "guard")
