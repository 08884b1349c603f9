"""
What commands print: tables and sentences for people, JSON for programs, on stdout; the rest on
stderr.

Promises: with `--json` stdout holds one JSON document and nothing else; what others wrote (ids,
payloads, errors) can not move the cursor or colour anything; no colour where nobody looks.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Literal

import orjson
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from event_center.model import Json

GAP = 2
"""Blanks between two columns: one would be taken for part of a name."""
INDENT = 5
"""Of what stands below its row: it is seen to belong to it."""
LEAST = 8
"""Columns that a column keeps on a narrow screen: less could not be read at all."""
WIDE = 240
"""Columns for output into files and pipes: lines of a table are not broken there."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def plain(value: object) -> str:
    """A value as one line of printable text; None is empty."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json_line(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def many(count: int, what: str) -> str:
    """So many of a thing, which has an s where they are not one."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


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

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        below: Sequence[str] = (),
        spare: Sequence[str] = (),
    ) -> None:
        """
        A table on stdout; columns that are empty in every row are left out.

        Args:
            columns: their names.
            rows: their cells.
            below: columns that leave the table, in this order, while it is wider than the screen:
                what they hold stands below its row.
            spare: columns that are left out, before that, while it is wider than the screen.
        """
        filled = [[plain(cell) for cell in row] for row in rows]
        shown = [at for at in range(len(columns)) if any(row[at] for row in filled)]
        console = terminal()
        every = [_Column(columns[at], [row[at] for row in filled]) for at in shown]
        for name in spare:
            if _width(every) > console.width:
                every = [column for column in every if column.name != name]
        beside = every
        for name in below:
            if _width(beside) > console.width:
                beside = [column for column in beside if column.name != name]
        under = [column for column in every if column not in beside]
        _fit(beside, console.width)
        table = _begun(beside)
        table.add_row(*(Text(column.name, style="bold") for column in beside))
        for number in range(len(filled)):
            cells = [column.cells[number] for column in beside]
            table.add_row(*(Text(cell, style=_style(cell)) for cell in cells))
            rest = "; ".join(filter(None, (column.told(number) for column in under)))
            if rest:
                _print(console, table)
                told = Padding(Text(rest, style="dim"), (0, 0, 0, INDENT), expand=False)
                _print(console, told)
                table = _begun(beside)
        if table.row_count:
            _print(console, table)

    def pairs(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Names and values, a line each; values that are empty are left out."""
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in pairs:
            text = plain(value)
            if text:
                table.add_row(name, Text(text, style=_style(text)))
        _print(terminal(), table)


class _Column:
    """One column of a table that is about to be printed."""

    def __init__(self, name: str, cells: list[str]) -> None:
        self.name = name
        self.cells = cells
        self.width = max(map(cell_len, [name, *cells]))
        self.numbers = all(cell.isdigit() or not cell for cell in cells)
        self.times = all(_TIME.fullmatch(cell) or not cell for cell in cells)
        """One that is folded could not be read."""

    def told(self, number: int) -> str:
        """A cell outside of its column; a number has its name before it."""
        cell = self.cells[number]
        return f"{self.name.lower()} {cell}" if cell and self.numbers else cell


def _width(columns: list[_Column]) -> int:
    return sum(column.width + GAP for column in columns) - GAP


def _fit(columns: list[_Column], width: int) -> None:
    """Take what the screen lacks from the widest columns, which will be folded."""
    loose = [column for column in columns if not column.times]
    while loose and _width(columns) > width:
        widest = max(loose, key=lambda column: column.width)
        if widest.width <= LEAST:
            return
        widest.width -= 1


def _print(console: Console, what: RenderableType) -> None:
    """Print without the blanks that fill the last column: nobody wants them in a file."""
    for line in console.render_lines(what, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = line[-1]._replace(text=line[-1].text.rstrip())
        console.print(Segments([*line, Segment.line()]), end="")


def _begun(columns: list[_Column]) -> Table:
    """A table without rows, in the widths of these columns."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, GAP, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.numbers else "left"
        table.add_column(width=column.width, overflow="fold", justify=justify)
    return table


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
