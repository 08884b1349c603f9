"""
Case `sqlite`: the daemon over a published backlog, durable end to end, beside a bare SQLite loop.

A center is opened from a settings file, as a user's would be, and runs until it is idle: restore,
intake, steps, cuts, history, drain. The bare loop knows no events: it only upserts a snapshot and
appends a history row per event, of the sizes that the engine wrote, in groups of 1,000, with the same
settings of SQLite. Measured by the clock on the wall, because the disk counts.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from event_center.app.center import Center
from event_center.app.publishing import Publisher
from event_center.app.settings import Settings, load_settings
from event_center.log.sqlite.schema import CACHE_KIB, CHECKPOINT_PAGES
from event_center.model import Json
from tests.bench.measure import Meter, Reading, in_turns
from tests.bench.report import Row, Target, one_side, two_sides
from tests.bench.work import (
    APP,
    MACHINE,
    PER_WORKFLOW,
    TOPIC,
    Size,
    machine_text,
    payload,
    workflow_id,
)

EVENTS = 100_000
GROUP = 1_000
FILE = "event-center.db"
SETTINGS = f"""
app = "{APP}"
machines = ["{MACHINE}.yaml"]

[log]
path = "{FILE}"

[topics.{TOPIC}]
machine = "{MACHINE}"
"""
DURABLE = Target(limit=30_000)
BESIDE_BARE = Target(limit=0.35)

TABLES = """
CREATE TABLE entries(shard INTEGER, key BLOB, value BLOB NOT NULL, PRIMARY KEY(shard, key))
    WITHOUT ROWID;
CREATE TABLE records(topic INTEGER, partition INTEGER, offset INTEGER, timestamp INTEGER NOT NULL,
    key BLOB, value BLOB, headers TEXT, PRIMARY KEY(topic, partition, offset)) WITHOUT ROWID;
"""
PUT_ENTRY = (
    "INSERT INTO entries VALUES (0, ?, ?) ON CONFLICT(shard, key) DO UPDATE SET value ="
    " excluded.value"
)
HISTORY = f"FROM records JOIN topics ON id = topic WHERE name = '{APP}.history'"
PUT_RECORD = "INSERT INTO records VALUES (1, 0, ?, 0, ?, ?, NULL)"


class Sizes(NamedTuple):
    """The mean sizes of what the engine writes, in bytes."""

    snapshot: int
    history: int


def run(size: Size) -> list[Row]:
    """Measure the case."""
    events = size.or_else(EVENTS)
    published: list[Reading] = []
    written: list[Sizes] = []
    sides = {
        "center": partial(_center, events, published, written),
        "bare": partial(_bare, events, written),
    }
    found = in_turns(sides, size.rounds)
    return [
        _alone("publish_many", published),
        _alone("center over the backlog", found["center"], DURABLE),
        _alone("bare sqlite3 loop, as many rows", found["bare"]),
        two_sides(
            "sqlite",
            "center / bare loop",
            (found["center"], found["bare"]),
            value=lambda reading: reading.per_s,
            compare=lambda center, bare: center / bare,
            unit="x",
            target=BESIDE_BARE,
        ),
        one_side(
            "sqlite",
            "CPU of the center per event",
            found["center"],
            value=lambda reading: reading.cpu_us,
            unit="us",
            higher=False,
        ),
    ]


def _alone(what: str, readings: list[Reading], target: Target | None = None) -> Row:
    return one_side(
        "sqlite",
        what,
        readings,
        value=lambda reading: reading.per_s,
        unit="/s",
        target=target,
    )


async def _center(events: int, published: list[Reading], written: list[Sizes]) -> Reading:
    """Publish, then run; notes what publishing took, and how large the engine's rows are."""
    workflows = max(1, events // PER_WORKFLOW)
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(Path(folder))
        await _publish(settings, workflows, workflows)
        await _run(settings)
        with Meter() as meter:
            await _publish(settings, events, workflows)
        published.append(meter.reading(events))
        with Meter() as meter:
            await _run(settings)
        # The numbers count only if every event is in the file, applied.
        applied = _applied(Path(folder) / FILE)
        if applied != workflows + events:
            raise RuntimeError(f"{workflows + events} events went in, {applied} were applied")
        written.append(_sizes(Path(folder) / FILE))
    return meter.reading(events)


def _settings(folder: Path) -> Settings:
    (folder / f"{MACHINE}.yaml").write_text(machine_text(entry=False), encoding="utf-8")
    file = folder / "event-center.toml"
    file.write_text(SETTINGS, encoding="utf-8")
    return load_settings(file)


async def _publish(settings: Settings, events: int, workflows: int) -> None:
    async with Publisher.open(settings) as publisher:
        await publisher.publish_many(TOPIC, _events(events, workflows))


def _events(events: int, workflows: int) -> Iterator[dict[str, Json]]:
    for number in range(events):
        yield {
            "workflow_id": workflow_id(number, workflows),
            "event": "next",
            "payload": payload(number),
        }


async def _run(settings: Settings) -> None:
    async with Center.open(settings) as center:
        await center.run(until_idle=True)


def _applied(path: Path) -> int:
    """The applied events, as the history in the file has them."""
    return _asked(path, f"SELECT count(*) {HISTORY} AND CAST(value AS TEXT) LIKE '%.applied\"%'")


def _sizes(path: Path) -> Sizes:
    return Sizes(
        snapshot=_asked(path, "SELECT avg(length(value)) FROM entries"),
        history=_asked(path, f"SELECT avg(length(value)) {HISTORY}"),
    )


def _asked(path: Path, query: str) -> int:
    """The one number that a query answers."""
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute(query).fetchone()
    return int(number)


async def _bare(events: int, written: list[Sizes]) -> Reading:
    sizes = written[-1]
    workflows = max(1, events // PER_WORKFLOW)
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / FILE, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.executescript(TABLES)
        _write(connection, _groups(0, workflows, workflows), sizes)
        groups = list(_groups(workflows, workflows + events, workflows))
        with Meter() as meter:
            _write(connection, groups, sizes)
        connection.close()
    return meter.reading(events)


def _groups(start: int, stop: int, workflows: int) -> Iterator[list[tuple[int, bytes]]]:
    """Offsets and keys of the rows, a transaction each."""
    for first in range(start, stop, GROUP):
        numbers = range(first, min(first + GROUP, stop))
        yield [(number, workflow_id(number, workflows).encode()) for number in numbers]


def _write(
    connection: sqlite3.Connection, groups: Iterable[list[tuple[int, bytes]]], sizes: Sizes
) -> None:
    snapshot, history = b"s" * sizes.snapshot, b"h" * sizes.history
    for group in groups:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(PUT_ENTRY, [(key, snapshot) for _, key in group])
        connection.executemany(PUT_RECORD, [(offset, key, history) for offset, key in group])
        connection.execute("COMMIT")
