"""
Which tests stay together when `-n` spreads them over processes: those that share what is dear to make.

A plugin of pytest, which `tests/conftest.py` loads. All other tests go one by one to whichever process is
free. The largest groups begin first, so that the end does not wait for them.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = {
    "tests/bench/test_bench.py": "the broker that is measured",
    "tests/docs/test_facts.py": "the names of the package, once read",
    "tests/docs/test_shape.py": "the numbers, once counted",
    "tests/kafka/test_access.py": "the secured broker",
    "tests/kafka/test_commands.py": "one project on two logs",
    "tests/kafka/test_coordinator.py": "three nodes",
    "tests/kafka/test_permissions.py": "the secured broker",
    "tests/test_architecture.py": "the trees of all files, once parsed",
}
"""What the tests of a file share; nobody else in another process may change it meanwhile."""


class Together(LoadScopeScheduling):  # type: ignore[misc]  # it has no types of its own
    """Keeps tests that share something in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Whatever `--dist` says: the processes get their tests from here."""
    return Together(config, log)
