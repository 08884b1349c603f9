"""
The command line room: `event-center` and its commands, one file a family.

`main` is the entry point of the process: what no command could tell in a sentence ends here, with a
traceback and exit code 70. The families have the next steps.
"""

from __future__ import annotations

import sys
import traceback
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

__all__ = ["app", "main"]

app = typer.Typer(
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
app.command("init", rich_help_panel=RUN)(starting.init)
app.command("doctor", rich_help_panel=RUN)(doctor.doctor)
app.command("run", rich_help_panel=RUN)(running.run)
app.command("check", rich_help_panel=RUN)(checking.check)
app.command("graph", rich_help_panel=DESIGN)(drawing.graph)
app.command("diff", rich_help_panel=DESIGN)(comparing.diff)
app.command("cases", rich_help_panel=DESIGN)(casework.cases)
app.command("simulate", rich_help_panel=DESIGN)(simulating.simulate_)
app.command("stubs", rich_help_panel=DESIGN)(stubbing.stubs)
app.command("export", rich_help_panel=DESIGN)(exchanging.export)
app.command("import", rich_help_panel=DESIGN)(exchanging.import_)
app.command("publish", rich_help_panel=PUBLISH)(command(publishing.publish))
app.command("send", rich_help_panel=PUBLISH)(command(publishing.send))
app.command("list", rich_help_panel=LOOK)(command(looking.list_))
app.command("show", rich_help_panel=LOOK)(command(looking.show))
app.command("why", rich_help_panel=LOOK)(command(explaining.why))
app.command("wait", rich_help_panel=LOOK)(command(awaiting.wait))
app.command("history", rich_help_panel=LOOK)(command(looking.history))
app.command("health", rich_help_panel=LOOK)(command(probing.health))
app.command("stats", rich_help_panel=LOOK)(command(looking.stats))
app.command("top", rich_help_panel=LOOK)(watching.top)
app.command("pause", rich_help_panel=REPAIR)(repairing.pause)
app.command("resume", rich_help_panel=REPAIR)(repairing.resume)
app.command("retry", rich_help_panel=REPAIR)(repairing.retry)
app.command("skip", rich_help_panel=REPAIR)(repairing.skip)
app.command("cancel", rich_help_panel=REPAIR)(repairing.cancel)
app.command("set-state", rich_help_panel=REPAIR)(repairing.set_state)
app.command("forget", rich_help_panel=REPAIR)(repairing.forget)
dead_letters = typer.Typer(
    no_args_is_help=True,
    help="Look at events that could not be dealt with, and send them on their way again.",
)
dead_letters.command("list")(command(letters.list_))
dead_letters.command("show")(command(letters.show))
dead_letters.command("replay")(command(replaying.replay))
dead_letters.command("discard")(command(replaying.discard))
app.add_typer(dead_letters, name="dead-letters", rich_help_panel=REPAIR)
app.command("backup", rich_help_panel=ARRANGE)(command(keeping.backup))
app.command("restore", rich_help_panel=ARRANGE)(command(keeping.restore))
app.command("migrate", rich_help_panel=ARRANGE)(migrating.migrate)
topics_ = typer.Typer(no_args_is_help=True, help="Make, check and describe the topics of this app.")
topics_.command("create")(command(topics.create))
topics_.command("check")(command(topics.check))
topics_.command("describe")(command(topics.describe))
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
