"""
Which tests stay together when `-n` spreads them over processes, and which begin first.

A plugin of pytest, which `tests/conftest.py` loads. Tests that share what is dear to make stay together;
all others go one by one to whichever process is free. The groups begin, and the longest tests follow them,
so that the end does not wait for one of these alone. The rest comes in its random order.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    "tests/bench/test_bench.py": "the broker that is measured",
    "tests/docs/test_facts.py": "the names of the package, once read",
    "tests/docs/test_log_events.py": "the trees of all files, once parsed",
    "tests/docs/test_shape.py": "the numbers, once counted",
    "tests/kafka/test_access.py": "the secured broker",
    "tests/kafka/test_commands.py": "one project on two logs",
    "tests/kafka/test_coordinator.py": "three nodes",
    "tests/kafka/test_permissions.py": "the secured broker",
    "tests/test_architecture.py": "the trees of all files, once parsed",
}
"""What the tests of a file share; nobody else in another process may change it meanwhile."""

LONG = (
    "tests/kafka/test_gone.py::test_a_minute_without_a_broker",
    "tests/kafka/test_million.py::test_a_million_events_once",
    "tests/chaos/test_chaos.py::test_a_short_run",
    "tests/kafka/test_lives.py::test_killed_at_every_await",
    "tests/kafka/test_lives.py::test_killed_at_every_step",
    "tests/kafka/test_migrating.py::test_to_kafka_and_back",
    "tests/kafka/test_migrating.py::test_killed_on_the_way",
    "tests/kafka/test_scenarios.py::test_five_kills_change_nothing",
    "tests/kafka/test_scenarios.py::test_the_demo_itself",
    "tests/kafka/test_rolling.py::test_every_process_in_turn",
    "tests/kafka/test_at_least_once.py::test_killed_between_the_steps",
    "tests/kafka/test_faults.py::test_a_broker_that_is_silent_and_one_that_is_gone",
    "tests/kafka/test_restart.py::test_a_broker_that_was_killed",
    "tests/kafka/test_audit.py::test_everything_is_there_once",
    "tests/soak/test_soaking.py::test_a_short_soak",
    "tests/crash/test_kill.py::test_killed_anywhere",
)
"""Those that take the longest, mostly because they wait; `scripts/check` prints what took long in a run."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # it has no types of its own
    """Keeps tests that share something in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Whatever `--dist` says: the processes get their tests from here."""
    return Together(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In each process of a run that has several, the long tests come first, and else nothing changes."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not item.nodeid.startswith(LONG))
