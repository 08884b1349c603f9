"""No engine is left out of the contract unseen: what is counted, and what fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.log import counting
from tests.log.counting import ENGINES, passed, pytest_sessionfinish

AT = "tests/log/contract/test_cut.py::TestCut::test_all_of_it"
ALL = [f"{AT}[{engine}]" for engine in ENGINES]


def reports(*nodes: str) -> list[Any]:
    """Reports of these tests."""
    return [SimpleNamespace(nodeid=node) for node in nodes]


def finished(stats: dict[str, list[Any]]) -> int:
    """The exit status of a session with these reports, of which none has failed."""
    plugins = SimpleNamespace(get_plugin=lambda name: SimpleNamespace(stats=stats))
    session: Any = SimpleNamespace(
        config=SimpleNamespace(pluginmanager=plugins), testsfailed=0, exitstatus=0
    )
    pytest_sessionfinish(session)
    return int(session.exitstatus)


def test_each_engine_is_counted() -> None:
    """Tests of the contract count for their engine, with further parameters too; others do not."""
    more = [f"{AT}[{engine}-7]" for engine in ENGINES]
    stats = {"passed": reports(*ALL, *more, "tests/log/test_memory.py::test_other[memory]")}
    assert passed(stats) == dict.fromkeys(ENGINES, 2)
    assert finished(stats) == 0


@pytest.mark.parametrize("left_out", range(len(ENGINES)))
def test_an_engine_that_was_left_out(left_out: int) -> None:
    """An engine that has passed fewer tests than another fails the session."""
    kept = [*ALL[:left_out], *ALL[left_out + 1 :]]
    assert finished({"passed": reports(*kept)}) == pytest.ExitCode.TESTS_FAILED


def test_an_engine_that_is_absent() -> None:
    """An engine that can not be had here is skipped, and not compared with the others."""
    assert finished({"passed": reports(*ALL[1:]), "skipped": reports(ALL[0])}) == 0


def test_the_counting_is_switched_on(pytestconfig: pytest.Config) -> None:
    """The plugin is one of this session's."""
    assert pytestconfig.pluginmanager.is_registered(counting)
