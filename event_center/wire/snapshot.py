"""
Snapshots as bytes: one line that can be read without decoding the rest, then a JSON object.

The first line is `format+needs, machine, version, state, status, next due`, separated by tabs, so that
a restore and all counts need no JSON. Optional parts of the object are left out while they are empty.
The ledger encodes, the workflows' store decodes; docs/formats.md describes every field.
"""

from __future__ import annotations

from typing import Any

import orjson

from event_center.errors import FormatError
from event_center.model import (
    Event,
    Failure,
    Json,
    Owed,
    Refusal,
    Snapshot,
    Snapshotted,
    Status,
    Timer,
)
from event_center.wire import shapes
from event_center.wire.entries import Counted

SNAPSHOT_FORMAT = 1
HOLD = "@hold"
"""The name of the timer after which a held event is held no more."""
NEXT = (
    "its bytes stay as they are, and events for it become letters, to be replayed once it can be "
    "read; run the release that wrote it, or put back a copy of the log"
)
"""What to do about a workflow that can not be read; the end of each message."""
STOPPED = frozenset({Status.PARKED, Status.PAUSED, Status.EXPECTED})
"""Statuses in which nothing of its own moves a workflow: it takes a command, or its creation."""

MOST = shapes.MOST
PAIR = (int, int)
EVENT = (str, int, str, int, int)
OWED = (str, int, int, int, int)
TIMER = (str, int, int)
REFUSAL = (int, str, str, str)
DECIDING = (int, int, str, int)
FAILURE = (str, str, str, int, int, str)

_Line = tuple[str, Counted, str, int, str, Status]
"""What a first line tells but for what is due: needs, the place, and the parts of the place."""
_lines: dict[bytes, _Line] = {}
"""First lines with nothing due, decoded once; as many as states and statuses."""
_prefixes: dict[tuple[str, str, int, str, Status], tuple[bytes, bytes, Counted]] = {}
"""The same first lines as bytes, and whole with nothing due, which most are."""
_places: dict[Counted, Counted] = {}
"""Each place once, so that the ledger can compare them by identity."""

_A_NUMBER: Any = orjson.Fragment(b"%d")
_ANY_JSON: Any = orjson.Fragment(b"%b")
_A_LIST: Any = orjson.Fragment(b"[%b]")
"""Places in a `form`: the encoder puts them in as they are."""

_dumps = orjson.dumps
_loads = orjson.loads


def encode(snapshot: Snapshot) -> tuple[bytes, Counted]:
    """The value of a workflow's snapshot, and where the workflow is counted."""
    value, where, _ = encode_both(snapshot)
    return value, where


def encode_both(  # noqa: C901 - twice per event: to call out costs more than a branch
    snapshot: Snapshot,
) -> tuple[bytes, Counted, bytes | None]:
    """
    The same, and of most workflows that owe a run also the value that they have once it is done.

    That is theirs if nothing else of them changes meanwhile; None: it has to be made then.
    """
    body: dict[str, Any] = {
        "seq": snapshot.seq,
        "at": snapshot.entered_at_ms,
        "data": snapshot.data,
        "seen": snapshot.seen,
    }
    needs = ""
    due = run_due = 0
    rare = False
    if snapshot.timers:
        needs = "t"
        body["timers"] = snapshot.timers
        due = min(timer.due_ms for timer in snapshot.timers)
    if snapshot.owed:
        needs += "o"
        run_due = snapshot.owed[0].due_ms
        if run_due and (not snapshot.timers or run_due < due):
            due = run_due
    if snapshot.waiting:
        body["waiting"] = [snapshot.waiting, snapshot.waiting_next]
        needs += "w"
    if snapshot.status in STOPPED:
        needs += "s"
    if snapshot.ids:
        body["ids"] = snapshot.ids
    if snapshot.refusals:
        body["refusals"] = snapshot.refusals
    if (
        snapshot.result is not None
        or snapshot.letters_last
        or snapshot.deciding_attempt
        or snapshot.deciding_starts
        or snapshot.parked is not None
        or snapshot.failure is not None
        or snapshot.loop
        or snapshot.memory
        or snapshot.earlier
    ):
        needs, due = _rare(snapshot, body, needs, due)
        rare = True
    key = (needs, snapshot.machine, snapshot.version, snapshot.state, snapshot.status)
    prefix, idle, where = _prefixes.get(key) or _prefix(key)
    line = b"%b%d\n" % (prefix, due) if due else idle
    if not snapshot.owed:
        return line + _dumps(body, tuple), where, None  # named tuples as arrays
    relieved = None
    if len(snapshot.owed) == 1 and not (rare or run_due or snapshot.waiting):
        # The first o of the line says that it owes a run.
        relieved = line.replace(b"o", b"", 1) + _dumps(body, tuple)
    body["owed"] = snapshot.owed
    if snapshot.cause is not None:
        body["cause"] = _event_parts(snapshot.cause)
    return line + _dumps(body, tuple), where, relieved


def dump(data: dict[str, Json]) -> bytes:
    """The data of a workflow as they are in its snapshot."""
    return _dumps(data, tuple)


def form(where: Counted, source: str, *, ids: bool) -> bytes:
    """
    What the snapshots have in common of all workflows there that have seen this source, and nothing else.

    It is the snapshot of one that has places for its values: for seq, when the state was entered, the
    data as `dump` makes them, the offset, and the ids as JSON without brackets, if it has seen any.
    """
    shared = Snapshot("", where.machine, where.version, where.state)
    shared.status = where.status
    shared.seq = shared.entered_at_ms = _A_NUMBER
    shared.data = _ANY_JSON
    shared.seen = {source.replace("%", "%%"): _A_NUMBER}
    if ids:
        shared.ids = _A_LIST
    line, end, body = encode(shared)[0].partition(b"\n")
    return line.replace(b"%", b"%%") + end + body


def _rarely_due(snapshot: Snapshot, needs: str, due: int) -> tuple[str, int]:
    """Needs and next due of a workflow that may have ended, or be decided again later."""
    again = snapshot.deciding_due_ms
    if snapshot.over_ms:
        return "e", snapshot.over_ms
    if not again:
        return needs, due
    if "t" in needs:
        return needs, min(due, again)
    return "t" + needs, min(due or again, again)


def _event_parts(event: Event) -> list[Any]:
    """An event as its parts, in the order of its constructor."""
    headers: list[list[str]] = []
    if event.headers:
        headers = [[name, value.decode("latin-1")] for name, value in event.headers]
    return [
        event.name,
        event.payload,
        event.id,
        event.time_ms,
        headers,
        event.topic,
        event.partition,
        event.offset,
    ]


def _event(parts: list[Any]) -> Event:
    """An event back from its parts."""
    name, payload, event_id, time_ms, headers, topic, partition, offset = parts
    shapes.check((name, time_ms, topic, partition, offset), EVENT)
    if event_id is not None:
        shapes.text(event_id)
    pairs = tuple((shapes.text(header), value.encode("latin-1")) for header, value in headers)
    return Event(name, payload, event_id, time_ms, pairs, topic, partition, offset)


def _rare(snapshot: Snapshot, body: dict[str, Any], needs: str, due: int) -> tuple[str, int]:
    """Add the parts that most snapshots do not have; returns needs and next due with them."""
    if snapshot.result is not None:
        body["result"] = snapshot.result
        body["closed_at"] = snapshot.closed_at_ms
        if snapshot.over_ms:
            body["over"] = snapshot.over_ms
    if snapshot.letters_last:
        body["letters"] = [snapshot.letters_next, snapshot.letters_last]
    if snapshot.deciding_attempt or snapshot.deciding_starts:
        body["deciding"] = _deciding(snapshot)
    if snapshot.parked is not None:
        body["parked"] = snapshot.parked
    if snapshot.failure is not None:
        failure = snapshot.failure
        body["failure"] = failure if failure.traceback else failure[:-1]
    if snapshot.loop:
        body["loop"] = snapshot.loop
    if snapshot.memory:
        body["memory"] = snapshot.memory
    if snapshot.earlier:
        body["earlier"] = [[seq, _event_parts(one)] for seq, one in snapshot.earlier.items()]
        needs, due = _with_jobs(snapshot, body, needs, due)  # each has its cause among these
    return _rarely_due(snapshot, needs, due)


def _deciding(snapshot: Snapshot) -> tuple[Any, ...]:
    """The attempts to decide one event, without the parts at the end that say nothing."""
    tried = (snapshot.deciding_attempt, snapshot.deciding_due_ms, snapshot.deciding_event)
    if snapshot.deciding_starts:
        return (*tried, snapshot.deciding_starts)
    return tried if tried[2] else tried[:2]


def _with_jobs(snapshot: Snapshot, body: dict[str, Any], needs: str, due: int) -> tuple[str, int]:
    """Add the jobs, if there are any; returns needs and next due with them."""
    if not snapshot.jobs:
        return needs, due
    body["jobs"] = snapshot.jobs
    dues = [job.due_ms for job in snapshot.jobs if job.due_ms]
    if due or snapshot.timers:
        dues.append(due)
    return needs + "j", min(dues, default=0)


def _prefix(key: tuple[str, str, int, str, Status]) -> tuple[bytes, bytes, Counted]:
    needs, machine, version, state, status = key
    where = _place(
        Counted(machine, version, state, Status(status))
    )  # a text is equal to it as well
    line = f"{SNAPSHOT_FORMAT}{needs}\t{where.machine}\t{where.version}\t{where.state}"
    prefix = f"{line}\t{where.status}\t".encode()
    _prefixes[key] = known = prefix, prefix + b"0\n", where
    return known


def _place(place: Counted) -> Counted:
    return _places.setdefault(place, place)


def _line(line: bytes) -> _Line:
    """Decode a first line that is not known; what is due in it says `peek`."""
    head, _, _ = line.rpartition(b"\t")
    idle = head + b"\t0"
    known = _lines.get(idle)
    if known is not None:
        return known
    try:
        flags, machine, version, state, status = head.decode().split("\t")
        written, needs = int(flags.rstrip("towsje")), flags.lstrip("0123456789")
        where = _place(Counted(machine, int(version), state, Status(status)))
    except ValueError as error:
        msg = f"the first line of a snapshot can not be read ({error}): {head[:80]!r}; {NEXT}"
        raise FormatError(msg) from error
    if written != SNAPSHOT_FORMAT:
        msg = f"a snapshot has format {written}, this release reads {SNAPSHOT_FORMAT}; {NEXT}"
        raise FormatError(msg)
    _lines[idle] = decoded = (needs, where, *where)
    return decoded


def peek(value: bytes) -> Snapshotted:
    """
    What the first line tells, without decoding the rest.

    Raises:
        FormatError: it is not a snapshot of a format that this release reads.
    """
    line, separator, _ = value.partition(b"\n")
    due = line.rpartition(b"\t")[2]
    if not separator or not due.isdigit():
        msg = f"a snapshot has no first line: {value[:80]!r}; {NEXT}"
        raise FormatError(msg)
    needs, _, machine, version, state, status = _lines.get(line) or _line(line)
    return Snapshotted(SNAPSHOT_FORMAT, machine, version, state, status, int(due), needs)


def decode(workflow_id: str, value: bytes) -> Snapshot:
    """
    The snapshot of a workflow; its place is counted already.

    Raises:
        FormatError: it is not a snapshot of a format that this release reads.
    """
    line, _, text = value.partition(b"\n")
    try:
        _, where, machine, version, state, status = _lines.get(line) or _line(line)
        body = _loads(text)
        snapshot = Snapshot(workflow_id, machine, version, state)
        snapshot.status = status
        snapshot.seq = seq = body["seq"]
        snapshot.entered_at_ms = at_ms = body["at"]
        snapshot.data = data = body["data"]
        snapshot.seen = seen = body["seen"]
        # In line, since an event of an idle workflow comes by here.
        if type(seq) is not int or seq >= MOST or type(at_ms) is not int or type(data) is not dict:
            shapes.check((seq, at_ms, data), (int, int, dict))
        for offset in seen.values():
            if type(offset) is not int:
                shapes.whole_numbers(seen.values())
        parts = len(body)
        if "ids" in body:
            snapshot.ids = tuple(body["ids"])
            parts -= 1  # of any type: they are only compared
        if parts > 4:  # noqa: PLR2004 - the four parts that every snapshot has
            _decode_rest(snapshot, body)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"the snapshot of workflow {workflow_id!r} can not be read ({error!r}); {NEXT}"
        raise FormatError(msg) from error
    except FormatError as error:
        raise FormatError(f"workflow {workflow_id!r}: {error}") from error
    snapshot.counted = where
    return snapshot


def _decode_rest(snapshot: Snapshot, body: dict[str, Any]) -> None:
    """Fill in the parts that are left out while they are empty."""
    if "timers" in body:
        snapshot.timers = tuple([Timer(*shapes.check(one, TIMER)) for one in body["timers"]])
    if "waiting" in body:
        snapshot.waiting, snapshot.waiting_next = shapes.check(body["waiting"], PAIR)
    if "refusals" in body:
        refusals = [Refusal(*shapes.check(one, REFUSAL)) for one in body["refusals"]]
        snapshot.refusals = tuple(refusals)
    if "result" in body:
        _decode_end(snapshot, body)
    if "letters" in body:
        snapshot.letters_next, snapshot.letters_last = shapes.check(body["letters"], PAIR)
    if "memory" in body:
        snapshot.memory = memory = body["memory"]
        shapes.texts(memory.values())
    _decode_runs(snapshot, body)
    _decode_trouble(snapshot, body)


def _decode_runs(snapshot: Snapshot, body: dict[str, Any]) -> None:
    """What it owes, which jobs it has, and the events that they are for."""
    if "owed" in body:
        snapshot.owed = _owed(body["owed"])
    if "cause" in body:
        snapshot.cause = _event(body["cause"])
    if "jobs" in body:
        snapshot.jobs = _owed(body["jobs"])
    if "earlier" in body:
        snapshot.earlier = {seq: _event(parts) for seq, parts in body["earlier"]}
        shapes.whole_numbers(snapshot.earlier)


def _decode_end(snapshot: Snapshot, body: dict[str, Any]) -> None:
    """How and when a finished workflow has ended."""
    snapshot.result = shapes.text(body["result"])
    times = body.get("closed_at", 0), body.get("over", 0)
    snapshot.closed_at_ms, snapshot.over_ms = shapes.check(times, PAIR)


def _decode_trouble(snapshot: Snapshot, body: dict[str, Any]) -> None:
    """What is known of a workflow that has failed, or that somebody has stopped."""
    if "deciding" in body:
        attempt, due_ms, *event = shapes.check(body["deciding"], DECIDING)
        snapshot.deciding_attempt, snapshot.deciding_due_ms = attempt, due_ms
        snapshot.deciding_event = event[0] if event else ""
        snapshot.deciding_starts = event[1] if len(event) > 1 else 0
    if "parked" in body:
        snapshot.parked = shapes.text(body["parked"])
    if "failure" in body:
        snapshot.failure = Failure(*shapes.check(body["failure"], FAILURE))
    if "loop" in body:
        (snapshot.loop,) = shapes.check((body["loop"],), (int,))


def _owed(parts: list[Any]) -> tuple[Owed, ...]:
    return tuple([Owed(*shapes.check(one, OWED)) for one in parts])
