"""
The command `migrate`: an app from one log to another, as from SQLite to Kafka.

It says what moves before it begins and what has moved at the end; on a terminal a bar tells how far it
is. Killed, it can be started again. `app.migrating` has the next step.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from anyio import create_task_group
from rich.progress import Progress

from event_center.app.migrating import move, would_move
from event_center.app.settings import Settings, load_settings
from event_center.cli.exits import Exit, end_on_signal, perform
from event_center.cli.log_lines import set_up_logging
from event_center.cli.options import AsJson, DryRun
from event_center.cli.output import Output, many
from event_center.cli.progress import bar
from event_center.client.migration import Moved, Tell
from event_center.client.survey import Cargo, Survey

From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="The settings that the app ran with. Default: as of every command's --config.",
    ),
]
To = Annotated[
    Path, typer.Option("--to", metavar="FILE", help="The settings that it is to run with.")
]
WithBacklog = Annotated[
    bool,
    typer.Option(
        "--with-backlog", help="Also copy records that no daemon has read; without, there are none."
    ),
]
WithHistory = Annotated[bool, typer.Option("--with-history", help="Also copy the history.")]


def migrate(
    *,
    to: To,
    from_: From = None,
    with_backlog: WithBacklog = False,
    with_history: WithHistory = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move the app to another log: workflows, what waits, dead letters. The old log stays as it is."""
    output = Output(as_json=as_json)
    wanted = {Cargo.BACKLOG: with_backlog, Cargo.HISTORY: with_history}
    kinds = frozenset(kind for kind, wants in wanted.items() if wants)
    perform(output, partial(_migrate, output, (from_, to), kinds, dry_run=dry_run))


async def _migrate(
    output: Output,
    files: tuple[Path | None, Path],
    kinds: frozenset[Cargo],
    *,
    dry_run: bool,
) -> Exit:
    source, target = (load_settings(file) for file in files)
    set_up_logging(target.logging)
    if dry_run:
        plan = await would_move(source, target, kinds)
        _print(output, plan.survey, target, "moved before" if plan.earlier else "would move")
        return Exit.OK
    last: list[Any] = []
    done: Moved | None = None
    with bar() as progress:
        async with create_task_group() as tasks:
            tasks.start_soon(end_on_signal, tasks.cancel_scope)
            done = await move(source, target, kinds, _teller(progress, last))
            tasks.cancel_scope.cancel()
    if done is None:
        return _stopped(output, last, target)
    _print(output, done.survey, target, "moved before" if done.earlier else "moved")
    return Exit.OK


def _teller(progress: Progress, last: list[Any]) -> Tell:
    """Show each step on the same line, and keep the last one."""
    task = progress.add_task("looking", total=None)

    def tell(step: str, done: int, total: int) -> None:
        progress.update(task, description=step, completed=done, total=total)
        last[:] = step, done, total

    return tell


def _stopped(output: Output, last: list[Any], target: Settings) -> Exit:
    """What was done when Ctrl-C came, and how it goes on."""
    step, done, total = last or ("surveyed", 0, 0)
    if step == "surveyed":
        output.error("stopped while the source was looked at; nothing was moved")
        return Exit.STOPPED
    if step == "done" and done == total:
        output.say(f"Ctrl-C came too late: all has moved; {_from_now_on(target)}")
        return Exit.OK
    output.error(
        f"stopped after: {step}, {done:,} of {total:,}. What has moved is on record in the target, which "
        "no daemon serves before all has: run the same command again, it goes on; the source is as it was"
    )
    return Exit.PARTLY


def _from_now_on(target: Settings) -> str:
    where = str(target.file) if target.file is not None else "the new settings"
    return f"start the daemon with --config {where}, and no other on the old log"


def _print(output: Output, found: Survey, target: Settings, how: str) -> None:
    records: dict[str, int] = {}
    for stretch in found.stretches:
        records[stretch.topic] = found.records(stretch.topic)
    told: dict[str, Any] = {
        "what": how,
        "workflows": found.workflows,
        "waiting": found.waiting,
        "open_letters": found.open_letters,
        "records": records,
        "unread": sum(found.lag.values()),
        "shards": len(found.shards),
        "read": sum(entry.read for entry in found.shards.values()),
        "entries_digest": f"{found.entries.digest:032x}",
    }
    if output.as_json:
        output.json(told)
        return
    output.say(
        f"{how}: {many(found.workflows, 'workflow')}, {many(found.waiting, 'waiting event')}, "
        f"{many(found.open_letters, 'open letter')}"
    )
    for topic, count in records.items():
        output.say(f"{how}: {many(count, 'record')} of {topic}")
    if how != "would move":
        output.say(_from_now_on(target))
