"""
What a command works with: the settings, the app as clients see it, and its open log.

Promises: a command that only looks never makes a log where there is none. Commands call `ask` or
`opened`; the wiring in `app` has the next step.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import typer

from event_center.app.health import daemon_of
from event_center.app.opening import open_log
from event_center.app.settings import Settings, load_settings
from event_center.app.sources import DEFAULT_FILES
from event_center.app.wiring import app_of
from event_center.cli.exits import Exit, perform
from event_center.cli.log_lines import set_up_quiet_logging
from event_center.cli.output import Output
from event_center.client.app import App
from event_center.client.workflows import nearest_workflow
from event_center.errors import LogUnavailable
from event_center.log.port import Log

WAIT_S = 3.0
"""How long a command waits for a cluster that does not answer: somebody sits before it."""


class Where(NamedTuple):
    """Where the command line says that settings and log are."""

    config: Path | None
    log: Path | None

    def settings(self, wait: str | None = None) -> Settings:
        """
        The settings, with the log of the command line.

        Args:
            wait: how long to wait for a cluster that does not answer, if that was given.

        Raises:
            ConfigurationError: they are wrong.
        """
        # In the settings a relative path starts at the project's root, on the command line here.
        path = None if self.log is None else self.log.absolute()
        return load_settings(self.config, {"log": {"path": path, "kafka": {"start_wait": wait}}})


class Session(NamedTuple):
    """An open log and what it belongs to."""

    settings: Settings
    app: App
    log: Log


def require_log(settings: Settings) -> None:
    """
    Is there an embedded log, if the settings want one?

    Raises:
        LogUnavailable: there is none.
    """
    path = settings.under_root(settings.log.path)
    if settings.log.kind == "sqlite" and not path.is_file():
        raise LogUnavailable(f"there is no log at {path}; {_where_then(settings)}")


def _where_then(settings: Settings) -> str:
    """What to do about a log that is not there: most often somebody stands in another folder."""
    if settings.file is None:
        places = " and ".join(str(file) for file in DEFAULT_FILES)
        return (
            f"nor is there a settings file ({places}): go to the project's folder, or name one with "
            "--config"
        )
    return "the first `publish` or `run` makes it, or name another one with --log or --config"


@asynccontextmanager
async def opened(where: Where, *, make: bool = False) -> AsyncIterator[Session]:
    """
    Open the log.

    Args:
        where: what the command line says.
        make: also make the log if there is none.

    Raises:
        LogUnavailable: there is none, or it can not be opened.
        ConfigurationError, ExpressionError: the settings are wrong.
    """
    settings = where.settings()
    if not make:
        require_log(settings)
    set_up_quiet_logging(settings.logging)
    log = await open_log(settings, wait_s=WAIT_S)
    try:
        yield Session(settings, app_of(settings), log)
    finally:
        await log.close()


def ask(output: Output, where: Where, work: Callable[[Session], Awaitable[Exit]]) -> None:
    """Run a command on the open log that exists already."""
    perform(output, partial(_ask, where, work))


async def _ask(where: Where, work: Callable[[Session], Awaitable[Exit]]) -> Exit:
    async with opened(where) as session:
        return await work(session)


async def served(session: Session) -> bool:
    """
    Whether there is a daemon that could answer a command.

    Raises:
        LogUnavailable: neither a lock file nor a cluster tells.
    """
    daemon = daemon_of(session.settings)
    return bool(await session.log.members()) if daemon is None else daemon.alive


async def not_found(output: Output, workflow_id: str, session: Session) -> Exit:
    """Say that there is no such workflow, and which one was probably meant."""
    near = await nearest_workflow(session.log, session.app, workflow_id)
    guess = "" if near is None else f"; did you mean {near!r}?"
    output.error(
        f"there is no workflow {workflow_id!r}{guess or ';'} `event-center list` shows those there are"
    )
    return Exit.NOT_FOUND


def said_yes(output: Output, question: str) -> bool:
    """Ask before much is done; where there is nobody to ask, the answer is no, and it is said so."""
    # asyncio would only take a note of Ctrl-C, and whoever was asked could not leave.
    noting = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if not output.as_json and typer.confirm(question, err=True):
            return True
    except typer.Abort:
        output.note("")  # ends the line of the question
    finally:
        signal.signal(signal.SIGINT, noting)
    output.error("nothing was sent; --yes says yes beforehand")
    return False
