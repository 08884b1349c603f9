"""
The commands `export` and `import`: machines in the languages of other tools, and from them.

The document goes to stdout, what has no counterpart to stderr, a sentence each. They open no log.
`machine.exchange_xstate`, `exchange_import` and `exchange_asyncapi` have the next steps.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from event_center.cli.drawing import Named, machine_of
from event_center.cli.exits import Exit, perform
from event_center.cli.options import Config, choice
from event_center.cli.output import Output
from event_center.cli.session import Where
from event_center.errors import DefinitionError, ExchangeError
from event_center.machine import parse
from event_center.machine.exchange_asyncapi import asyncapi_of
from event_center.machine.exchange_import import yaml_from_xstate
from event_center.machine.exchange_xstate import xstate_of


class Language(StrEnum):
    """What a machine can be exported to."""

    XSTATE = "xstate"
    ASYNCAPI = "asyncapi"


def export(
    machine: Named,
    *,
    language: Annotated[
        Language,
        choice(
            Language,
            "--format",
            "-f",
            about="`xstate`: a configuration of XState 5, in JSON; `asyncapi`: the machine's events, "
            "as AsyncAPI 3 in JSON.",
        ),
    ] = Language.XSTATE,
    config: Config = None,
) -> None:
    """Write a machine in the language of another tool; what it has no word for goes to stderr."""
    output, where = Output(as_json=False), Where(config, None)

    async def work() -> Exit:
        settings = where.settings()
        found = machine_of(machine, settings)
        if language is Language.ASYNCAPI:
            topics = [
                name for name, topic in settings.topics.items() if topic.machine == found.name
            ]
            output.json(asyncapi_of(found.definition, topics))
            return Exit.OK
        said, notes = xstate_of(found.definition)
        output.json(said)
        for note in notes:
            output.note(note)
        return Exit.OK

    perform(output, work)


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A configuration of XState 5, in JSON.", show_default=False
        ),
    ],
) -> None:
    """Print the YAML of a machine that XState knows; what did not come along goes to stderr."""
    output = Output(as_json=False)

    async def work() -> Exit:
        text, notes = yaml_from_xstate(_configuration(file))
        output.text(text)
        for note in notes:
            output.note(note)
        try:
            parse(text, "<yaml>")
        except DefinitionError as error:
            output.error(f"the machine is not whole yet; save it, and mend:\n{error}")
            return Exit.NOTHING
        return Exit.OK

    perform(output, work)


def _configuration(file: Path) -> dict[str, object]:
    try:
        config = orjson.loads(file.read_bytes())
    except OSError as error:
        raise ExchangeError(f"{file} can not be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ExchangeError(
            f"{file} is not JSON ({error}); XState writes it with JSON.stringify(machine.config)"
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("states"), dict):
        raise ExchangeError(
            f"{file} has no `states`: write the configuration of one machine into it"
        )
    return config
