"""
What all tests share: no event loop but those that pytest-asyncio opens and closes.

A test under virtual time carries `@pytest.mark.looptime`. How many examples a property gets is said here,
once: a few at the desk, more where the variable CI is set, many with `--hypothesis-profile thorough`.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.kafka.broker", "tests.log.counting", "tests.spreading"]

settings.register_profile("desk", max_examples=30, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, print_blob=True)
settings.register_profile("thorough", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_configure() -> None:
    """
    Say that there is no event loop by default.

    looptime asks for the current loop in plain tests too, and Python before 3.14 would make one for
    the asking, which nobody closes.
    """
    asyncio.set_event_loop(None)


SLOW = (
    "app/test_supervisor.py",
    "bench/",
    "chaos/",
    "cli/",
    "crash/",
    "docs/test_documents.py",
    "kafka/",
    "log/test_sqlite_processes.py",
    "machine/test_peer.py",
    "plugins/test_stubs.py::test_the_types_find_a_misspelt_event",
    "scenarios/",
    "soak/",
    "testing/test_pytest_plugin.py",
)
"""Where tests start processes and brokers, or play hundreds of machines."""
UNIT = ("machine/", "plugins/", "wire/")
"""Where they look at one module at a time, and no center runs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long, so that it can be left out, and what is quickest."""
    for item in items:
        where = item.nodeid.removeprefix("tests/")
        if where.startswith(SLOW) or "[kafka" in where:
            item.add_marker("slow")
        elif where.startswith(UNIT):
            item.add_marker("unit")


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """
    Whatever has set logging up in this process, a command or a fixture: each test begins as ever.

    So does the garbage collector, of which a daemon makes seldom use: gigabytes would be left behind.
    """
    structlog.reset_defaults()
    threshold = gc.get_threshold()
    yield
    structlog.reset_defaults()
    gc.set_threshold(*threshold)
