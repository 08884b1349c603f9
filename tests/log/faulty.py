"""Connections to a file that fail when a test says so: what the harness of the embedded log gives it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any


class GoneConnection:
    """A connection to a file that can not be read now."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, arguments: Sequence[Any] = ()) -> sqlite3.Cursor:
        raise sqlite3.OperationalError("made to fail by a test")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class FaultyConnection:
    """A connection whose next statement of one kind fails, once, before or after it ran."""

    def __init__(
        self, connection: sqlite3.Connection, on: str, *, code: int, after: bool = False
    ) -> None:
        self._connection = connection
        self._on: str | None = on
        self._code = code
        self._after = after

    def execute(self, statement: str, arguments: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self._on is None or not statement.startswith(self._on):
            return self._connection.execute(statement, arguments)
        self._on = None
        if self._after:
            self._connection.execute(statement, arguments)
        error = sqlite3.OperationalError("made to fail by a test")
        error.sqlite_errorcode = self._code
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
