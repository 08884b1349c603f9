"""
What all tests share: no event loop but those that pytest-asyncio opens and closes.

A test under virtual time carries `@pytest.mark.looptime`.
"""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    """
    Say that there is no event loop by default.

    looptime asks for the current loop in plain tests too, and Python before 3.14 would make one for
    the asking, which nobody closes.
    """
    asyncio.set_event_loop(None)
