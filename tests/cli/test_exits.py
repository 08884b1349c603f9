"""How commands end: each kind of error has one code, and one sentence."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import typer

from event_center import errors
from event_center.cli.exits import Exit, code_of, perform
from event_center.cli.output import Output
from event_center.errors import (
    CallbackError,
    ConfigurationError,
    DefinitionError,
    EventCenterError,
    InvariantError,
    LogInUse,
    LogUnavailable,
    MigrationError,
    Stopped,
    UnknownState,
    UnknownTopic,
)
from tests.waiting import PATIENCE_S

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, EventCenterError)
]
LOG = {
    "LogError",
    "LogUnavailable",
    "LogRefused",
    "LogInUse",
    "DataLost",
    "NotCommitted",
    "Unknown",
    "Fenced",
    "FormatError",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_its_code(kind: type[EventCenterError]) -> None:
    """3 is the log, 70 a mistake of ours or of a callback; the user mends the rest, 1 if not here."""
    error = kind.__new__(kind)
    code = code_of(error)
    if issubclass(kind, InvariantError | CallbackError):
        assert code is Exit.INTERNAL
    elif kind is MigrationError:
        assert code is Exit.NOTHING
    elif kind is Stopped:
        assert code is Exit.STOPPED
    elif kind is UnknownState:
        assert code is Exit.NOT_FOUND
    elif kind.__name__ in LOG:
        assert code is Exit.LOG
    else:
        assert code is Exit.USAGE


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (ConfigurationError("this is wrong"), 2),
        (UnknownTopic("this is wrong"), 2),
        (LogInUse("this is wrong"), 3),
        (InvariantError("this is wrong"), 70),
        (ExceptionGroup("x", [LogUnavailable("this is wrong"), ConfigurationError("later")]), 3),
        (ExceptionGroup("x", [ExceptionGroup("y", [ConfigurationError("this is wrong")])]), 2),
    ],
)
def test_our_errors_are_sentences(
    raised: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of ours, however deep in groups, is one sentence on stderr and its code."""

    async def work() -> Exit:
        raise raised

    with pytest.raises(typer.Exit) as ended:
        perform(Output(as_json=False), work)
    assert ended.value.exit_code == code
    assert "this is wrong" in capsys.readouterr().err


def test_what_is_not_only_ours_goes_on() -> None:
    """A group with an error that nobody foresaw comes out whole: it is a bug, and needs its traceback."""

    async def work() -> Exit:
        raise ExceptionGroup("x", [LogUnavailable("away"), ZeroDivisionError()])

    with pytest.raises(ExceptionGroup) as ended:
        perform(Output(as_json=False), work)
    assert len(ended.value.exceptions) == 2


def test_a_code_that_is_not_0_ends_the_command() -> None:
    """What a command returns is its exit code; 0 just returns."""

    async def nothing() -> Exit:
        return Exit.NOTHING

    async def fine() -> Exit:
        return Exit.OK

    with pytest.raises(typer.Exit) as ended:
        perform(Output(as_json=False), nothing)
    assert ended.value.exit_code == 1
    perform(Output(as_json=False), fine, fast=True)


def test_a_definition_error_tells_all_its_problems(capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem of a definition has its line."""
    problems = [errors.Problem("m.yaml", line, 1, "E1", "wrong") for line in (3, 7)]

    async def work() -> Exit:
        raise DefinitionError(problems)

    with pytest.raises(typer.Exit):
        perform(Output(as_json=False), work)
    said = capsys.readouterr().err
    assert "m.yaml:3:1" in said
    assert "m.yaml:7:1" in said


def test_the_package_is_a_program() -> None:
    """`python -m event_center` is `event-center`."""
    done = subprocess.run(
        [sys.executable, "-m", "event_center", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert done.stdout.startswith("event-center ")
