"""
Counts how many tests of the contract each engine has passed: no engine may be left out of some.

A plugin of pytest, which `tests/conftest.py` loads. It reads the reports, because with `-n` the tests
run in other processes than the one that counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

ENGINES = ("kafka", "memory", "sqlite")
CONTRACT = "tests/log/contract/"


def passed(stats: Mapping[str, Iterable[Any]]) -> dict[str, int]:
    """How many tests of the contract each engine has passed; one that can not be had is left out."""
    counts: Counter[str] = Counter()
    for report in _of_contract(stats, "passed"):
        counts[_engine(report)] += 1
    absent = {_engine(report) for report in _of_contract(stats, "skipped")}
    return {engine: counts[engine] for engine in ENGINES if engine not in absent}


def _of_contract(stats: Mapping[str, Iterable[Any]], outcome: str) -> list[Any]:
    found = stats.get(outcome, ())
    return [one for one in found if one.nodeid.startswith(CONTRACT) and _engine(one) in ENGINES]


def _engine(report: pytest.TestReport) -> str:
    return report.nodeid.rpartition("[")[2].rstrip("]").partition("-")[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests each engine has passed."""
    counts = passed(terminalreporter.stats)
    if any(counts.values()):
        told = ", ".join(f"{engine} {count} tests" for engine, count in counts.items())
        terminalreporter.write_line(f"contract: {told}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if an engine has passed fewer tests than another."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or session.testsfailed:
        return
    if len(set(passed(terminal.stats).values())) > 1:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
