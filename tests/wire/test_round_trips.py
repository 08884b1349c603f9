"""Bytes and back: what the engine writes it reads again, whatever users put into it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from event_center.errors import FormatError
from event_center.model import (
    Event,
    Failure,
    Owed,
    Position,
    Record,
    Refusal,
    Snapshot,
    Status,
    Timer,
)
from event_center.wire import command, entries, history, letter, snapshot, waiting
from event_center.wire.command import Command, Verb
from event_center.wire.entries import Counted, ShardEntry

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NAME = st.text(st.characters(codec="utf-8", exclude_characters="\t\n|"), min_size=1, max_size=20)
WORKFLOW_ID = st.text(
    st.characters(codec="utf-8", min_codepoint=0x20, exclude_characters="\x7f"), max_size=20
)
NUMBER = st.integers(0, 2**53)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
).filter(lambda value: "Infinity" not in repr(value) and "inf" not in repr(value))
HEADERS = st.lists(st.tuples(TEXT, st.binary(max_size=10)), max_size=3).map(tuple)
EVENT = st.builds(
    Event, TEXT, JSON, st.none() | TEXT, NUMBER, HEADERS, TEXT, st.integers(-1, 99), NUMBER
)
RECORD = st.builds(
    Record,
    offset=NUMBER,
    timestamp_ms=NUMBER,
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=HEADERS,
)
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from(Status),
    "seq": NUMBER,
    "data": st.dictionaries(TEXT, JSON, max_size=3),
    "entered_at_ms": NUMBER,
    "seen": st.dictionaries(TEXT, NUMBER, max_size=3),
    "timers": st.lists(st.builds(Timer, TEXT, NUMBER, NUMBER), max_size=2).map(tuple),
    "ids": st.lists(st.integers(0, 2**64 - 1), max_size=3).map(tuple),
    "refusals": st.lists(st.builds(Refusal, NUMBER, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    "loop": NUMBER,
    "parked": st.none() | NAME,
    "memory": st.none() | st.dictionaries(NAME, NAME, min_size=1, max_size=2),
    "earlier": st.none() | st.dictionaries(NUMBER, EVENT, min_size=1, max_size=2),
    "failure": st.none() | st.builds(Failure, TEXT, TEXT, TEXT, NUMBER, NUMBER),
}
OWED = st.lists(st.builds(Owed, TEXT, NUMBER, NUMBER, NUMBER, NUMBER), min_size=1, max_size=2)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any snapshot that the engine can make: parts that belong together come together."""
    made = Snapshot(draw(WORKFLOW_ID), draw(NAME), draw(NUMBER), draw(NAME))
    for name, values in PARTS.items():
        setattr(made, name, draw(values))
    if draw(st.booleans()):
        made.owed = tuple(draw(OWED))
        made.cause = draw(st.none() | EVENT)
    if made.earlier:
        made.jobs = tuple(draw(OWED))
    if draw(st.booleans()):
        made.result = draw(st.sampled_from(["success", "failure", "cancelled"]))
        made.closed_at_ms = draw(NUMBER)
    if draw(st.booleans()):
        made.waiting, made.waiting_next = draw(st.integers(1, 99)), draw(NUMBER)
    if draw(st.booleans()):
        made.letters_next, made.letters_last = draw(NUMBER), draw(st.integers(1, 99))
    if draw(st.booleans()):
        made.deciding_attempt, made.deciding_due_ms = draw(st.integers(1, 9)), draw(NUMBER)
        made.deciding_event = draw(st.just("") | NAME)
    return made


@given(snapshots())
def test_a_snapshot_comes_back_with_every_field(made: Snapshot) -> None:
    """Restore is exact: every field but the place, which is counted already."""
    value, where = snapshot.encode(made)
    read = snapshot.decode(made.workflow_id, value)
    for name in Snapshot.__slots__:
        if name != "counted":
            assert getattr(read, name) == getattr(made, name), name
    assert read.counted is where
    assert where == Counted(made.machine, made.version, made.state, made.status)
    assert snapshot.encode(read) == (value, where)


@given(snapshots())
def test_the_first_line_tells_what_a_restore_needs(made: Snapshot) -> None:
    """`peek` says place, needs and the least due time without decoding the rest."""
    value, where = snapshot.encode(made)
    head = snapshot.peek(value)
    assert head[1:5] == tuple(where)
    assert ("t" in head.needs) is bool(made.timers or made.deciding_due_ms)
    assert ("o" in head.needs) is bool(made.owed)
    assert ("w" in head.needs) is bool(made.waiting)
    assert ("j" in head.needs) is bool(made.jobs)
    assert ("s" in head.needs) is (made.status in {"parked", "paused", "expected"})
    dues = [timer.due_ms for timer in made.timers]
    if made.owed and made.owed[0].due_ms:
        dues.append(made.owed[0].due_ms)
    dues += [job.due_ms for job in made.jobs if job.due_ms]
    if made.deciding_due_ms:
        dues.append(made.deciding_due_ms)
    assert head.due_ms == min(dues, default=0)


@given(st.integers(1, 2**53))
def test_a_finished_one_says_since_when_all_of_it_is_over(over_ms: int) -> None:
    """Its first line tells retention what it needs, and the time comes back."""
    made = Snapshot("w", "m", 1, "over")
    made.result, made.status, made.over_ms = "success", Status.FINAL, over_ms
    value, _ = snapshot.encode(made)
    assert (snapshot.peek(value).needs, snapshot.peek(value).due_ms) == ("e", over_ms)
    assert snapshot.decode("w", value).over_ms == over_ms


@given(st.binary(max_size=200) | snapshots().map(lambda made: snapshot.encode(made)[0]), st.data())
def test_a_damaged_snapshot_is_a_format_error(value: bytes, data: st.DataObject) -> None:
    """Any bytes are read or refused; no other error comes out."""
    cut = value[: data.draw(st.integers(0, len(value)))]
    for damaged in (value, cut, cut + b"\t" + cut):
        for read in (snapshot.peek, lambda value: snapshot.decode("w", value)):
            with suppress(FormatError):
                read(damaged)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"null",
        b'{"seq":1,"at":2,"data":{},"seen":{},"waiting":[1]}',
        b'{"seq":1,"at":2,"data":{},"seen":{},"waiting":5}',
        b'{"seq":1,"at":2,"data":{},"seen":{},"owed":[[]]}',
        b'{"seq":1,"at":2,"data":{},"seen":{},"cause":["x"]}',
        b'{"seq":1,"at":2,"data":{},"seen":{},"cause":[1,2,3,4,[[1,2]],6,7,8]}',
        b'{"seq":1,"at":2,"data":{},"seen":{},"timers":[5]}',
        b'{"seq":1,"at":2,"data":{},"seen":{},"letters":"abc"}',
    ],
)
def test_a_snapshot_with_a_wrong_body_is_a_format_error(body: bytes) -> None:
    """A body that is JSON, but not a snapshot's, stops its own workflow only."""
    with pytest.raises(FormatError, match="'w'"):
        snapshot.decode("w", b"1\tm\t1\ts\tactive\t0\n" + body)


def test_a_snapshot_of_a_newer_format_says_so() -> None:
    """The message names both formats."""
    with pytest.raises(FormatError, match=r"format 7.* reads 1"):
        snapshot.peek(b"7\tm\t1\ts\tactive\t0\n{}")


DUE = st.just(0) | NUMBER


@given(st.builds(waiting.WaitingEntry, RECORD, TEXT, st.integers(0, 99), st.booleans(), DUE))
@example(waiting.WaitingEntry(Record(5, 6, b"50%", b'{"a":"%d"}', ()), '%b"', 0, deferred=True))
def test_a_waiting_entry_keeps_its_whole_record(entry: waiting.WaitingEntry) -> None:
    """An event that waited is decided, or becomes a letter, as if it had just been read."""
    value = waiting.encode(entry)
    assert waiting.decode(value) == entry
    line, _, _ = value.partition(b"\n")
    assert orjson.dumps(orjson.loads(line)) == line


@given(st.binary(max_size=100) | st.just(b'{"format": 1}\nx') | JSON.map(repr).map(str.encode))
def test_damaged_entries_are_format_errors(value: bytes) -> None:
    """Waiting entries, the shard entry, commands, history: any bytes are read or refused."""
    for read in (waiting.decode, ShardEntry.decode, command.decode, history.read):
        with suppress(FormatError):
            read(value)


@given(
    st.dictionaries(TEXT, NUMBER, max_size=3),
    st.dictionaries(
        st.builds(Counted, NAME, NUMBER, NAME, st.sampled_from(list(map(str, Status)))),
        st.integers(1, 99),
        max_size=3,
    ),
    NUMBER,
)
def test_the_shard_entry_comes_back(
    offsets: dict[str, int], counts: dict[Counted, int], number: int
) -> None:
    """Every counter of a shard survives; counts of nobody are left out."""
    entry = ShardEntry()
    entry.offsets, entry.counts, entry.read, entry.cut = offsets, dict(counts), number, number
    entry.counts[Counted("nobody", 1, "s", Status.ACTIVE)] = 0
    entry.machines = {"m@1": "hash"}
    read = ShardEntry.decode(entry.encode())
    assert read.counts == counts
    for name in set(ShardEntry.__slots__) - {"counts"}:
        assert getattr(read, name) == getattr(entry, name)


def test_a_shard_entry_without_a_partitioner_is_read() -> None:
    """What an older release did not note is unknown, and no reason to refuse its log."""
    older = ShardEntry().encode().replace(b'"partitioner":"",', b"")
    assert b"partitioner" not in older
    assert ShardEntry.decode(older).partitioner == ""


def test_a_shard_entry_of_a_newer_release_is_refused() -> None:
    """The message says what to run."""
    newer = ShardEntry().encode().replace(b'"format":1', b'"format":2')
    with pytest.raises(FormatError, match="run the release that wrote it"):
        ShardEntry.decode(newer)


@given(WORKFLOW_ID, st.integers(0, 10**9), st.integers(0, 10**9))
def test_keys_come_back_and_sort_by_number(workflow_id: str, one: int, two: int) -> None:
    """Keys of waiting entries sort as their numbers do, and never look like a snapshot's."""
    assert entries.workflow_of(entries.snapshot_key(workflow_id)) == workflow_id
    key, other = (entries.waiting_key(workflow_id, number) for number in (one, two))
    assert entries.waiting_of(key) == (workflow_id, one)
    assert (key < other) is (one < two)
    assert key.startswith(entries.waiting_prefix(workflow_id))
    assert entries.is_waiting(key)
    assert not entries.is_snapshot(key)


@given(
    st.builds(
        Command,
        id=TEXT,
        verb=st.sampled_from(Verb),
        workflow_id=WORKFLOW_ID.filter(len),
        by=TEXT,
        reason=TEXT,
        args=st.dictionaries(TEXT, JSON, max_size=3),
    )
)
def test_a_command_comes_back(asked: Command) -> None:
    """What a client asks is what the engine reads."""
    assert command.decode(asked.encode()) == asked


@given(RECORD, TEXT, NAME, st.tuples(st.none() | NUMBER, st.integers(0, 9)))
def test_a_letter_keeps_the_event_as_it_was(
    record: Record, origin: str, reason: str, numbers: tuple[int | None, int]
) -> None:
    """The original bytes and headers, beside the reasons; a letter of a letter does not pile them up."""
    number, attempts = numbers
    why = {"reason": reason, "attempts": str(attempts), "workflow_id": origin}
    if number is not None:
        why["number"] = str(number)
    for _ in range(2):
        out = letter.write("letters", 3, record, origin, why=why)
        record = Record(7, 1, out.key, out.value, out.headers)
        read = letter.read("letters", 3, record)
        assert read.position == Position("letters", 3, 7)
        assert (read.origin, read.reason, read.number) == (origin, reason, number)
        assert (read.attempts, read.value, read.key) == (attempts, record.value, record.key)
        assert not [name for name, _ in read.headers if name.startswith(letter.PREFIX)]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("other", b"x"),),
        ((letter.PREFIX + "origin", b"o"),),
        (
            (letter.PREFIX + "origin", b"o"),
            (letter.PREFIX + "reason", b"r"),
            (letter.PREFIX + "number", b"x"),
        ),
        (
            (letter.PREFIX + "origin", b"o"),
            (letter.PREFIX + "reason", b"r"),
            (letter.PREFIX + "attempts", b""),
        ),
    ],
)
def test_what_is_no_letter_is_a_format_error(headers: tuple[tuple[str, bytes], ...]) -> None:
    """A record that somebody else wrote into the dead letters is named with its position."""
    with pytest.raises(FormatError, match="letters/0/5"):
        letter.read("letters", 0, Record(5, 1, None, b"", headers))


@given(WORKFLOW_ID, TEXT, st.integers(0, 253402300799999), st.dictionaries(NAME, JSON, max_size=3))
def test_a_history_record_comes_back(
    workflow_id: str, origin: str, at_ms: int, data: dict[str, Any]
) -> None:
    """A CloudEvent with a unique id, as orjson has it; its data come back beside kind, workflow, time."""
    data = {name: data[name] for name in data if name not in {"kind", "workflow_id", "at"}}
    source = '/a "p" %d'
    writer = history.HistoryWriter("history", 2, source)
    out = writer.record(history.RUN, workflow_id, origin, at_ms, data)
    assert (out.topic, out.partition, out.key) == ("history", 2, workflow_id.encode())
    body = {
        "specversion": "1.0",
        "type": "event_center.run",
        "source": source,
        "id": f"{workflow_id}/{origin}/run",
        "subject": workflow_id,
        "time": history.rfc3339(at_ms),
        "data": data,
    }
    assert out.value == orjson.dumps(body)
    read = history.read(out.value or b"")
    assert (read.pop("kind"), read.pop("workflow_id")) == ("run", workflow_id)
    assert read.pop("at").endswith("Z")
    assert read == data


@given(snapshots(), EVENT, NAME, st.integers(0, 253402300799999))
def test_the_record_of_an_applied_event_is_as_any(
    made: Snapshot, event: Event, before: str, at_ms: int
) -> None:
    """What is written into a form has the bytes that `record` makes."""
    event.offset, event.partition = abs(event.offset), abs(event.partition)
    writer = history.HistoryWriter("history", 2, '/a "p" %d')
    told = {
        "machine": made.machine,
        "version": made.version,
        "seq": made.seq,
        "event": event.name,
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "from": before,
        "to": made.state,
        "outcome": "applied",
    }
    told |= {} if event.id is None else {"event_id": event.id}
    told |= {} if made.result is None else {"result": made.result}
    plain = writer.record(history.APPLIED, made.workflow_id, event.origin, at_ms, told)
    place = event.topic, event.partition
    form = writer.form((made.machine, made.version, event.name, *place, before, made.state))
    name, seq, offset = made.workflow_id, made.seq, event.offset
    assert writer.applied(form, name, seq, offset, at_ms, event.id, made.result) == plain


@given(snapshots(), EVENT, NAME, st.integers(0, 253402300799999))
def test_the_record_of_an_event_that_is_no_record_is_as_any(
    made: Snapshot, event: Event, before: str, at_ms: int
) -> None:
    """So are those of timers, and of what runs have led to: the bytes that `record` makes, each time."""
    event.offset = -1
    writer = history.HistoryWriter("history", 2, '/a "p" %d')
    told = history.about(made, event)
    told |= {"from": before, "to": made.state, "outcome": "applied"}
    told |= {} if made.result is None else {"result": made.result}
    plain = writer.record(history.TIMER, made.workflow_id, event.topic, at_ms, told)
    for _ in range(2):
        assert writer.internal(made, event, before, history.TIMER, at_ms) == plain


@given(snapshots(), NAME, st.integers(0, 10**9), st.integers(0, 253402300799999))
def test_the_record_of_a_run_that_is_done_is_as_any(
    made: Snapshot, name: str, seq: int, at_ms: int
) -> None:
    """So are those of entry callbacks: the bytes that `record` makes, each time."""
    owed = Owed(name, seq, attempt=seq % 3)
    writer = history.HistoryWriter("history", 2, '/a "p" %d')
    told = {
        "machine": made.machine,
        "version": made.version,
        "seq": seq,
        "state": made.state,
        "callback": name,
        "key": f"{made.workflow_id}/{seq}/{name}",
        "attempt": owed.attempt + 1,
        "outcome": "done",
    }
    origin = f"run/{seq}/{name}/{owed.attempt + 1}"
    plain = writer.record(history.RUN, made.workflow_id, origin, at_ms, told)
    for _ in range(2):
        assert writer.done(made, owed, at_ms) == plain


def test_a_status_that_was_a_text_is_counted_as_the_status() -> None:
    """Whoever looks for those that are retrying compares by identity, and places are kept for all."""
    made = Snapshot("w", "told", 1, "busy")
    for status in ("retrying", Status.RETRYING):
        made.status = status  # type: ignore[assignment]  # a text, as a program may have it
        assert snapshot.encode(made)[1].status is Status.RETRYING
