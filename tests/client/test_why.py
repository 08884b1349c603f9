"""Why a workflow is where it is: every kind of standing still has its reason and its commands."""

from __future__ import annotations

from typing import Any

import pytest

from event_center.client.why import Known, Told, why
from event_center.machine import Machine, parse
from event_center.model import Failure, Owed, Record, Refusal, Status, Timer
from event_center.wire import letter as letter_wire
from event_center.wire.entries import ShardEntry
from event_center.wire.history import HistoryWriter
from tests.client.shelf import NOW_MS, SHARDS, Shelf

ORDER = """
machine: order
version: 1
initial: new
states:
  new: {on: {begin: running}}
  running:
    entry: {do: charge, retry: twice}
    on:
      paid: {target: done, guard: =payload.cents > 0}
      note: {assign: {seen: true}}
    after: {24h: done}
    defer: [later]
  done: {type: final}
retries:
  twice: {max_attempts: 2}
"""
FAILED = Failure("charge", "OSError", "the disk is full", NOW_MS, 2, "where")


@pytest.fixture
def machine() -> Machine:
    """The machine of the workflows."""
    return parse(ORDER, "order.yaml")


async def _told(shelf: Shelf, machine: Machine | None, **known: Any) -> Told:
    known.setdefault("served", True)
    told = await why(shelf.log, shelf.app, "o-1", Known(NOW_MS + 5_000, machine, **known))
    assert told is not None
    return told


def _commands(told: Told) -> list[str]:
    return [one["command"].removeprefix("event-center ").split()[0] for one in told["helps"]]


Standing = tuple[dict[str, Any], str, list[str]]
STANDING: list[Standing] = [
    ({}, "nothing is wrong", ["send", "send", "history"]),
    (
        {"status": Status.PARKED, "parked": "failed", "failure": FAILED},
        "charge failed and is not tried again: OSError: the disk is full",
        ["retry", "skip", "cancel", "history"],
    ),
    (
        {"status": Status.PARKED, "parked": "crashed", "failure": FAILED},
        "the process ended while charge ran",
        ["retry", "skip", "cancel", "history"],
    ),
    (
        {"status": Status.PARKED, "parked": "loop"},
        "more than 1,000 transitions",
        ["retry", "set-state", "cancel", "history"],
    ),
    (
        {"status": Status.PARKED, "parked": "cut_failed"},
        "the log did not answer to three cuts",
        ["retry", "set-state", "cancel", "history"],
    ),
    (
        {"status": Status.PARKED, "parked": "cut_failed", "owed": (Owed("charge", 0),)},
        "the log did not answer to three cuts",
        ["retry", "skip", "set-state", "cancel", "history"],
    ),
    (
        {"status": Status.PARKED, "parked": "no_place"},
        "no loaded version",
        ["retry", "set-state", "cancel", "history"],
    ),
    (
        {
            "status": Status.PARKED,
            "parked": "no_place",
            "failure": FAILED._replace(callback="upgrade two"),
        },
        "the function two could not bring it to the loaded version: OSError: the disk is full",
        ["retry", "set-state", "cancel", "history"],
    ),
    ({"status": Status.PAUSED}, "it was paused", ["resume", "history"]),
    (
        {
            "status": Status.RETRYING,
            "owed": (Owed("charge", 0, 1, NOW_MS + 60_000),),
            "failure": FAILED,
        },
        "charge failed once: OSError: the disk is full; tried again at",
        ["retry", "skip", "history"],
    ),
    (
        {"status": Status.RETRYING, "deciding_attempt": 1, "deciding_due_ms": NOW_MS + 1},
        "an event could not be decided; tried again at",
        ["retry", "skip", "history"],
    ),
    ({"owed": (Owed("charge", 0),)}, "charge has not ended yet", ["skip", "history"]),
    (
        {"status": Status.FINAL, "result": "success"},
        "it ended as success",
        ["set-state", "history"],
    ),
    (
        {"status": Status.EXPECTED, "timers": (Timer("@hold", 0, NOW_MS + 60_000),)},
        "there is no such workflow yet: 0 events are held for it until 2023-11-14T22:14:20.000Z",
        ["forget", "history"],
    ),
]


@pytest.mark.parametrize("standing", STANDING)
async def test_each_way_to_stand_still(shelf: Shelf, machine: Machine, standing: Standing) -> None:
    """The reason is that of the snapshot, and the commands are those that fit it."""
    fields, reason, commands = standing
    shelf.workflow("o-1", **fields)
    told = await _told(shelf, machine, served=True)
    assert reason in told["because"]
    assert _commands(told) == commands


async def test_what_would_move_it(shelf: Shelf, machine: Machine) -> None:
    """Events, timers and ends of callbacks are named with their guards and where they lead."""
    shelf.workflow("o-1", owed=(Owed("charge", 0, 1),))
    told = await _told(shelf, machine, served=None)
    ways = [(way["event"], way["guard"], way["target"], way["deferred"]) for way in told["moves"]]
    assert ways == [
        ("paid", "=payload.cents > 0", "done", False),
        ("note", None, None, False),
        ("later", None, None, True),
        ("after 24h", None, "done", False),
    ]
    assert told["owed"][0]["max_attempts"] == 2
    assert (await _told(shelf, None, served=None))["moves"] is None
    shelf.workflow("o-1", state="gone")
    assert (await _told(shelf, machine, served=None))["moves"] is None


async def test_a_stay_is_compared_with_others(shelf: Shelf, machine: Machine) -> None:
    """Of 4 stays that ended, 3 were shorter than this one of 5 s; older ones count for nothing."""
    shelf.workflow("o-1")
    for number, length_ms in enumerate((100, 200, 300, 60_000)):
        await _stay(shelf, f"p-{number}", NOW_MS, length_ms)
    await _stay(shelf, "p-9", NOW_MS - 30 * 86_400_000, 1)
    stay = (await _told(shelf, machine, served=True))["stay"]
    assert (stay["stays"], stay["longer_than_percent"], stay["complete"]) == (4, 75, True)
    assert (stay["median_s"], stay["p95_s"]) == (0.2, 60.0)


async def _stay(shelf: Shelf, workflow_id: str, at_ms: int, length_ms: int) -> None:
    """A workflow of the machine that was in `running` for so long."""
    home = shelf.app.home(workflow_id)
    writer = HistoryWriter(shelf.app.history, home, "app")
    about = {"machine": "order", "outcome": "applied"}
    steps = ((at_ms, "new", "running"), (at_ms + length_ms, "running", "done"))
    records = [
        writer.record(
            "applied", workflow_id, f"o/{at}", at, about | {"from": a, "to": b, "seq": seq}
        )
        for seq, (at, a, b) in enumerate(steps)
    ]
    await shelf.log.publish(records)


async def test_what_came_in_vain(shelf: Shelf, machine: Machine) -> None:
    """Refused and ignored events since it is there, its letters, and who paused it are told."""
    refusal = Refusal(NOW_MS, "begin", "not_accepted", "state running accepts: paid")
    shelf.workflow("o-1", status=Status.PAUSED, refusals=(refusal,), letters_last=1)
    await shelf.told("rejected", "o-1", {"event": "begin", "outcome": "rejected"})
    await shelf.told("ignored", "o-1", {"event": "x", "outcome": "ignored"})
    await shelf.told(
        "command", "o-1", {"command": "pause", "by": "ann", "why": "look", "outcome": "applied"}
    )
    told = await _told(shelf, machine, served=True)
    assert told["came_in_vain"] == {"rejected": 1, "ignored": 1}
    assert told["refusals"][0]["detail"] == "state running accepts: paid"
    assert told["because"].startswith('it was paused by ann ("look")')


async def test_a_result_that_was_refused(shelf: Shelf, machine: Machine) -> None:
    """A callback that returned what its state does not take is the reason why nothing moves."""
    shelf.workflow("o-1")
    await shelf.told("rejected", "o-1", {"event": "begin", "outcome": "rejected"})
    assert "nothing is wrong" in (await _told(shelf, machine, served=True))["because"]
    why = {"outcome": "rejected", "reason": "unknown_event", "origin": "run/1/charge"}
    await shelf.told("rejected", "o-1", {"event": "payd"} | why)
    because = (await _told(shelf, machine, served=True))["because"]
    assert because.startswith("its callback charge returned 'payd', which was rejected (unknown_")


async def test_how_it_came_to_fail(shelf: Shelf, machine: Machine) -> None:
    """The last callback of this life that failed for good is named; an attempt before another is not."""
    failed = {"callback": "charge", "state": "running", "outcome": "failed", "error": "OSError"}
    await shelf.told("run", "o-1", failed | {"message": "of an earlier life"})
    await shelf.told("created", "o-1", {"event": "begin"})
    shelf.workflow("o-1", "done", status=Status.FINAL, result="failure")
    assert (await _told(shelf, machine))["because"] == "it ended as failure"
    await shelf.told("run", "o-1", failed | {"message": "is full"})
    await shelf.told("run", "o-1", failed | {"message": "not for good", "again_in_ms": 1})
    because = "it ended as failure after charge failed in running: OSError: is full"
    assert (await _told(shelf, machine))["because"] == because
    shelf.workflow("o-1", "done", status=Status.FINAL, result="success")
    assert (await _told(shelf, machine))["because"] == "it ended as success"


@pytest.mark.parametrize(
    ("origin", "failed", "told"),
    [
        (
            "error/1/charge",
            {"kind": "run", "seq": 1, "callback": "charge", "outcome": "failed", "attempt": 5},
            " after charge failed 5 times in running: OSError: is full",
        ),
        (
            "error/1/charge",
            {"kind": "run", "seq": 1, "callback": "charge", "outcome": "failed", "attempt": 1},
            " after charge failed once in running: OSError: is full",
        ),
        (
            "error/orders/0/7",
            {"kind": "rejected", "topic": "orders", "partition": 0, "offset": 7},
            " after 'paid' could not be decided: OSError: is full",
        ),
        (
            "error/timer/1/x",
            {"kind": "rejected", "origin": "timer/1/x"},
            " after 'paid' could not be decided: OSError: is full",
        ),
        # It failed, and something else has ended the workflow.
        ("orders/0/8", {"kind": "run", "seq": 1, "callback": "charge", "outcome": "failed"}, ""),
        ("error/2/other", {"kind": "run", "seq": 1, "callback": "charge", "outcome": "failed"}, ""),
    ],
)
@pytest.mark.parametrize("result", ["cancelled", "success"])
async def test_a_failure_that_ended_it_is_named(
    shelf: Shelf, machine: Machine, *, result: str, origin: str, failed: dict[str, Any], told: str
) -> None:
    """Whatever the result is, if the last transition was by a failure, and only then."""
    about = {"state": "running", "event": "paid", "error": "OSError", "message": "is full"}
    reason = {"outcome": "rejected", "reason": "failed", "detail": "OSError: is full"}
    await shelf.told("created", "o-1", {"event": "begin"})
    await shelf.told(failed["kind"], "o-1", reason | about | failed)
    ended = {"machine": "order", "seq": 2, "to": "done", "result": result, "outcome": "applied"}
    await shelf.told("applied", "o-1", ended | {"from": "running", "origin": origin})
    later = ended | {"command": "replay", "by": "ann", "why": ""}
    await shelf.told("command", "o-1", later)  # it moves nothing
    shelf.workflow("o-1", "done", status=Status.FINAL, result=result)
    assert (await _told(shelf, machine))["because"] == f"it ended as {result}{told}"
    await shelf.told("command", "o-1", later | {"command": "set-state"})
    assert (await _told(shelf, machine))["because"] == f"it ended as {result}"


async def test_its_shard_is_told_of(shelf: Shelf, machine: Machine) -> None:
    """Who made the last cut, what is unread, and limits of its shard and of all stand beside it."""
    shelf.workflow("o-1")
    home = shelf.app.home("o-1")
    entry = ShardEntry()
    entry.owner = "host/7"
    shelf.shard_entry(home, entry)
    limits = tuple({"limit": "log", "shard": one, "meaning": str(one)} for one in (0, 1, None))
    shard = (await _told(shelf, machine, served=False, limits=limits))["shard"]
    assert (shard["owner"], shard["served"], shard["unread"]) == ("host/7", False, 0)
    assert [one["meaning"] for one in shard["limits"]] == [str(home), "None"]
    told = await _told(shelf, machine, served=False)
    assert told["helps"][0]["command"] == "event-center run"


async def test_letters_far_from_home_are_told(shelf: Shelf, machine: Machine) -> None:
    """Of an event on a wrong partition the letter lies where that was read, and is told all the same."""
    shelf.workflow("o-1")
    for partition in range(SHARDS):
        record = Record(7, NOW_MS + partition, b"o-1", b"{}")
        because = {"reason": "wrong_partition", "workflow_id": "o-1"}
        topic = shelf.app.dead_letters
        sent = letter_wire.write(topic, partition, record, f"orders/{partition}/7", why=because)
        shelf.broker.append([sent], NOW_MS + partition)
    told = await _told(shelf, machine)
    assert told["dead_letters"]["count"] == SHARDS
    assert [one["letter"] for one in told["dead_letters"]["newest"]] == ["0/0", "1/0"]


async def test_open_letters_hold_it_up(shelf: Shelf, machine: Machine) -> None:
    """Of open letters, the one that is to be replayed next is proposed."""
    workflow_id = next(f"o-{n}" for n in range(9) if shelf.app.home(f"o-{n}") == 0)
    shelf.workflow(workflow_id, letters_next=1, letters_last=2)
    for number in (0, 1):
        await shelf.letter(
            workflow_id, b"{}", workflow_id=workflow_id, event="paid", number=str(number)
        )
    told = await why(shelf.log, shelf.app, workflow_id, Known(NOW_MS, machine, served=True))
    assert told is not None
    assert told["because"].startswith("1 of its dead letters are open")
    assert told["dead_letters"]["count"] == 2
    assert told["helps"][0]["command"] == "event-center dead-letters replay 0/1"


async def test_nobody_is_there(shelf: Shelf, machine: Machine) -> None:
    """Of a workflow that there is not, nothing is told."""
    assert await why(shelf.log, shelf.app, "o-1", Known(NOW_MS, machine, served=True)) is None
