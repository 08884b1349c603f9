"""
The command `stubs`: the module of a machine's callbacks, begun or brought up to date.

It writes one file, beside the machine's, and says what it added. `plugins.stubs` has the next step.
"""

from __future__ import annotations

import difflib
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from event_center.cli.checking import shown
from event_center.cli.exits import Exit, perform
from event_center.cli.options import DryRun
from event_center.cli.output import Output
from event_center.errors import ConfigurationError, PluginError
from event_center.machine import load
from event_center.plugins.stubs import stubbed


def stubs(
    machine: Annotated[
        Path, typer.Argument(metavar="FILE", help="A machine in YAML.", show_default=False)
    ],
    *,
    dry_run: DryRun = False,
) -> None:
    """Write the types of a machine, and a function for each missing callback, beside it."""
    output = Output(as_json=False)
    perform(output, partial(_write, output, machine, dry_run=dry_run))


async def _write(output: Output, file: Path, *, dry_run: bool) -> Exit:
    if file.suffix == ".py":
        raise ConfigurationError(
            f"{file} is a module of Python: a machine there has its functions in it, and needs no stubs"
        )
    plugin = file.with_suffix(".py")
    try:
        before = plugin.read_text(encoding="utf-8") if plugin.is_file() else ""
    except UnicodeDecodeError as error:
        raise PluginError(f"{plugin} is not UTF-8; save it in this encoding") from error
    found = stubbed(load(file), before, shown(str(plugin)))
    name = shown(str(plugin))
    if dry_run:
        lines = before.splitlines(keepends=True), found.text.splitlines(keepends=True)
        output.text("".join(difflib.unified_diff(*lines, name, name)))
    elif found.text != before:
        plugin.write_text(found.text, encoding="utf-8")
    for one in found.unused:
        output.note(f"{name} implements {one!r}, which the machine does not name")
    if found.text == before:
        output.say(f"{name} is up to date")
    elif not dry_run:
        added = f", with functions for {', '.join(found.added)}" if found.added else ""
        output.say(f"{name} is written{added}")
    return Exit.OK
