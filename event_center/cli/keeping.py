"""
The commands that keep a log safe: `backup`, `restore`, and what `check --log` does.

A bar tells how far a copy is; a check says each flaw in a line of its own. `app.keeping` and
`client.examination` have the next steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from event_center.app.keeping import back_up, flaws_of
from event_center.app.keeping import restore as put_back
from event_center.cli.exits import Exit, noted_signals, perform
from event_center.cli.groups import Asked
from event_center.cli.output import Output, many
from event_center.cli.progress import bar
from event_center.cli.session import Session, Where, ask, require_log
from event_center.client.examination import Examination, examine
from event_center.log.sqlite.copying import Progress as Tell

File = Annotated[Path, typer.Argument(metavar="FILE", help="The copy.", show_default=False)]


def backup(file: File, *, asked: Asked) -> None:
    """Copy the log into a new file, also while a daemon runs on it."""
    perform(asked.output, partial(_backup, asked, file))


async def _backup(asked: Asked, file: Path) -> Exit:
    output, settings = asked.output, asked.where.settings()
    require_log(settings)
    with bar() as progress, noted_signals() as ended:
        size = back_up(settings, file, _teller(progress, ended))
    if output.as_json:
        output.json({"file": str(file), "bytes": size})
    else:
        output.say(f"copied to {file}: {size:,} bytes, checked")
    return Exit.OK


def restore(
    file: File,
    *,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Move the log away that is there; it stays beside the new one."
        ),
    ] = False,
    asked: Asked,
) -> None:
    """Put a copy in the place of the log; no daemon may run, and nobody else have the log open."""
    perform(asked.output, partial(_restore, asked, file, replace=replace))


async def _restore(asked: Asked, file: Path, *, replace: bool) -> Exit:
    output, settings = asked.output, asked.where.settings()
    with bar() as progress, noted_signals() as ended:
        size, replaced = put_back(settings, file, _teller(progress, ended), replace=replace)
    log = settings.under_root(settings.log.path)
    if output.as_json:
        moved = None if replaced is None else str(replaced)
        output.json({"log": str(log), "bytes": size, "replaced": moved})
        return Exit.OK
    output.say(f"restored {log}: {size:,} bytes, checked")
    if replaced is not None:
        output.say(f"the log that was there is {replaced}")
    return Exit.OK


def check_log(output: Output, where: Where) -> None:
    """Check the file of the log and every entry in it; exits with 1 if anything is wrong."""
    ask(output, where, partial(_check_log, output))


async def _check_log(output: Output, session: Session) -> Exit:
    problems = [f"file: {flaw}" for flaw in flaws_of(session.settings)]
    found = Examination() if problems else await examine(session.log, session.app)
    problems += found.problems
    if output.as_json:
        counts = {"workflows": found.workflows, "waiting": found.waiting}
        output.json({"ok": not problems, "problems": problems, "shards": found.shards, **counts})
    else:
        for problem in problems:
            output.say(problem, style="red")
        if not problems:
            output.say(
                f"ok: {session.log.where}: {many(found.shards, 'shard')}, "
                f"{many(found.workflows, 'workflow')}, {many(found.waiting, 'waiting event')}"
            )
    return Exit.NOTHING if problems else Exit.OK


def _teller(progress: Progress, ended: Callable[[], bool]) -> Tell:
    """Show the pages on one line, and go on until a signal comes."""
    task = progress.add_task("copying", total=None)

    def tell(done: int, total: int) -> bool:
        progress.update(task, completed=done, total=total)
        return not ended()

    return tell
