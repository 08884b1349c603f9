"""What `--help` prints, of every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from event_center.cli import app

Path = tuple[str, ...]


def _pages(one: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    for name, below in getattr(one, "commands", {}).items():
        yield from _pages(below, (*path, name))


@pytest.mark.parametrize("path", list(_pages(get_command(app))), ids=" ".join)
def test_a_help_page_has_no_words_of_python(path: Path) -> None:
    """A flag takes nothing, and says so; what stands in brackets is not taken for a colour."""
    page = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
    assert not re.search(r"<(bool|str|Any|path|list|int)|--no-verbose", page), page
    assert ("`[engine] processes` of the settings" in page) == (path == ("run",)), page
