"""
The command `init`: a new project with a machine, its callbacks, their test, and what runs them.

It asks nothing and overwrites nothing. `app.starting` has the files.
"""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from event_center.app.starting import start
from event_center.cli.exits import Exit, code_of
from event_center.cli.options import AsJson, DryRun, choice
from event_center.cli.output import Output
from event_center.errors import ConfigurationError


class Example(StrEnum):
    """What a project begins with."""

    ORDER = "order"
    EMPTY = "empty"


def init(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="Where the project is to be; its name becomes the project's."
        ),
    ],
    *,
    example: Annotated[
        Example,
        choice(Example, about="What it begins with: an order with a payment, or next to nothing."),
    ] = Example.ORDER,
    kafka: Annotated[bool, typer.Option("--kafka", help="The log is on Kafka.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Start a project: a machine, its callbacks, their test, settings, and what runs them."""
    output = Output(as_json=as_json)
    if not directory:
        raise typer.BadParameter(
            "DIR is empty; name a directory for the project, or '.' for this one"
        )
    place = Path(directory)
    try:
        project = start(place, example=example, kafka=kafka)
        existing = project.existing()
        if not dry_run:
            project.write()
    except ConfigurationError as error:
        output.error(str(error))
        raise typer.Exit(code_of(error)) from error
    if as_json:
        output.json(
            {
                "directory": str(place),
                "name": project.name,
                "files": list(project.files),
                "existing": existing,
                "dry_run": dry_run,
            }
        )
        return
    for name in project.files:
        said = (
            "exists already" if name in existing else "would be written" if dry_run else "written"
        )
        output.say(f"{said}: {place / name}")
    if not dry_run:
        steps = [] if place.absolute() == Path.cwd() else [f"cd {shlex.quote(str(place))}"]
        steps.append("`pytest`")
        if kafka:
            steps.append("with a cluster `event-center topics create --events`")
        output.say(f"next: {', then '.join(steps)}, and `event-center run`; README.md goes on")
    elif existing:
        raise typer.Exit(Exit.NOTHING)
