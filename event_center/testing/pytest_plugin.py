"""
The plugin of pytest: tests of machines, the project's center for tests, and what failed tests tell.

pytest finds it by itself where this package is installed. `pytest machines` collects the YAML files
there that have a machine with tests, one test a case; its guards are those of the plugin beside the
file. What a case comes to is `machine.trial`'s affair. The report of a failed test has a section with
what happened in each `TestCenter` that it opened. It is imported at each start of pytest, also for projects
that only have this package among others: the test kit is not, until a test asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from event_center import testing
from event_center.errors import EventCenterError
from event_center.machine import Machine, load
from event_center.machine.cases import Case
from event_center.machine.trial import failed
from event_center.plugins.discovery import discover
from event_center.plugins.registry import resolve
from event_center.testing.opened import opened

YAML = frozenset({".yaml", ".yml"})
_TESTED = re.compile(rb"^machine:.*^tests:", re.MULTILINE | re.DOTALL)
"""What a file begins with, and has, that is worth being read as a machine."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a machine that has tests; called by pytest for every file that it looks at."""
    if file_path.suffix in YAML and _TESTED.search(file_path.read_bytes()):
        return _MachineFile.from_parent(parent, path=file_path)
    return None


@pytest.fixture
def project_center(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> type[testing.TestCenter]:
    """
    Make a center of the project's own settings, wherever pytest was started: `TestCenter` to be entered.

    It takes what `TestCenter` takes: `async with project_center(fakes={...}) as center: ...`.
    """
    monkeypatch.chdir(request.config.rootpath)
    return testing.TestCenter


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """No test tells of the centers of another; called by pytest around each test."""
    opened.clear()
    try:
        return (yield)
    finally:
        opened.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a failed test tell what happened in its centers; called by pytest for each phase of a test."""
    report = yield
    if report.when == "call" and report.failed:
        report.sections += [("event center", one.told()) for one in opened if one.told()]
    return report


class _MachineFile(pytest.File):
    """One machine; its items are its cases."""

    def collect(self) -> Iterator[pytest.Item]:
        """
        The cases, each with the machine and its guards.

        Raises:
            pytest.Collector.CollectError: the machine or its plugin has problems.
        """
        try:
            machine = load(self.path)
            bound = resolve(machine, discover([self.path])).machine if machine.guards else machine
        except EventCenterError as error:
            # Problems are sentences: a traceback says nothing more.
            raise self.CollectError(str(error)) from error
        for case in bound.definition.tests:
            yield _CaseItem.from_parent(self, name=case.name, machine=bound, case=case)


class _CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, machine: Machine, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._machine = machine
        self._case = case

    def runtest(self) -> None:
        """
        Try the case.

        Raises:
            pytest.fail.Exception: it came out otherwise.
        """
        problems = failed(self._machine, self._case)
        if problems:
            pytest.fail("\n".join(str(problem) for problem in problems), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case stands."""
        return self.path, self._case.place.line - 1, f"{self._machine.name}: {self._case.name}"
