"""
Progress bars: what is done, of how much, how fast; on stderr, and only on a terminal.

`publish` and `run` show them. Lines that are logged meanwhile stand above the bar.
"""

from __future__ import annotations

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from event_center.cli.output import terminal


class _Count(ProgressColumn):
    """How many, and how many a second."""

    def render(self, task: Task) -> Text:
        count = task.fields.get("count", task.completed)
        elapsed = task.elapsed or 0.0
        rate = f"  {count / elapsed:,.0f}/s" if elapsed else ""
        return Text(f"{count:,.0f}{rate}")


def bar() -> Progress:
    """A bar, as a context manager; a task may count something else in its field `count`."""
    console = terminal(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _Count(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
