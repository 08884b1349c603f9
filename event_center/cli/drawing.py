"""
The command `graph`: a machine as a table, a picture, or data; and where one workflow is in it.

The machine is a file, or the name of one that the settings load. Nothing is opened, unless
`--history` asks the log for the way of a workflow. `machine.drawing` has the next step.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from event_center.app.machines import load_file, load_machines
from event_center.app.settings import Settings
from event_center.cli.exits import Exit, perform
from event_center.cli.options import AsJson, Config, LogPath, choice
from event_center.cli.output import Output
from event_center.cli.session import Session, Where, not_found, opened
from event_center.client.history import history
from event_center.client.workflows import snapshot_of
from event_center.errors import ConfigurationError, DefinitionError
from event_center.machine import Machine
from event_center.machine.drawing import Drawing, Trail, drawn, place_in, trail_of
from event_center.machine.drawing_svg import svg_of
from event_center.machine.drawing_table import table_of
from event_center.machine.drawing_text import dot_of, json_of, mermaid_of
from event_center.machine.spelling import hint


class Format(StrEnum):
    """The forms of a drawing."""

    TABLE = "table"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    JSON = "json"


Named = Annotated[
    str,
    typer.Argument(
        metavar="MACHINE",
        help="A file of a machine, or the name of one that the settings load.",
        show_default=False,
    ),
]


def machine_of(named: str, settings: Settings) -> Machine:
    """
    A machine by its file, or by its name in the settings.

    Raises:
        DefinitionError, PluginError: the file has problems.
        ConfigurationError: there is no such file or machine, or the file has several.
    """
    path = Path(named)
    if path.is_file():
        machines, problems = load_file(path)
        if problems:
            raise DefinitionError(problems)
        if len(machines) > 1:
            names = ", ".join(machine.name for machine in machines)
            raise ConfigurationError(
                f"{path} has several machines ({names}); load it in `machines` of the settings, and "
                "name one of them"
            )
        return machines[0]
    known = load_machines(settings)
    if named not in known:
        raise ConfigurationError(
            f"{named!r} is no file, and no machine that the settings load{hint(named, known, 'machines')}"
        )
    return known[named]


def graph(
    machine: Named,
    *,
    form: Annotated[
        Format,
        choice(
            Format,
            "--format",
            "-f",
            about="`table`: what each event does in each state; `mermaid`, `dot`, `svg`: pictures; "
            "`json`: data.",
        ),
    ] = Format.TABLE,
    at: Annotated[
        str | None,
        typer.Option(metavar="STATE", help="Mark a state, or several leaves joined by `|`."),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--history", metavar="ID", help="Mark where a workflow is, and its way there."
        ),
    ] = None,
    config: Config = None,
    log: LogPath = None,
    as_json: AsJson = False,
) -> None:
    """Draw a machine: a table of what each event would do, or a picture."""
    output = Output(as_json=as_json)
    if at is not None and workflow is not None:
        raise typer.BadParameter("give --at or --history, not both")
    where = Where(config, log)
    drawing = _Graph(output, Format.JSON if as_json else form, where)
    perform(output, partial(drawing.print, machine, at, workflow))


class _Graph(NamedTuple):
    """How a drawing is to be printed."""

    output: Output
    form: Format
    where: Where

    async def print(self, named: str, at: str | None, workflow: str | None) -> Exit:
        """Draw the machine, marked where it is to be."""
        machine = machine_of(named, self.where.settings())
        definition = machine.definition
        if at is not None:
            try:
                trail = Trail(at=place_in(definition, at))
            except KeyError as error:
                raise ConfigurationError(error.args[0]) from error
        elif workflow is not None:
            async with opened(self.where) as session:
                found = await _trail(session, machine, workflow)
                if found is None:
                    return await not_found(self.output, workflow, session)
            trail = found
        else:
            trail = Trail()
        self._write(drawn(definition, trail))
        return Exit.OK

    def _write(self, drawing: Drawing) -> None:
        match self.form:
            case Format.JSON:
                self.output.json(json_of(drawing))
            case Format.TABLE:
                self.output.text(table_of(drawing))
            case Format.MERMAID:
                self.output.text(mermaid_of(drawing))
            case Format.DOT:
                self.output.text(dot_of(drawing))
            case Format.SVG:
                self.output.text(svg_of(drawing))


async def _trail(session: Session, machine: Machine, workflow: str) -> Trail | None:
    """Where a workflow is and how it came there; None if there is none."""
    snapshot = await snapshot_of(session.log, session.app, workflow)
    if snapshot is None:
        return None
    if snapshot.machine != machine.name or not machine.rests(snapshot.state):
        raise ConfigurationError(
            f"workflow {workflow!r} is in state {snapshot.state!r} of machine {snapshot.machine!r}, "
            f"and machine {machine.name!r} of {machine.source} has no such state; name its machine"
        )
    return trail_of(await history(session.log, session.app, workflow), snapshot.state)
