"""Tests of the engine run under virtual time, unless they are marked `real_time`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from event_center.testing.virtual_time import VirtualLoop


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "real_time: the test waits for threads, in real time")


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of each test."""
    if item.get_closest_marker("real_time"):
        return {"real": asyncio.SelectorEventLoop}
    return {"virtual": VirtualLoop}
