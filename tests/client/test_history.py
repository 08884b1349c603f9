"""The history of one workflow, as the daemon told it."""

from __future__ import annotations

from event_center.client.history import history
from tests.client.shelf import Shelf


async def test_a_workflow_has_its_own_lines_only(shelf: Shelf) -> None:
    """Lines come in order, refused events included, and those of other workflows are left out."""
    data = {"seq": 1, "event": "begin", "topic": "orders", "partition": 1, "offset": 3}
    await shelf.told("applied", "o-1", data | {"from": "a", "to": "b", "outcome": "applied"})
    await shelf.told("applied", "o-2", data)
    await shelf.told("rejected", "o-1", data | {"outcome": "rejected", "reason": "guard"})
    await shelf.told(
        "run", "o-1", {"seq": 1, "callback": "charge", "attempt": 2, "outcome": "done"}
    )
    applied, rejected, run = await history(shelf.log, shelf.app, "o-1")
    assert applied == {
        "seq": 1,
        "at": "2023-11-14T22:13:20.000Z",
        "event": "begin",
        "from": "a",
        "to": "b",
        "outcome": "applied",
        "reason": None,
        "kind": "applied",
        "topic": "orders",
        "partition": 1,
        "offset": 3,
        "origin": "orders/1/3",
    }
    assert (rejected["outcome"], rejected["reason"]) == ("rejected", "guard")
    assert (run["kind"], run["callback"], run["attempt"], run["event"]) == (
        "run",
        "charge",
        2,
        None,
    )


async def test_nothing_is_known(shelf: Shelf) -> None:
    """A workflow without history has no lines."""
    assert await history(shelf.log, shelf.app, "o-1") == []
