"""
Evidence out of the file of an embedded log that kept its cuts (`keep_cuts = true`).

It reads the tables for itself, as docs/formats.md describes them, without the log's engine. The file
may be in use: everything is read in one transaction. `find_violations` takes what this returns.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from os import PathLike
from pathlib import Path

from event_center.errors import LogUnavailable
from event_center.model import Headers, Position, Record
from event_center.testing.audit_evidence import Evidence, KeptCut, Place

RECORDS = (
    "SELECT t.name, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers FROM records r "
    "JOIN topics t ON t.id = r.topic ORDER BY r.topic, r.partition, r.offset"
)


def read_sqlite(
    path: str | PathLike[str],
    *,
    app: str,
    every_outcome: bool = True,
    idle_ms: int = 0,
) -> Evidence:
    """
    Read everything that an audit looks at.

    Args:
        path: the file of the log.
        app: the prefix of the center's own topics.
        every_outcome: the center ran with `history = "all"`.
        idle_ms: when the center was found idle; 0: P8 is not checked.

    Raises:
        LogUnavailable: the file can not be read, or kept no cuts.
    """
    try:
        with closing(
            sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
        ) as file:
            file.execute("BEGIN")
            return _read(file, app, every_outcome=every_outcome, idle_ms=idle_ms)
    except sqlite3.Error as error:
        raise LogUnavailable(
            f"cannot audit {path}: {error}; it has to be a log that was made with keep_cuts = true"
        ) from error


def _read(file: sqlite3.Connection, app: str, *, every_outcome: bool, idle_ms: int) -> Evidence:
    sizes = dict(file.execute("SELECT name, partitions FROM topics").fetchall())
    consumed = [name for (name,) in file.execute("SELECT name FROM topics WHERE joined")]
    records: dict[Place, list[Record]] = {
        (topic, partition): [] for topic, count in sizes.items() for partition in range(count)
    }
    for topic, partition, offset, timestamp, key, value, headers in file.execute(RECORDS):
        record = Record(offset, timestamp, key, value, _headers(headers))
        records[topic, partition].append(record)
    entries: dict[int, dict[bytes, bytes]] = {}
    for shard, key, value in file.execute("SELECT shard, key, value FROM entries"):
        entries.setdefault(shard, {})[key] = value
    return Evidence(
        app=app,
        shards=sizes.get(f"{app}.history", 1),
        consumed=consumed,
        records=records,
        cuts=_cuts(file),
        entries=entries,
        every_outcome=every_outcome,
        idle_ms=idle_ms,
    )


def _headers(text: str | None) -> Headers:
    if text is None:
        return ()
    return tuple((name, value.encode("latin-1")) for name, value in json.loads(text))


def _cuts(file: sqlite3.Connection) -> list[KeptCut]:
    entries: dict[int, list[tuple[bytes, bytes | None]]] = {}
    for number, key, value in file.execute(
        "SELECT number, key, value FROM cut_entries ORDER BY number, place"
    ):
        entries.setdefault(number, []).append((key, value))
    records: dict[int, list[Position]] = {}
    for number, topic, partition, offset in file.execute(
        "SELECT number, topic, partition, offset FROM cut_records ORDER BY number, place"
    ):
        records.setdefault(number, []).append(Position(topic, partition, offset))
    offsets: dict[int, dict[str, int]] = {}
    for number, topic, following in file.execute("SELECT number, topic, next FROM cut_offsets"):
        offsets.setdefault(number, {})[topic] = following
    return [
        KeptCut(
            number=number,
            shard=shard,
            epoch=epoch,
            at_ms=at_ms,
            entries=entries.get(number, []),
            records=records.get(number, []),
            offsets=offsets.get(number, {}),
        )
        for number, shard, epoch, at_ms in file.execute(
            "SELECT number, shard, epoch, at FROM cuts ORDER BY number"
        )
    ]
