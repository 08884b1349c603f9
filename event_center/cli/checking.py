"""
The command `check`: everything that `run` would refuse, found without running, all problems at
once.

Settings, machines, plugins, the machines' own tests and the rules of topics, in this order; each
problem with the place where it is to be mended. It opens no log, but imports the plugins; with
`--log` it checks the log instead.
`app.wiring` has the next step.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from event_center.app.machines import each_once, files_at, load_file, machine_files, near
from event_center.app.settings import Settings
from event_center.app.wiring import envelopes, make_plan
from event_center.cli.annotations import Found, github, sarif
from event_center.cli.exits import Exit
from event_center.cli.keeping import check_log
from event_center.cli.options import AsJson, Config, choice
from event_center.cli.output import Output, many
from event_center.cli.session import Where
from event_center.errors import (
    ConfigurationError,
    EventCenterError,
    ExpressionError,
    PluginError,
)
from event_center.machine import Machine
from event_center.machine.conditions import circles, remarks
from event_center.machine.explanations import EXPLANATIONS, explained_plainly
from event_center.machine.problems import Code
from event_center.machine.trial import failures
from event_center.plugins.callbacks import Callbacks
from event_center.plugins.discovery import discover
from event_center.plugins.listening import listeners_of
from event_center.plugins.registry import resolve, unclaimed

_PLACE = re.compile(
    r"(?P<source>[^\s:][^:\n]*):(?P<line>\d+)(?::(?P<column>\d+))?:? (?P<message>.*)"
)


class Form(StrEnum):
    """How `check` says what it found."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


class _Check:
    """What was looked at, and what was found."""

    def __init__(self) -> None:
        self.problems: list[Found] = []
        self.warnings: list[Found] = []
        self.notes: list[Found] = []
        self.machines: list[Machine] = []
        self.callbacks = 0
        self.topics = 0
        self.tests = 0

    def all(self, where: Where, named: list[Path]) -> None:
        """Check the settings and all that they name, or only the named machines."""
        try:
            settings = where.settings()
            files = _files(named) or machine_files(settings)
        except ConfigurationError as error:
            self._lines("settings", str(error))
            return
        self._load(files)
        self._bind(settings)
        if named:
            return
        self._rules(settings)
        if not self.problems:
            # What is left fits together or not as a whole: the same wiring as of `run` says so.
            try:
                make_plan(settings)
            except EventCenterError as error:
                self._lines("settings", str(error))

    def sort(self) -> None:
        """As the files have it: by file and line, and what has no place last."""
        for found in (self.problems, self.warnings, self.notes):
            found.sort(key=_place)

    def _load(self, files: list[Path]) -> None:
        for path in files:
            try:
                found, problems = load_file(path)
            except PluginError as error:
                self._lines("plugin", str(error))
                continue
            self.machines += found
            for machine in found:
                self._remark(machine)
            self.problems += [Found(shown(one.source), *one[1:]) for one in problems]

    def _remark(self, machine: Machine) -> None:
        """What may be wrong with its guards, and what nobody can decide about them."""
        source, definition = shown(machine.source), machine.definition
        for place, message in circles(definition):
            self.warnings.append(Found(source, *place, Code.ENDLESS, message))
        for place, message in remarks(definition):
            self.notes.append(Found(source, *place, "guard", message))

    def _bind(self, settings: Settings) -> None:
        files = [Path(machine.source) for machine in self.machines]
        try:
            found = discover(files, settings.plugins, settings.root)
        except PluginError as error:
            self._lines("plugin", str(error))
            return
        for machine in self.machines:
            self._resolve(machine, found)
        try:
            listeners_of(found)
        except PluginError as error:
            self._lines("plugin", str(error))
        names = [machine.name for machine in self.machines]
        if not self.problems:
            self.warnings += [_found("plugin", text) for text in unclaimed(found, names)]

    def _resolve(self, machine: Machine, found: list[Callbacks]) -> None:
        try:
            others = [one for one in self.machines if one.name == machine.name]
            bound = resolve(machine, found, others)
        except PluginError as error:
            self._lines("plugin", str(error))
            return
        self.callbacks += len(bound.callbacks)
        self.tests += len(machine.definition.tests)
        self.problems += [Found(shown(one.source), *one[1:]) for one in failures(bound.machine)]
        self.warnings += [_found("plugin", text) for text in bound.warnings]

    def _rules(self, settings: Settings) -> None:
        """The rules of each topic by itself, so that all problems are found."""
        for name, topic in settings.topics.items():
            self.topics += 1
            try:
                envelopes(settings.model_copy(update={"topics": {name: topic}}))
            except ExpressionError as error:
                self._lines("settings", str(error))

    def _lines(self, code: str, text: str) -> None:
        """A message of several lines is a problem a line; its heading is none."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        several = len(lines) > 1 and lines[0].endswith(":")
        self.problems += [_found(code, line) for line in lines[several:]]


def shown(source: str) -> str:
    """The path of a place as people write it; a place without a file stays as it is."""
    return str(near(Path(source)))


def _place(found: Found) -> tuple[Any, ...]:
    source, line, column, *said = found
    return source is None, source or "", line or 0, column or 0, said


def _files(named: list[Path]) -> list[Path]:
    """
    The files that the command names, folders looked into.

    Raises:
        ConfigurationError: a folder has no machine in YAML.
    """
    files: list[Path] = []
    for path in named:
        found = files_at(path)
        if not found:
            raise ConfigurationError(
                f"{path} has no machine: no file in it ends in .yaml or .yml; name a module of Python"
            )
        files += found
    return each_once(files)


def _found(code: str, text: str) -> Found:
    place = _PLACE.fullmatch(text)
    if place is None:
        return Found(None, None, None, code, text)
    column = place["column"]
    where = shown(place["source"]), int(place["line"]), None if column is None else int(column)
    return Found(*where, code, place["message"])


def check(
    machines: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Check only these machines, or all in a folder, and their plugins, or with --log this "
            "log. Default: the settings and all that they name.",
            show_default=False,
        ),
    ] = None,
    *,
    explain: Annotated[
        str | None,
        typer.Option(metavar="CODE", help="Say what a problem's code means, with an example."),
    ] = None,
    form: Annotated[
        Form | None,
        choice(
            Form,
            "--format",
            about="How to say what is found: text, json, sarif (for code hosts and editors), or "
            "github (annotations of GitHub Actions).",
        ),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Say as well what could not be decided about guards."),
    ] = False,
    log: Annotated[
        bool,
        typer.Option(
            "--log",
            help="Check the log instead: its file, and that all in it can be read and adds up.",
        ),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check settings, machines and plugins: every problem, with file, line and column."""
    form = form or (Form.JSON if as_json else Form.TEXT)
    output, found = Output(as_json=form in {Form.JSON, Form.SARIF}), _Check()
    if explain is not None:
        _explain(output, explain)
        return
    if log:
        if len(machines or []) > 1:
            raise typer.BadParameter(
                "--log checks one log: name one file, or none for the settings'"
            )
        check_log(output, Where(config, machines[0] if machines else None))
        return
    found.all(Where(config, None), machines or [])
    found.sort()
    if not verbose:
        found.notes.clear()
    match form:
        case Form.JSON:
            output.json(_answer(found))
        case Form.SARIF:
            output.json(sarif(found.problems, found.warnings, found.notes))
        case Form.GITHUB:
            _annotate(output, found)
        case Form.TEXT:
            _print(output, found)
    if found.problems:
        raise typer.Exit(Exit.NOTHING)


def _annotate(output: Output, found: _Check) -> None:
    levels = (("error", found.problems), ("warning", found.warnings), ("notice", found.notes))
    for level, some in levels:
        for one in some:
            output.say(github(level, one))


def _explain(output: Output, text: str) -> None:
    if text.upper() not in set(Code):
        known = ", ".join(Code)
        raise typer.BadParameter(f"{text!r} is no code of a problem; they are {known}")
    code = Code(text.upper())
    if output.as_json:
        output.json({"code": code, **EXPLANATIONS[code]._asdict()})
    else:
        output.say(explained_plainly(code))


def _answer(found: _Check) -> dict[str, Any]:
    return {
        "ok": not found.problems,
        "machines": [machine.name for machine in found.machines],
        "problems": [problem._asdict() for problem in found.problems],
        "warnings": [warning._asdict() for warning in found.warnings],
        **({"notes": [note._asdict() for note in found.notes]} if found.notes else {}),
    }


def _print(output: Output, found: _Check) -> None:
    for note in found.notes:
        output.say(f"note: {note}")
    for warning in found.warnings:
        output.say(f"warning: {warning}", style="yellow")
    for problem in found.problems:
        output.say(str(problem), style="red")
    if found.problems:
        output.say(f"{many(len(found.problems), 'problem')} found")
        return
    output.say(
        f"ok: {many(len(found.machines), 'machine')}, {many(found.callbacks, 'callback')}, "
        f"{many(found.topics, 'topic')}" + (f", {many(found.tests, 'test')}" if found.tests else "")
    )
