"""
An app as it is watched: counts, rates, lag, how long workflows stay in their states, the last errors.

Promises: it only reads the log, so it works with and without a daemon; a look costs the shard entries and
what the history has grown by since the one before, however large the log is. The CLI's `top` looks again
and again; `stats`, `feed` and `dwell` have the parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from event_center.client.app import App
from event_center.client.dwell import Dwell, Dwells
from event_center.client.feed import Feed
from event_center.client.stats import Stats, shard_entries, summed
from event_center.log.port import Log
from event_center.model import Outcome, Status
from event_center.wire.entries import ShardEntry
from event_center.wire.history import LOST, RUN

LOOKS = 6
"""Over so many looks rates are taken: one second says too little, and ten seconds come too late."""
ERRORS = 50
"""Kinds of errors that are remembered: more than fit on a screen."""
RATED = ("transitions", "timers", "runs", "lag")
"""Of `stats`, besides the outcomes."""
STOPPED = (Status.RETRYING, Status.PARKED, Status.PAUSED)

Row = dict[str, Any]
_Error = tuple[str, str, str, str]


class Watch:
    """What has been seen of one app so far."""

    def __init__(self, log: Log, app: App) -> None:
        self._log = log
        self._app = app
        self._feed = Feed(log, app)
        self._dwells = Dwells()
        self._before: deque[tuple[float, dict[str, int]]] = deque(maxlen=LOOKS)
        self._errors: dict[_Error, Row] = {}
        """Those that were heard of last stand last."""
        self._newest: str | None = None

    async def look(self, now_s: float) -> dict[str, Any]:
        """
        The app as it is now, ready to be written as JSON; docs/formats.md lists the fields.

        Args:
            now_s: by a clock that does not jump; rates are what has grown since earlier looks.

        Raises:
            FormatError: a shard entry or a record of the history can not be read.
        """
        entries = await shard_entries(self._log, self._app)
        counted = await summed(self._log, self._app, entries)
        for record in await self._feed.new():
            self._newest = max(self._newest or "", record["at"])
            self._dwells.hear(record)
            self._note_error(record)
        return {
            "counted": counted,
            "per_second": self._rates(now_s, counted),
            "states": _states(entries.values(), self._dwells.by_state()),
            "errors": sorted(self._errors.values(), key=lambda one: one["at"], reverse=True),
            "newest": self._newest,
            "passed_over": self._feed.passed_over,
        }

    def _rates(self, now_s: float, counted: Stats) -> dict[str, float] | None:
        """What grows or shrinks by how much a second; None at the first look."""
        numbers = {name: n for name, n in counted["events"].items() if name != "waiting"}
        numbers |= {name: counted[name] for name in RATED}
        then_s, then = self._before[0] if self._before else (now_s, numbers)
        self._before.append((now_s, numbers))
        past_s = now_s - then_s
        if past_s <= 0:
            return None
        return {name: round((n - then[name]) / past_s, 1) for name, n in numbers.items()}

    def _note_error(self, record: Row) -> None:
        error = _error(record)
        if error is None:
            return
        before = self._errors.pop(error, None)
        self._errors[error] = {
            "times": 1 + (before["times"] if before else 0),
            "at": record["at"],
            **dict(zip(("machine", "what", "error", "message"), error, strict=True)),
            "workflow_id": record["workflow_id"],
        }
        if len(self._errors) > ERRORS:
            del self._errors[next(iter(self._errors))]


def _error(record: Row) -> _Error | None:
    """Machine, what failed, the error and its message, if the record tells of one."""
    machine, outcome = record.get("machine") or "", record.get("outcome")
    match record["kind"]:
        case kind if kind == RUN and outcome in {"failed", "crashed"}:
            error = record.get("error") or outcome
            return machine, record["callback"], error, record.get("message") or ""
        case kind if kind == LOST:
            return "", record["topic"], LOST, f"records were gone ({record['reason']})"
        case Outcome.DEAD_LETTERED:
            what = record.get("event") or record.get("topic") or ""
            return machine, what, record.get("reason") or "", record.get("detail") or ""
        case _:
            return None


def _states(entries: Iterable[ShardEntry], dwells: dict[tuple[str, str], Dwell]) -> list[Row]:
    """
    A row for each state that workflows are in, or were seen to leave.

    Sorted by machine, then by how long workflows stay: the slowest first, final ones last.
    """
    rows: dict[tuple[str, str], Row] = {}
    for entry in entries:
        for place, count in entry.counts.items():
            if place.status is not Status.EXPECTED and count:
                row = rows.setdefault(
                    (place.machine, place.state), _row(place.machine, place.state)
                )
                row["workflows"] += count
                if place.status in row:
                    row[str(place.status)] += count
    for (machine, state), dwell in dwells.items():
        row = rows.setdefault((machine, state), _row(machine, state))
        row |= dwell._asdict()
    return sorted(
        rows.values(),
        key=lambda row: (
            row["machine"],
            row["final"] > 0,
            -(row.get("median_ms") or 0),
            row["state"],
        ),
    )


def _row(machine: str, state: str) -> Row:
    counts = dict.fromkeys(map(str, (*STOPPED, Status.FINAL)), 0)
    return {
        "machine": machine,
        "state": state,
        "workflows": 0,
        **counts,
        **dict.fromkeys(Dwell._fields),
    }
