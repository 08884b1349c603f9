"""
A log written by hand, for the tests of the audit: a few cuts of one shard, in which all goes well.

`Story` is what a test changes; `evidence` writes it down in the bytes of docs/formats.md, with counters
that fit unless a cut says otherwise. Nothing here comes from the wire room: the audit and the engine
may not agree by sharing a mistake.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from event_center.machine import parse
from event_center.model import Position, Record
from event_center.testing import Evidence, KeptCut, Started

NOW = 1_767_225_600_000
OUTCOMES = (
    *("applied", "ignored", "rejected", "duplicate"),
    *("dead_lettered", "forwarded", "discarded"),
)
DOOR = parse("""
machine: door
version: 1
initial: shut
on_failure: dead_letter
states:
  shut:
    on: {open: ajar, leave: gone, knock: {actions: listen}}
  ajar:
    unhandled: defer
    entry: creak
    on: {creaked: wide}
    after: {1s: shut}
  wide:
    on: {shut: shut}
  gone: {type: final, result: success}
""")


@dataclass(kw_only=True)
class Cut:
    """One cut of the story."""

    at: int
    """Milliseconds after the beginning."""
    told: list[dict[str, Any]]
    shot: dict[str, Any]
    """The workflow's snapshot: its state, and what differs from a plain one."""
    waits: dict[int, int | None] = field(default_factory=dict)
    """Number of a waiting entry → offset of its event; None removes it."""
    following: int
    """The next offset."""
    letters: list[tuple[int, int]] = field(default_factory=list)
    """Offset and number of dead letters."""
    epoch: int = 1
    entry: dict[str, Any] = field(default_factory=dict)
    """What the shard entry says instead of what fits."""
    whole: bool = True
    """The cut has its shard entry."""


@dataclass(kw_only=True)
class Story:
    """What a test may change before it is written down."""

    events: list[str]
    cuts: list[Cut]
    starts: list[Started]
    idle: int = 60_000


def applied(offset: int, seq: int, before: str, after: str, **more: Any) -> dict[str, Any]:
    """An event of the topic moved the workflow."""
    return {"kind": "applied", "offset": offset, "seq": seq, "from": before, "to": after, **more}


def told(kind: str, seq: int, **more: Any) -> dict[str, Any]:
    """Any other record of the history."""
    return {"kind": kind, "seq": seq, **more}


def shot(state: str, seq: int, **more: Any) -> dict[str, Any]:
    """A snapshot."""
    return {"state": state, "seq": seq, **more}


def moved(kind: str, seq: int, before: str, after: str, **more: Any) -> dict[str, Any]:
    """A timer or the result of a run moved the workflow."""
    return {"kind": kind, "seq": seq, "outcome": "applied", "from": before, "to": after, **more}


def good() -> Story:
    """A door is opened, creaks, is shut by an event that waited, by a timer, and leaves."""
    return Story(
        events=["open", "shut", "open", "knock", "fly", "leave", "open"],
        cuts=[_opened(), _creaked(), _opened_again(), _shut_by_its_timer(), _left()],
        starts=[
            Started("w", "creak", "w/1/creak", 1, (NOW + 50) * 1_000_000),
            Started("w", "creak", "w/4/creak", 1, (NOW + 250) * 1_000_000),
            Started("w", "listen", "w/doors/0/3/listen", 1, (NOW + 1_900) * 1_000_000),
        ],
    )


def _opened() -> Cut:
    owes = {"owed": [["creak", 1, 0, 0, 0]], "timers": [["@after/1s", 1, NOW + 1_000]]}
    created = told("created", 0, to="shut", origin="doors/0/0", event="open")
    return Cut(
        at=0,
        told=[created, applied(0, 1, "shut", "ajar")],
        shot=shot("ajar", 1, waiting=[1, 1], **owes),
        waits={0: 1},
        following=2,
    )


def _creaked() -> Cut:
    run = told("run", 1, callback="creak", key="w/1/creak", attempt=1, outcome="done")
    result = moved("applied", 2, "ajar", "wide", event="creaked", origin="run/1/creak")
    return Cut(
        at=100,
        told=[run, result, applied(1, 3, "wide", "shut")],
        shot=shot("shut", 3),
        waits={0: None},
        following=2,
    )


def _opened_again() -> Cut:
    owes = {"owed": [["creak", 4, 0, 0, 0]], "timers": [["@after/1s", 4, NOW + 1_200]]}
    return Cut(
        at=200,
        told=[applied(2, 4, "shut", "ajar")],
        shot=shot("ajar", 4, **owes),
        following=3,
    )


def _shut_by_its_timer() -> Cut:
    fired = f"timer/4/@after/1s/{NOW + 1_200}"
    given_up = told("run", 4, callback="creak", attempt=0, outcome="given_up")
    timer = moved("timer", 5, "ajar", "shut", event="@after/1s", origin=fired)
    return Cut(at=1_205, told=[given_up, timer], shot=shot("shut", 5), following=3)


def _left() -> Cut:
    return Cut(
        at=2_000,
        told=[
            applied(3, 6, "shut", "shut"),
            told("rejected", 6, offset=4, outcome="rejected", reason="unknown_event"),
            applied(5, 7, "shut", "gone", result="success"),
            told("rejected", 7, offset=6, outcome="rejected", reason="finished"),
        ],
        shot=shot("gone", 7, status="final", result="success"),
        following=7,
    )


class _Writing:
    """Writes a story down, cut by cut."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.doors = [
            Record(n, NOW, b"w", json.dumps({"workflow_id": "w", "event": name}).encode())
            for n, name in enumerate(story.events)
        ]
        self.history: list[Record] = []
        self.letters: list[Record] = []
        self.entries: dict[bytes, bytes] = {}
        self.outcomes: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()

    def cut(self, number: int, cut: Cut) -> KeptCut:
        """The bytes of one cut."""
        records = [self._history(cut, one) for one in cut.told]
        records += [self._letter(*letter) for letter in cut.letters]
        entries: list[tuple[bytes, bytes | None]] = [
            (b"w:w\x00%012d" % n, None if offset is None else self._waiting(offset))
            for n, offset in cut.waits.items()
        ]
        entries.append((b"s:w", self._snapshot(cut.shot)))
        self._keep(entries)
        if cut.whole:
            entries.append((b"shard", self._shard(number, cut)))
            self._keep(entries[-1:])
        return KeptCut(
            number=number,
            shard=0,
            epoch=cut.epoch,
            at_ms=NOW + cut.at,
            entries=entries,
            records=records,
            offsets={"doors": cut.following},
        )

    def _keep(self, entries: list[tuple[bytes, bytes | None]]) -> None:
        for key, value in entries:
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value

    def _history(self, cut: Cut, one: dict[str, Any]) -> Position:
        data = {"machine": "door", "version": 1, "outcome": one["kind"], **one}
        kind = data.pop("kind")
        if "offset" in data:
            data |= {"topic": "doors", "partition": 0}
            data.setdefault("event", self.story.events[data["offset"]])
            self.outcomes[data["outcome"]] += 1
        self.totals["transitions"] += kind in {"applied", "timer"}
        self.totals["timers"] += kind == "timer"
        at = datetime.fromtimestamp((NOW + cut.at) / 1000, UTC).isoformat()
        body = {"type": f"event_center.{kind}", "subject": "w", "time": at, "data": data}
        offset = len(self.history)
        self.history.append(Record(offset, NOW, b"w", json.dumps(body).encode()))
        return Position("app.history", 0, offset)

    def _letter(self, offset: int, number: int) -> Position:
        why = {"origin": f"doors/0/{offset}", "reason": "failed", "number": str(number)}
        headers = tuple((f"__event_center.errors.{k}", v.encode()) for k, v in why.items())
        self.letters.append(Record(len(self.letters), NOW, b"w", b"{}", headers))
        return Position("app.dead-letters", 0, len(self.letters) - 1)

    def _waiting(self, offset: int) -> bytes:
        about = {"topic": "doors", "partition": 0, "offset": offset, "deferred": True}
        return json.dumps(about).encode() + b"\n{}"

    def _snapshot(self, said: dict[str, Any]) -> bytes:
        body = {"at": NOW, "data": {}, "seen": {}, **said}
        state, status = body.pop("state"), body.pop("status", "active")
        return f"1\tdoor\t1\t{state}\t{status}\t0\n{json.dumps(body)}".encode()

    def _shard(self, number: int, cut: Cut) -> bytes:
        waiting = sum(key.startswith(b"w:") for key in self.entries)
        body = {
            "cut": number,
            "offsets": {"doors": cut.following},
            "read": sum(self.outcomes.values()) + waiting,
            "outcomes": {name: self.outcomes[name] for name in OUTCOMES},
            "waiting": {"queued": waiting},
            "transitions": self.totals["transitions"],
            "timers": self.totals["timers"],
            "counts": [["door", 1, cut.shot["state"], cut.shot.get("status", "active"), 1]],
        }
        return json.dumps(body | cut.entry).encode()


def evidence(story: Story) -> Evidence:
    """The story as a log."""
    writing = _Writing(story)
    cuts = [writing.cut(number, cut) for number, cut in enumerate(story.cuts, 1)]
    return Evidence(
        app="app",
        shards=1,
        consumed=["doors"],
        records={
            ("doors", 0): writing.doors,
            ("app.history", 0): writing.history,
            ("app.dead-letters", 0): writing.letters,
        },
        cuts=cuts,
        entries={0: writing.entries},
        idle_ms=NOW + story.idle,
    )
