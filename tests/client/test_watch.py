"""What `top` shows, from the log alone: rates, stays in states, errors, and how little a look reads."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.client.dwell import Dwell, Dwells
from event_center.client.feed import LOOK, Feed
from event_center.client.watch import Watch
from event_center.model import Outgoing, Status
from event_center.wire.entries import Counted, ShardEntry
from event_center.wire.history import HistoryWriter, epoch_ms, rfc3339
from tests.client.shelf import NOW_MS, Shelf

PLACE = Counted("order", 1, "running", Status.ACTIVE)


def _moved(seq: int, before: str | None, after: str, at_s: float, **more: Any) -> dict[str, Any]:
    """The record of a transition of o-1, `at_s` after some moment."""
    at = rfc3339(NOW_MS + round(at_s * 1_000))
    fields = {"machine": "order", "seq": seq, "from": before, "to": after, "outcome": "applied"}
    return {"kind": "applied", "workflow_id": "o-1", "at": at, **fields, **more}


def _heard(*records: dict[str, Any]) -> dict[tuple[str, str], Dwell]:
    dwells = Dwells()
    for record in records:
        dwells.hear(record)
    return dwells.by_state()


async def test_rates_are_what_has_grown_between_looks(shelf: Shelf) -> None:
    """The first look has no rates; later ones divide by the time that has passed, lag included."""
    entry, watch = ShardEntry(), Watch(shelf.log, shelf.app)
    shelf.shard_entry(0, entry)
    assert (await watch.look(10.0))["per_second"] is None
    entry.read, entry.outcomes["applied"], entry.runs = 30, 20, 4
    shelf.shard_entry(0, entry)
    await shelf.log.publish([Outgoing("orders", b"o-1", b"{}")] * 5)
    rates = (await watch.look(12.0))["per_second"]
    assert (rates["read"], rates["applied"], rates["runs"], rates["lag"]) == (15.0, 10.0, 2.0, 2.5)


async def test_states_have_their_workflows_and_their_trouble(shelf: Shelf) -> None:
    """Shards and versions are summed; a hold is no workflow; a state that is only passed is shown too."""
    one, two = ShardEntry(), ShardEntry()
    one.counts = {PLACE: 2, PLACE._replace(status=Status.PARKED): 1}
    two.counts = {
        PLACE._replace(version=2): 3,
        PLACE._replace(state="done", status=Status.FINAL): 4,
        PLACE._replace(state="", status=Status.EXPECTED): 9,
    }
    shelf.shard_entry(0, one)
    shelf.shard_entry(1, two)
    for seq, (before, after) in enumerate([(None, "new"), ("new", "running")]):
        kind = "applied" if before else "created"
        told = {"machine": "order", "seq": seq, "from": before, "to": after, "outcome": "applied"}
        await shelf.told(kind, "o-1", told)
    states = (await Watch(shelf.log, shelf.app).look(0.0))["states"]
    rows = {state["state"]: state for state in states}
    assert {name: row["workflows"] for name, row in rows.items()} == {
        "running": 6,
        "new": 0,
        "done": 4,
    }
    assert (rows["running"]["parked"], rows["done"]["final"], rows["new"]["left"]) == (1, 4, 1)
    assert states[-1]["state"] == "done"


async def test_errors_of_a_kind_are_one_row(shelf: Shelf) -> None:
    """Failed attempts and dead letters are counted by what failed and how; the newest comes first."""
    failed = {
        "machine": "order",
        "callback": "charge",
        "outcome": "failed",
        "error": "ConnectionError",
        "message": "no answer",
    }
    for workflow_id in ("o-1", "o-2"):
        await shelf.told("run", workflow_id, failed)
    await shelf.told("run", "o-3", failed | {"outcome": "done"})
    await shelf.told("dead_lettered", "o-4", {"event": "pay", "reason": "expired", "outcome": "x"})
    errors = (await Watch(shelf.log, shelf.app).look(0.0))["errors"]
    assert sorted((e["times"], e["what"], e["error"]) for e in errors) == [
        (1, "pay", "expired"),
        (2, "charge", "ConnectionError"),
    ]


async def test_a_look_reads_what_is_new_and_no_more_than_its_limit(shelf: Shelf) -> None:
    """No record is read twice; a history of any length costs the last records of it only."""
    writer = HistoryWriter(shelf.app.history, 0, "app")
    record = writer.record("rejected", "o-1", "here", NOW_MS, {"outcome": "rejected"})
    await shelf.log.publish([record] * (LOOK + 7))
    tail = Feed(shelf.log, shelf.app)
    assert len(await tail.new()) == LOOK
    assert (await tail.new(), tail.passed_over) == ([], 0)
    await shelf.log.publish([record] * 3)
    assert len(await tail.new()) == 3
    await shelf.log.publish([record] * (LOOK + 2))
    assert (len(await tail.new()), tail.passed_over) == (LOOK, 2)


def test_a_stay_is_from_entering_to_leaving() -> None:
    """A transition that ends where it began is part of the stay, and so is what changed no state."""
    stays = _heard(
        _moved(0, None, "new", 0),
        _moved(1, "new", "busy", 1),
        _moved(2, "busy", "busy", 5),
        _moved(2, None, "busy", 6, kind="command", command="pause"),
        _moved(3, "busy", "done", 9, result="success"),
    )
    assert {state: dwell.median_ms for (_, state), dwell in stays.items()} == {
        "new": 1_000,
        "busy": 8_000,
    }


@pytest.mark.parametrize(
    "records",
    [
        [_moved(4, "busy", "busy", 0), _moved(5, "busy", "done", 1)],
        [_moved(1, "new", "busy", 0), _moved(4, "busy", "done", 1)],
        [_moved(1, "new", "busy", 0), _moved(1, "", "", 1, kind="removed", to=None)],
        [_moved(1, "new", "busy", 0), _moved(1, "busy", "idle", 1, kind="migrated")],
    ],
    ids=["begun before", "a gap", "removed", "migrated"],
)
def test_a_stay_of_which_not_all_was_heard_is_not_measured(records: list[dict[str, Any]]) -> None:
    """Nothing is measured that might be longer or shorter than it seems."""
    assert _heard(*records) == {}


def test_a_time_is_read_as_it_was_written() -> None:
    """Milliseconds survive."""
    assert epoch_ms(rfc3339(NOW_MS + 7)) == NOW_MS + 7
