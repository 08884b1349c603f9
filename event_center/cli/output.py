"""
What commands print: tables and sentences for people, JSON for programs, on stdout; the rest on
stderr.

Promises: with `--json` stdout holds one JSON document and nothing else; what others wrote (ids,
payloads, errors) can not move the cursor or colour anything; no colour where nobody looks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from event_center.model import Json

WIDE = 240
"""Columns for output into files and pipes: lines of a table are not broken there."""


def plain(value: object) -> str:
    """A value as one line of printable text; None is empty."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json_line(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _json_line(value: object) -> str:
    return orjson.dumps(value, default=str).decode()


def terminal(*, stderr: bool = False) -> Console:
    """A console that takes text as it is."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


class Output:
    """Where one command prints to."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def json(self, value: Json) -> None:
        """One JSON document on stdout."""
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        sys.stdout.write(text + "\n")

    def text(self, text: str) -> None:
        """A document on stdout, as it is: for files and other programs."""
        sys.stdout.write(text)

    def say(self, text: str, style: str = "") -> None:
        """A sentence for people on stdout."""
        terminal().print(Text(text, style=style), soft_wrap=True)

    def note(self, text: str) -> None:
        """Something beside the answer, on stderr."""
        terminal(stderr=True).print(Text(text, style="dim"), soft_wrap=True)

    def error(self, text: str) -> None:
        """What went wrong, on stderr: a sentence, or an object with `error`."""
        if self.as_json:
            sys.stderr.write(orjson.dumps({"error": text}).decode() + "\n")
            return
        message = Text.assemble(("error: ", "bold red"), text)
        terminal(stderr=True).print(message, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table on stdout; columns that are empty in every row are left out."""
        filled = [[plain(cell) for cell in row] for row in rows]
        shown = [at for at in range(len(columns)) if any(row[at] for row in filled)]
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for at in shown:
            numbers = all(row[at].isdigit() or not row[at] for row in filled)
            table.add_column(
                columns[at],
                overflow="fold",
                no_wrap=columns[at] in _WHOLE,
                justify="right" if numbers else "left",
            )
        for row in filled:
            table.add_row(*(Text(row[at], style=_style(row[at])) for at in shown))
        terminal().print(table)

    def pairs(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Names and values, a line each; values that are empty are left out."""
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            text = plain(value)
            if text:
                table.add_row(name, Text(text, style=_style(text)))
        terminal().print(table)


_WHOLE = frozenset({"AT", "REASON", "LETTER"})
"""Columns of times, words and names that can not be read if they are folded."""
_STYLES = {
    "applied": "green",
    "success": "green",
    "done": "green",
    "rejected": "yellow",
    "retrying": "yellow",
    "paused": "yellow",
    "failed": "red",
    "failure": "red",
    "parked": "red",
    "dead_lettered": "red",
    "ignored": "dim",
    "duplicate": "dim",
}


def _style(text: str) -> str:
    """Outcomes and statuses have a colour each, wherever they stand."""
    return _STYLES.get(text, "")
