"""
The verbs of the ledger, each by itself: what it counts, and what the next cut holds because of it.

Promise P1 as a table: whatever is called, in whatever order, both sides add up, or no cut is built.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from event_center.engine.ledger import Ledger
from event_center.engine.workflow import Mailbox, Waiting, Workflows
from event_center.errors import InvariantError
from event_center.model import (
    Event,
    Outcome,
    Outgoing,
    Owed,
    Position,
    Reason,
    Record,
    Snapshot,
    Status,
)
from event_center.wire import history
from event_center.wire.entries import SHARD_KEY, ShardEntry, snapshot_key, waiting_key
from event_center.wire.history import HistoryWriter
from event_center.wire.snapshot import encode

NOW = 1_000
RECORD = Record(offset=0, timestamp_ms=NOW, key=b"w", value=b"{}", headers=())


class Books:
    """A ledger of one shard, with one workflow in it."""

    def __init__(self) -> None:
        self.now_ms = NOW
        self.workflows = Workflows("shard 0")
        self.entry = ShardEntry()
        self.ledger = Ledger(
            self.entry,
            self.workflows,
            writer=HistoryWriter("history", 0, "/app"),
            letters=("letters", 0),
            clock=lambda: self.now_ms,
            warm=10,
            machines={},
        )
        self.snapshot = Snapshot("w", "m", 1, "open")
        self.workflows.by_id["w"] = self.snapshot
        self.offset = 0

    def read(self) -> Event:
        """One record is taken in."""
        event = Event("go", None, None, NOW, (), "orders", 0, self.offset)
        self.offset += 1
        self.ledger.took("orders", 1, self.offset)
        return event

    def waits(self) -> Waiting:
        """One record is taken in and waits."""
        event = self.read()
        item = Waiting(event, RECORD, "orders", 0)
        self.ledger.wait(self.snapshot, item)
        return item

    def told(self) -> list[str]:
        """The kinds of the history that the next cut holds."""
        records = self.ledger.build().records
        return [history.read(value or b"")["kind"] for _, _, value, *_ in records]


def test_nothing_happened() -> None:
    """A ledger of which nobody has called a verb has nothing to cut."""
    assert Books().ledger.clean


VERBS: dict[str, Callable[[Books], object]] = {
    "repeated": lambda books: books.ledger.repeated(3),
    "passed_over": lambda books: books.ledger.passed_over("orders", 7, 0),
    "made_anew": lambda books: books.ledger.made_anew("orders", "new", []),
    "changed": lambda books: books.ledger.changed(books.snapshot),
    "ran": lambda books: books.ledger.ran(books.snapshot),
    "send": lambda books: books.ledger.send([Outgoing("mail", b"k", b"v")]),
    "took": lambda books: books.ledger.outcome(books.snapshot, books.read(), Outcome.IGNORED),
    "wait": Books.waits,
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_happened_is_in_the_next_cut(verb: str) -> None:
    """P5: after each verb there is something to cut, and after that cut nothing any more."""
    books = Books()
    VERBS[verb](books)
    assert not books.ledger.clean
    assert SHARD_KEY in books.ledger.build().entries
    books.ledger.committed()
    assert books.ledger.clean


def test_what_was_read() -> None:
    """P1: what is redelivered is told apart; what was passed over is lost only if it was to be read."""
    books = Books()
    books.ledger.took("orders", 5, 5, redelivered=2)
    books.ledger.passed_over("orders", 9, 4)
    books.ledger.passed_over("mail", 3, 0)
    entry = books.entry
    assert (entry.read, entry.redelivered, books.ledger.taken) == (3, 2, 5)
    assert entry.offsets == {"orders": 9, "mail": 3}
    assert entry.lost == {"orders": 4}
    books.ledger.made_anew("orders", "second", ["orders"])
    assert (entry.offsets, entry.renewed) == ({"mail": 3}, {"orders": 1})


def test_a_record_without_an_outcome_stops_the_shard() -> None:
    """P1: a record that was read and is nowhere is a mistake of ours: no cut is built with it."""
    books = Books()
    books.read()
    with pytest.raises(InvariantError, match="records do not add up: read 1"):
        books.ledger.build()


def test_a_record_that_waits() -> None:
    """It has an entry from the next cut on, weighs something, and is gone with its outcome."""
    books = Books()
    item = books.waits()
    assert books.ledger.waiting.weights["queued"] > len(RECORD.value or b"")
    assert waiting_key("w", 0) in books.ledger.build().entries
    assert (books.snapshot.waiting, item.number) == (1, 0)
    books.ledger.decided(books.snapshot, item)
    books.ledger.outcome(books.snapshot, item.event or Event(""), Outcome.REJECTED, Reason.FINISHED)
    assert books.ledger.build().entries[waiting_key("w", 0)] is None
    assert (books.snapshot.waiting, sum(books.ledger.waiting.weights.values())) == (0, 0)


def test_one_that_waited_for_less_than_a_cut_has_no_entry() -> None:
    """What came and went between two cuts is in none."""
    books = Books()
    item = books.waits()
    books.ledger.decided(books.snapshot, item)
    books.ledger.outcome(books.snapshot, item.event or Event(""), Outcome.IGNORED)
    assert waiting_key("w", 0) not in books.ledger.build().entries


@pytest.mark.parametrize(
    ("status", "cause"),
    [(Status.ACTIVE, "queued"), (Status.PAUSED, "parked"), (Status.EXPECTED, "held")],
)
def test_what_waits_is_counted_by_its_cause(status: Status, cause: str) -> None:
    """P8: whoever looks at the counts sees why things wait; they move with the status."""
    books = Books()
    mailbox = Mailbox()
    mailbox.queue.append(books.waits())
    books.ledger.status(books.snapshot, status, mailbox)
    assert {name: n for name, n in books.entry.waiting.items() if n} == {cause: 1}


def test_what_is_owed_starts_after_its_cut() -> None:
    """P3: from `owes` until its cut is durable a run is promised, and no longer."""
    books = Books()
    books.snapshot.owed = (Owed("work", 1),)
    books.ledger.changed(books.snapshot)
    books.ledger.owes(books.snapshot)
    assert books.ledger.promised("w")
    books.ledger.build()
    assert books.ledger.promised("w")
    assert books.ledger.committed() == [books.snapshot]
    assert not books.ledger.promised("w")


class Running(Books):
    """A workflow owes a run in its last cut, and nothing else of it has happened since."""

    def __init__(self) -> None:
        super().__init__()
        self.snapshot.owed = (Owed("work", 0),)
        self.snapshot.cause = Event("go", {"n": 1})
        self.ledger.changed(self.snapshot)
        assert self.value() == encode(self.snapshot)[0]

    def value(self) -> bytes | None:
        """Its value in the next cut."""
        return self.ledger.build().entries[snapshot_key("w")]

    def refuse(self) -> None:
        """It refuses an event."""
        self.ledger.outcome(self.snapshot, self.read(), Outcome.REJECTED, Reason.GUARD)

    def done(self) -> None:
        """Its run is done."""
        (owed,) = self.snapshot.owed
        self.snapshot.owed, self.snapshot.cause = (), None
        self.ledger.ran(self.snapshot, only=True)
        self.ledger.done(self.snapshot, owed)


def test_who_only_ran_has_the_bytes_that_were_known_before() -> None:
    """Nothing but the end of its run has happened: the value was made with the one before."""
    books = Running()
    books.done()
    known, value = books.snapshot.relieved, books.value()
    assert value is known
    assert value == encode(books.snapshot)[0]


@pytest.mark.parametrize("before", [True, False])
def test_who_changed_beside_its_run_has_bytes_with_that(before: bool) -> None:
    """What happens to a workflow before or after the end of its run is in the same cut."""
    books = Running()
    for happens in (books.refuse, books.done) if before else (books.done, books.refuse):
        happens()
    assert books.value() == encode(books.snapshot)[0]


def test_without_the_look_at_what_changed_it_would_be_lost() -> None:
    """The twin: the bytes that were known before do not have it."""
    books = Running()
    books.refuse()
    books.ledger.dirty.clear()
    books.done()
    assert books.value() != encode(books.snapshot)[0]


def test_a_workflow_that_is_removed_is_owed_nothing() -> None:
    """Its snapshot becomes a tombstone, and what it owed is not started by the cut under way."""
    books = Books()
    books.ledger.changed(books.snapshot)
    books.ledger.owes(books.snapshot)
    books.ledger.build()
    books.ledger.remove(books.snapshot)
    assert books.ledger.committed() == []
    assert books.ledger.build().entries[snapshot_key("w")] is None
    assert not any(books.entry.counts.values())


def test_runs_and_jobs_are_counted() -> None:
    """The counts of attempts and of jobs are those of the verbs; none of them looks at the clock."""
    books = Books()
    books.now_ms = NOW + 5
    books.ledger.ran(books.snapshot)
    books.ledger.count_jobs(2)
    books.ledger.count_jobs(-1)
    assert (books.entry.runs, books.entry.jobs, books.ledger.now_ms) == (1, 1, NOW)


def test_a_command_is_a_record_with_an_outcome() -> None:
    """P1: it is counted like any other, told in history, and its workflow is in the same cut."""
    books = Books()
    books.read()
    position = Position("commands", 0, 0)
    books.ledger.commanded(books.snapshot, Outcome.APPLIED, position, {"command": "pause"})
    assert books.told() == [history.COMMAND]
    assert books.entry.outcomes["applied"] == 1


def test_any_order_adds_up() -> None:
    """P1: records that wait, are set aside, go behind others or are decided are somewhere at every cut."""
    chance = Random(3)
    books = Books()
    waiting: list[Waiting] = []
    for _ in range(500):
        match chance.choice(["come", "decide", "defer", "behind", "cut"]):
            case "come":
                waiting.append(books.waits())
            case "decide" if waiting:
                item = waiting.pop(chance.randrange(len(waiting)))
                books.ledger.decided(books.snapshot, item)
                books.ledger.outcome(books.snapshot, item.event or Event(""), Outcome.IGNORED)
            case "defer" if waiting and not waiting[-1].deferred:
                books.ledger.defer(books.snapshot, waiting[-1])
            case "behind" if waiting:
                waiting.append(books.ledger.behind(books.snapshot, waiting.pop(0)))
            case "cut":
                books.ledger.build()
                books.ledger.committed()
                assert books.snapshot.waiting == len(waiting)
                assert sum(books.entry.waiting.values()) == len(waiting)
            case _:
                continue  # there is nothing of which it could be done
