"""
Options that several commands share, so that they are called and explained the same everywhere.

Each is a type for a parameter of a command; typer reads the option from it. `duration` reads what
people write for times, as in the settings, `choice` one of a few words. The files of the commands
(`looking`, `repairing`, ...) put them into their signatures; `session` makes settings out of them.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from event_center.machine.duration import duration_ms
from event_center.machine.spelling import meant

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The settings file. Default: config/event-center.toml, else event-center.toml.",
    ),
]
LogPath = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="The file of the log, instead of the settings'."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The workflow_id.", show_default=False)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
]


def duration(text: str) -> float:
    """The seconds of a duration on the command line, as `500ms`, `30s`, `5m`, `24h`, `3d`."""
    try:
        return duration_ms(text) / 1_000
    except ValueError as error:
        meant = f"; did you mean {text}s?" if text.isdecimal() else ""
        raise typer.BadParameter(f"{error}{meant}") from error


def choice(
    kind: type[StrEnum], *names: str, about: str, metavar: str | None = None, also: str = ""
) -> Any:
    """
    An option that is one of a few words.

    Args:
        kind: the words.
        names: what the option is called, if not as its parameter.
        about: what `--help` says of it.
        metavar: what stands for the words where they are too many to be listed.
        also: one more word, which stays a text.
    """
    words: list[str] = [*kind, also] if also else list(kind)

    def read(text: str) -> str:
        if text in words:
            return text if text == also else kind(text)
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(words)}{meant(text, words)}")

    def begun(text: str) -> list[str]:
        return [word for word in words if word.startswith(text)]

    shown = metavar or f"[{'|'.join(words)}]"
    return typer.Option(*names, parser=read, metavar=shown, help=about, autocompletion=begun)


def json_value(text: str | None) -> Any:
    """A value written as JSON on the command line."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(
            f'{text[:60]!r} is not JSON ({error}); an object is written \'{{"card": "7"}}\', a '
            "text '\"paid\"'"
        ) from error


Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        parser=duration,
        metavar="DURATION",
        help="How long to wait for the daemon's answer.",
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Send it, and do not wait for an answer.")]
