"""
The command line room: `event-center` and its commands, one file a family.

`main` is the entry point of the process: what no command could tell in a sentence ends here, with a
traceback and exit code 70. The families have the next steps.
"""

from __future__ import annotations

import sys
import traceback
from functools import partial
from importlib.metadata import version
from typing import Annotated

import typer

from event_center.cli import (
    awaiting,
    casework,
    checking,
    comparing,
    doctor,
    drawing,
    exchanging,
    explaining,
    keeping,
    letters,
    looking,
    migrating,
    probing,
    publishing,
    repairing,
    replaying,
    running,
    simulating,
    starting,
    stubbing,
    topics,
    watching,
)
from event_center.cli.exits import CODES, Exit
from event_center.cli.groups import command
from event_center.cli.help_pages import Contents, Page

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Contents,
    name="event-center",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=CODES,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"event-center {version('event-center')}")
        raise typer.Exit


@app.callback()
def _about(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """Event-driven workflows: events in, state machines move, callbacks are awaited."""


RUN, PUBLISH, LOOK, REPAIR, ARRANGE = "Run", "Publish", "Look", "Repair", "Arrange"
DESIGN = "Design"
add = partial(app.command, cls=Page)
add("init", rich_help_panel=RUN)(starting.init)
add("doctor", rich_help_panel=RUN)(doctor.doctor)
add("run", rich_help_panel=RUN)(running.run)
add("check", rich_help_panel=RUN)(checking.check)
add("graph", rich_help_panel=DESIGN)(drawing.graph)
add("diff", rich_help_panel=DESIGN)(comparing.diff)
add("cases", rich_help_panel=DESIGN)(casework.cases)
add("simulate", rich_help_panel=DESIGN)(simulating.simulate_)
add("stubs", rich_help_panel=DESIGN)(stubbing.stubs)
add("export", rich_help_panel=DESIGN)(exchanging.export)
add("import", rich_help_panel=DESIGN)(exchanging.import_)
add("publish", rich_help_panel=PUBLISH)(command(publishing.publish))
add("send", rich_help_panel=PUBLISH)(command(publishing.send))
add("list", rich_help_panel=LOOK)(command(looking.list_))
add("show", rich_help_panel=LOOK)(command(looking.show))
add("why", rich_help_panel=LOOK)(command(explaining.why))
add("wait", rich_help_panel=LOOK)(command(awaiting.wait))
add("history", rich_help_panel=LOOK)(command(looking.history))
add("health", rich_help_panel=LOOK)(command(probing.health))
add("stats", rich_help_panel=LOOK)(command(looking.stats))
add("top", rich_help_panel=LOOK)(watching.top)
add("pause", rich_help_panel=REPAIR)(repairing.pause)
add("resume", rich_help_panel=REPAIR)(repairing.resume)
add("retry", rich_help_panel=REPAIR)(repairing.retry)
add("skip", rich_help_panel=REPAIR)(repairing.skip)
add("cancel", rich_help_panel=REPAIR)(repairing.cancel)
add("set-state", rich_help_panel=REPAIR)(repairing.set_state)
add("forget", rich_help_panel=REPAIR)(repairing.forget)
dead_letters = typer.Typer(
    cls=Contents,
    no_args_is_help=True,
    help="Look at events that could not be dealt with, and send them on their way again.",
)
dead_letters.command("list", cls=Page)(command(letters.list_))
dead_letters.command("show", cls=Page)(command(letters.show))
dead_letters.command("replay", cls=Page)(command(replaying.replay))
dead_letters.command("discard", cls=Page)(command(replaying.discard))
app.add_typer(dead_letters, name="dead-letters", rich_help_panel=REPAIR)
add("backup", rich_help_panel=ARRANGE)(command(keeping.backup))
add("restore", rich_help_panel=ARRANGE)(command(keeping.restore))
add("migrate", rich_help_panel=ARRANGE)(migrating.migrate)
topics_ = typer.Typer(
    cls=Contents, no_args_is_help=True, help="Make, check and describe the topics of this app."
)
topics_.command("create", cls=Page)(command(topics.create))
topics_.command("check", cls=Page)(command(topics.check))
topics_.command("describe", cls=Page)(command(topics.describe))
app.add_typer(topics_, name="topics", rich_help_panel=ARRANGE)


def main() -> None:
    """Run the command line of this process."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        typer.echo("an argument is not UTF-8: no log and no settings can hold it", err=True)
        sys.exit(Exit.USAGE)
    try:
        app()
    except Exception:  # noqa: BLE001 - the top of the process: nobody else would tell
        traceback.print_exc()
        sys.exit(Exit.INTERNAL)
