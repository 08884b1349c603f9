"""
The file of the embedded log: its tables, its format number, and how a connection to it is made.

Promises: a file that is not ours is never changed; whatever is wrong with a file is said in one
sentence that names the path and what to do. `writer.py` and `reader.py` connect through here.

Format 1. `PRAGMA application_id` is 0x45764374 ("EvCt"), `PRAGMA user_version` the format.

    topics      id, name, partitions, uid (unlike any other's), joined (1: a group consumes it)
    partitions  topic (id), partition, first and next offset, bytes (keys and values of its records)
    records     topic (id), partition, offset, timestamp (ms), key, value, headers
    entries     shard, key, value: the keyed store, removed keys are absent
    shards      shard, epoch (rises with each lease), member (holder, or NULL), token (rises)
    offsets     shard, topic (name; name/partition where a shard has several), next
    members     id (rises), name (of its lock file: `<path>-member-<name>`), shards
    generation  value: rises whenever members or holders change

Headers are NULL where there are none, else the JSON text `[["name", "value"], ...]`, each byte of a
value as the character of that number (Latin-1). Times are milliseconds since the epoch, UTC.

With `keep_cuts` every cut is also kept in tables that are only ever appended to, for audits:

    cuts         number (rises by one), shard, epoch, at (ms)
    cut_entries  number, place (0, 1, ... in the cut's order), key, value (NULL: removed)
    cut_records  number, place, topic (name), partition, offset
    cut_offsets  number, topic, next
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from event_center.errors import LogUnavailable

APPLICATION_ID = 0x45764374
FORMAT = 1
OLDEST_SQLITE = (3, 35, 0)
CACHE_KIB = 65_536
"""64 MiB of pages in memory: what a busy log writes and reads again within some minutes."""
CHECKPOINT_PAGES = 4_000
"""The write-ahead log is copied back after some 16 MB: it stays small, and the pieces are big."""
STATEMENTS = 256
"""Prepared statements that a connection remembers; `statements.py` has some 60."""
RETRY_S = 0.01
"""Between two tries to open a file that somebody else is just making: it takes a few milliseconds."""

TABLES = """
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
    uid TEXT NOT NULL, joined INTEGER NOT NULL DEFAULT 0);
CREATE TABLE partitions(topic INTEGER, partition INTEGER, first INTEGER NOT NULL,
    next INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY(topic, partition)) WITHOUT ROWID;
CREATE TABLE records(topic INTEGER, partition INTEGER, offset INTEGER, timestamp INTEGER NOT NULL,
    key BLOB, value BLOB, headers TEXT, PRIMARY KEY(topic, partition, offset)) WITHOUT ROWID;
CREATE TABLE entries(shard INTEGER, key BLOB, value BLOB NOT NULL, PRIMARY KEY(shard, key))
    WITHOUT ROWID;
CREATE TABLE shards(shard INTEGER PRIMARY KEY, epoch INTEGER NOT NULL DEFAULT 0, member TEXT,
    token INTEGER NOT NULL DEFAULT 0);
CREATE TABLE offsets(shard INTEGER, topic TEXT, next INTEGER NOT NULL, PRIMARY KEY(shard, topic))
    WITHOUT ROWID;
CREATE TABLE members(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    shards INTEGER NOT NULL);
CREATE TABLE generation(value INTEGER NOT NULL);
INSERT INTO generation VALUES (0);
"""

CUT_TABLES = """
CREATE TABLE IF NOT EXISTS cuts(number INTEGER PRIMARY KEY, shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cut_entries(number INTEGER, place INTEGER, key BLOB NOT NULL, value BLOB,
    PRIMARY KEY(number, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cut_records(number INTEGER, place INTEGER, topic TEXT NOT NULL,
    partition INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY(number, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cut_offsets(number INTEGER, topic TEXT, next INTEGER NOT NULL,
    PRIMARY KEY(number, topic)) WITHOUT ROWID;
"""


def connect_writer(path: Path, busy_timeout_s: float, *, keep_cuts: bool) -> sqlite3.Connection:
    """
    A connection that writes: makes the file and its tables where they are missing.

    Raises:
        LogUnavailable: the file cannot be used; the message says why and what to do.
    """
    connection = _connect(path, busy_timeout_s)
    try:
        _check(connection, path)
        _retry(connection, "PRAGMA journal_mode = WAL", busy_timeout_s)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        _make_tables(connection, path, keep_cuts=keep_cuts)
    except sqlite3.Error as error:
        connection.close()
        raise _unavailable(path, error) from error
    except LogUnavailable:
        connection.close()
        raise
    return connection


def connect_reader(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """
    A connection that only reads a file that a writer has made ready.

    Raises:
        LogUnavailable: the file cannot be used.
    """
    connection = _connect(path, busy_timeout_s)
    try:
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        connection.close()
        raise _unavailable(path, error) from error
    return connection


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(str(number) for number in OLDEST_SQLITE)
        raise LogUnavailable(
            f"cannot open {path}: this Python has SQLite {sqlite3.sqlite_version}; it needs "
            f"{wanted} or later"
        )
    if not path.parent.is_dir():
        raise LogUnavailable(
            f"cannot open {path}: there is no directory {path.parent}; make it, or "
            "name another file"
        )
    try:
        connection = sqlite3.connect(
            path, timeout=busy_timeout_s, isolation_level=None, cached_statements=STATEMENTS
        )
    except sqlite3.Error as error:
        raise _unavailable(path, error) from error
    try:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except sqlite3.Error as error:
        connection.close()
        raise _unavailable(path, error) from error
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise LogUnavailable(
            f"cannot open {path}: it is the SQLite file of another program; name another file for "
            "the log"
        )
    if version > FORMAT:
        raise LogUnavailable(
            f"cannot open {path}: it has format {version}, this release reads format {FORMAT}; run "
            "the release that wrote it, or a newer one"
        )


def _retry(connection: sqlite3.Connection, statement: str, timeout_s: float) -> None:
    """SQLite does not wait for its locks when the journal mode changes, so this does."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _make_tables(connection: sqlite3.Connection, path: Path, *, keep_cuts: bool) -> None:
    connection.execute("BEGIN IMMEDIATE")
    _check(connection, path)  # Another process may have been here between the first check and this.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        _run(connection, TABLES)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    if keep_cuts:
        _run(connection, CUT_TABLES)
    connection.execute("COMMIT")


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Run the statements in the transaction that is open; `executescript` would commit it first."""
    for statement in script.split(";"):
        if statement.strip():
            connection.execute(statement)


def _unavailable(path: Path, error: sqlite3.Error) -> LogUnavailable:
    return LogUnavailable(f"cannot open {path}: {explain(error)}")


def explain(error: sqlite3.Error) -> str:
    """What an error of SQLite means for the one who runs this, and what to do."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    advice = {
        sqlite3.SQLITE_NOTADB: "it is not an SQLite file; name another file, or restore a copy",
        sqlite3.SQLITE_CORRUPT: "the file is damaged; stop what uses it and restore a copy",
        sqlite3.SQLITE_READONLY: "the file or its directory is read-only; allow writing to both",
        sqlite3.SQLITE_CANTOPEN: "no permission, or not a file; check the path and its owner",
        sqlite3.SQLITE_PERM: "no permission; check the file's owner",
        sqlite3.SQLITE_FULL: "the disk, or what this file may have of it, is full; make room",
        sqlite3.SQLITE_BUSY: "another process keeps it locked; see which one has it open",
        sqlite3.SQLITE_IOERR: "reading or writing failed; look at the disk and the system's log",
        sqlite3.SQLITE_TOOBIG: "the data of a workflow have grown beyond the 1 GB of one value",
    }.get(code)
    return f"{error} ({advice})" if advice else str(error)
