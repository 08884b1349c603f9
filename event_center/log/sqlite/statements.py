"""
Statements that write many rows at once, and the arguments that fill them.

Why: Python lets go of its interpreter lock with every step of a statement, and beside a busy event
loop getting it back may take 5 ms each time. So a thousand rows are one statement, not a thousand.
Lengths are powers of two, so that few statements are ever prepared; what is too long is filled up
with NULLs, which the statements pass over. `transaction.py` calls this.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

LONGEST = 4_096
"""Rows of the longest statement: with 7 columns it stays below SQLite's 32,766 arguments."""


class Rows(NamedTuple):
    """A statement for any number of rows."""

    before: str
    row: str
    after: str
    columns: int
    texts: dict[int, str]

    def text(self, length: int) -> str:
        """The statement for so many rows, a power of two."""
        found = self.texts.get(length)
        if found is None:
            found = self.before + ",".join([self.row] * length) + self.after
            self.texts[length] = found
        return found


PUT_ENTRIES = Rows(
    "INSERT INTO entries SELECT ?, column1, column2 FROM (VALUES ",
    "(?,?)",
    ") WHERE column1 IS NOT NULL ON CONFLICT(shard, key) DO UPDATE SET value = excluded.value",
    2,
    {},
)
REMOVE_ENTRIES = Rows("DELETE FROM entries WHERE shard = ? AND key IN (", "?", ")", 1, {})
PUT_OFFSETS = Rows(
    "INSERT INTO offsets SELECT ?, column1, column2 FROM (VALUES ",
    "(?,?)",
    ") WHERE column1 IS NOT NULL ON CONFLICT(shard, topic) DO UPDATE SET next = excluded.next",
    2,
    {},
)
PUT_RECORDS = Rows(
    "INSERT INTO records SELECT * FROM (VALUES ",
    "(?,?,?,?,?,?,?)",
    ") WHERE column1 IS NOT NULL",
    7,
    {},
)
PUT_EXTENTS = Rows(
    "INSERT INTO partitions SELECT column1, column2, 0, column3, column4 FROM (VALUES ",
    "(?,?,?,?)",
    ") WHERE column1 IS NOT NULL ON CONFLICT(topic, partition) "
    "DO UPDATE SET next = excluded.next, bytes = excluded.bytes",
    4,
    {},
)
KEEP_ENTRIES = Rows(
    "INSERT INTO cut_entries SELECT ?, column1, column2, column3 FROM (VALUES ",
    "(?,?,?)",
    ") WHERE column1 IS NOT NULL",
    3,
    {},
)
KEEP_RECORDS = Rows(
    "INSERT INTO cut_records SELECT ?, column1, column2, column3, column4 FROM (VALUES ",
    "(?,?,?,?)",
    ") WHERE column1 IS NOT NULL",
    4,
    {},
)
KEEP_OFFSETS = Rows(
    "INSERT INTO cut_offsets SELECT ?, column1, column2 FROM (VALUES ",
    "(?,?)",
    ") WHERE column1 IS NOT NULL",
    2,
    {},
)


def write(
    connection: sqlite3.Connection, rows: Rows, values: Sequence[Any], first: int | None = None
) -> None:
    """Write rows whose values stand one after the other; `first` is the argument before them."""
    head = [] if first is None else [first]
    step = LONGEST * rows.columns
    for start in range(0, len(values), step):
        part = values[start : start + step]
        count = len(part) // rows.columns
        length = 1 << (count - 1).bit_length()
        filling = [None] * ((length - count) * rows.columns)
        connection.execute(rows.text(length), [*head, *part, *filling])
