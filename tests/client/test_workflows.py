"""Lists of workflows, and one workflow as a whole, from entries alone."""

from __future__ import annotations

import pytest

from event_center.client.workflows import Wanted, list_workflows, show
from event_center.errors import FormatError
from event_center.model import Event, Failure, Owed, Refusal, Timer
from event_center.wire.entries import ShardEntry, snapshot_key
from tests.client.shelf import NOW_MS, Shelf

AT = "2023-11-14T22:13:20.000Z"


async def _ids(shelf: Shelf, wanted: Wanted, limit: int = 100) -> set[str]:
    rows, total = await list_workflows(shelf.log, shelf.app, wanted, limit)
    assert len(rows) == min(total, limit)
    return {row["workflow_id"] for row in rows}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), {"a", "b", "c", "d"}),
        (Wanted(machine="job"), {"c"}),
        (Wanted(state="running"), {"a", "b"}),
        (Wanted(state="left"), {"d"}),
        (Wanted(state="left|right"), {"d"}),
        (Wanted(status="paused"), {"b"}),
        (Wanted(status="paused", machine="job"), set()),
        (Wanted(entered_before_ms=NOW_MS), {"a"}),
    ],
)
async def test_a_list_holds_what_fits(shelf: Shelf, wanted: Wanted, found: set[str]) -> None:
    """Machine, state, status and age narrow the list, over all shards, each and together."""
    shelf.workflow("a", entered_at_ms=NOW_MS - 1)
    shelf.workflow("b", status="paused")
    shelf.workflow("c", "queued", machine="job")
    shelf.workflow("d", "left|right")
    assert await _ids(shelf, wanted) == found


async def test_a_list_is_limited_and_tells_how_many_there_are(shelf: Shelf) -> None:
    """A limit shortens what is shown, not what is counted."""
    for number in range(10):
        shelf.workflow(f"w-{number}")
    rows, total = await list_workflows(shelf.log, shelf.app, Wanted(), 3)
    assert (len(rows), total) == (3, 10)
    rows, total = await list_workflows(shelf.log, shelf.app, Wanted(entered_before_ms=1), 3)
    assert (rows, total) == ([], 0)


async def test_a_list_shows_unreadable_workflows(shelf: Shelf) -> None:
    """A snapshot that can not be read hides neither itself nor the others."""
    shelf.workflow("a")
    shelf.cut(shelf.app.home("b"), {snapshot_key("b"): b"9\tx"})
    rows, _ = await list_workflows(shelf.log, shelf.app, Wanted(), 10)
    assert {row["workflow_id"]: row["status"] for row in rows} == {"a": "active", "b": "unreadable"}


async def test_no_such_workflow(shelf: Shelf) -> None:
    """A workflow that is not there is None, not an error."""
    assert await show(shelf.log, shelf.app, "nobody") is None


async def test_a_workflow_as_a_whole(shelf: Shelf) -> None:
    """Everything that the snapshot holds is shown, times as RFC 3339, and of which cut it is."""
    entry = ShardEntry()
    entry.cut, entry.offsets = 7, {"orders": 12}
    shelf.shard_entry(shelf.app.home("o-1"), entry)
    shelf.workflow(
        "o-1",
        status="retrying",
        seq=4,
        data={"n": 1},
        owed=[Owed("charge", 4, 2, NOW_MS)],
        jobs=[Owed("watch", 3, 1)],
        earlier={3: Event("begin")},
        cause=Event("begin", {"card": "7"}, "e-1", NOW_MS, (), "orders", 0, 3),
        timers=[Timer("@after/24h", 4, NOW_MS)],
        failure=Failure("charge", "OSError", "no route", NOW_MS, 2),
        refusals=[Refusal(NOW_MS, "end", "guard", "=data.n > 1")],
        letters_next=1,
        letters_last=3,
        deciding_attempt=1,
        deciding_due_ms=NOW_MS,
    )
    shown = await show(shelf.log, shelf.app, "o-1")
    assert shown == {
        "workflow_id": "o-1",
        "machine": "order",
        "version": 1,
        "state": "running",
        "status": "retrying",
        "seq": 4,
        "entered_at": AT,
        "result": None,
        "closed_at": None,
        "parked": None,
        "deciding": {"attempt": 1, "due": AT},
        "failure": {
            "callback": "charge",
            "type": "OSError",
            "message": "no route",
            "at": AT,
            "attempt": 2,
            "traceback": "",
        },
        "refusals": [{"at": AT, "event": "end", "reason": "guard", "detail": "=data.n > 1"}],
        "letters": {"open": 2, "next": 1, "last": 3},
        "data": {"n": 1},
        "timers": [{"id": "@after/24h", "seq": 4, "due": AT}],
        "owed": [{"callback": "charge", "seq": 4, "attempt": 2, "due": AT}],
        "jobs": [{"callback": "watch", "seq": 3, "attempt": 1, "due": None}],
        "cause": {
            "event": "begin",
            "id": "e-1",
            "origin": "orders/0/3",
            "payload": {"card": "7"},
        },
        "waiting": {"count": 0, "first": []},
        "seen": {},
        "as_of": {"shard": shelf.app.home("o-1"), "cut": 7, "offsets": {"orders": 12}},
    }


async def test_what_waits_is_shown_in_order(shelf: Shelf) -> None:
    """All waiting events are counted, the first ten are named; of others' none is shown."""
    shelf.workflow("o-1", waiting=13, waiting_next=13)
    for number in reversed(range(13)):
        shelf.waiting("o-1", number, b'{"workflow_id": "o-1", "event": "e%d"}' % number)
    shelf.waiting("o-10", 0, b'{"workflow_id": "o-10", "event": "other"}')
    shown = await show(shelf.log, shelf.app, "o-1")
    assert shown is not None
    assert shown["waiting"]["count"] == 13
    assert [one["event"] for one in shown["waiting"]["first"]] == [f"e{n}" for n in range(10)]
    assert shown["waiting"]["first"][0] == {
        "number": 0,
        "event": "e0",
        "at": AT,
        "deferred": False,
        "held_until": None,
        "topic": "orders",
        "partition": shelf.app.home("o-1"),
        "offset": 100,
    }


async def test_waiting_events_that_no_rule_reads_have_no_name(shelf: Shelf) -> None:
    """An event whose topic or form is unknown today is shown without a name."""
    shelf.workflow("o-1", waiting=2, waiting_next=2)
    shelf.waiting("o-1", 0, b"not JSON")
    shelf.waiting("o-1", 1, b'{"workflow_id": "o-1", "event": "e"}', topic="gone")
    shown = await show(shelf.log, shelf.app, "o-1")
    assert shown is not None
    assert [one["event"] for one in shown["waiting"]["first"]] == [None, None]


async def test_an_unreadable_workflow_is_told(shelf: Shelf) -> None:
    """Asking for a workflow whose snapshot can not be read is an error that says what to do."""
    shelf.cut(shelf.app.home("b"), {snapshot_key("b"): b"9\tx\n{}"})
    with pytest.raises(
        FormatError, match=r"'b': .*first line.*run the release.*or put back a copy"
    ):
        await show(shelf.log, shelf.app, "b")
    shelf.cut(shelf.app.home("c"), {snapshot_key("c"): b"9\tm\t1\ts\tactive\t0\n{}"})
    with pytest.raises(FormatError, match=r"'c': .*format 9, this release reads 1; its bytes stay"):
        await show(shelf.log, shelf.app, "c")
    shelf.cut(shelf.app.home("d"), {snapshot_key("d"): b"1\tm\t1\ts\tactive\t0\n{}"})
    with pytest.raises(FormatError, match=r"'d' can not be read .*events for it become letters"):
        await show(shelf.log, shelf.app, "d")
