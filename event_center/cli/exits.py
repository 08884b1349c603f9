"""
How commands end: their exit codes, and the one place where errors become a sentence and a code.

An error that this package raises on purpose is told in one sentence, never with a traceback.
Anything else goes on to `main`, which prints the traceback and exits with 70. `session` puts every
command between these lines.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from importlib.util import find_spec

import anyio
import typer

from event_center.cli.output import Output
from event_center.errors import (
    CallbackError,
    EventCenterError,
    FormatError,
    InvariantError,
    LogError,
    MigrationError,
    ProcessFailed,
    Stopped,
    UnknownState,
    UnknownTopic,
)


class Exit(IntEnum):
    """The exit codes; they are part of the interface."""

    OK = 0
    NOTHING = 1
    """`check` found problems, or nothing was done: the daemon refused a command."""
    USAGE = 2
    """The command line, the settings, a machine or a plugin is wrong."""
    LOG = 3
    """The log is unavailable, damaged, or in use by another daemon."""
    NOT_FOUND = 4
    PARTLY = 5
    """Only a part was done, no daemon has answered yet, or a second signal ended `run` at once."""
    INTERNAL = 70
    STOPPED = 130
    """Ctrl-C, before anything was done that lasts."""


CODES = (
    "Exit codes: 0 done; 1 problems found, or nothing done; 2 wrong usage, settings or machines; "
    "3 log unavailable or in use; 4 not found; 5 partly done, or not answered yet; 70 internal error; "
    "130 ended by Ctrl-C."
)


KINDS: tuple[tuple[type[EventCenterError], Exit], ...] = (
    (InvariantError, Exit.INTERNAL),
    (CallbackError, Exit.INTERNAL),
    (MigrationError, Exit.NOTHING),
    (Stopped, Exit.STOPPED),
    (UnknownState, Exit.NOT_FOUND),
    (UnknownTopic, Exit.USAGE),
    (LogError, Exit.LOG),
    (FormatError, Exit.LOG),
)
"""The first that fits counts; every other error is one of usage."""


def code_of(error: EventCenterError) -> Exit:
    """The exit code that says what kind of error it is."""
    match error:
        case ProcessFailed(code=code):
            return Exit(code) if code in set(Exit) else Exit.INTERNAL
        case _:
            return next((code for kind, code in KINDS if isinstance(error, kind)), Exit.USAGE)


def perform(output: Output, work: Callable[[], Awaitable[Exit]], *, fast: bool = False) -> None:
    """
    Run a command to its end and exit with its code; `fast` takes uvloop where it is installed.

    Raises:
        typer.Exit: always, unless the code is 0 or an error is none of ours.
    """
    uvloop = fast and find_spec("uvloop") is not None
    try:
        code = anyio.run(work, backend_options={"use_uvloop": uvloop})
    except EventCenterError as error:
        output.error(str(error))
        raise typer.Exit(code_of(error)) from error
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        ours = [error for error in errors if isinstance(error, EventCenterError)]
        if len(ours) != len(errors):
            raise
        # What failed first is the reason; the others failed because of it.
        output.error(str(ours[0]))
        raise typer.Exit(code_of(ours[0])) from group
    if code is not Exit.OK:
        raise typer.Exit(code)


async def end_on_signal(scope: anyio.CancelScope) -> None:
    """End what a command does at the first Ctrl-C or SIGTERM, without leaving it in the middle."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


@contextmanager
def noted_signals() -> Iterator[Callable[[], bool]]:
    """
    Take note of Ctrl-C and SIGTERM in work that awaits nothing; says whether one has come.

    The work asks where it can end without leaving anything half done.
    """
    came: list[int] = []
    former = [
        (number, signal.signal(number, lambda number, _: came.append(number)))
        for number in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield lambda: bool(came)
    finally:
        for number, before in former:
            signal.signal(number, before)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
