"""
The memory of large buffers that were freed: it is given back to the system.

A takeover reads its entries through buffers of about a megabyte. The C library of most Linux systems
(glibc) keeps what was freed of them for later, between smaller things that stay: nearly as much as all
idle workflows take. A lease asks for it back after a restore. Promises: no event waits for it.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

LATER_S = 1.0
"""How long after a restore: its takeover has ended by then, and nothing holds a buffer any more."""


def _trim() -> Callable[[int], int] | None:
    """The function of glibc; other libraries have none, and keep less."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


TRIM = _trim()


def give_back_later() -> None:
    """Give back what is free, in a moment and in a thread: it takes up to some 20 ms."""
    if TRIM is not None:
        asyncio.get_running_loop().call_later(LATER_S, _give_back, TRIM)


def _give_back(trim: Callable[[int], int]) -> None:
    _ = asyncio.get_running_loop().run_in_executor(None, trim, 0)
