"""
The memory of large buffers that were freed: it is given back to the system.

A takeover reads its entries through buffers of about a megabyte. The C library of most Linux systems
(glibc) keeps what was freed of them for later, between smaller things that stay: nearly as much as all
idle workflows take. A lease says after a restore what it has read, and enough of it is worth asking for.
Promises: however many shards a process restores, one wish is under way, and it waits for the last of them.
Whoever needs memory meanwhile waits for it, the event loop too: the C library locks its heap for as long as
it takes, some 20 ms for 200 MB. It is asked in a thread, so that what needs none goes on.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable

LATER_S = 1.0
"""How long after a restore: its takeover has ended by then, and nothing holds a buffer any more."""
WORTH_BYTES = 4 * 1024**2
"""What restores have read, as it came: less went through a few buffers, and is not worth a stop."""


def _trim() -> Callable[[int], int] | None:
    """The function of glibc; other libraries have none, and keep less."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


TRIM = _trim()


class Heap:
    """What the restores of an open log have left behind; a daemon has one log open."""

    def __init__(self) -> None:
        self._read = 0
        self._later: asyncio.TimerHandle | None = None

    def restored(self, read: int) -> None:
        """A restore has ended that has read so many bytes: with enough of them, all is given back later."""
        self._read += read
        if TRIM is None or self._read < WORTH_BYTES:
            return
        if self._later is not None:
            self._later.cancel()
        loop = asyncio.get_running_loop()
        self._later = loop.call_later(LATER_S, self._give_back, TRIM)

    def _give_back(self, trim: Callable[[int], int]) -> None:
        self._read, self._later = 0, None
        _ = asyncio.get_running_loop().run_in_executor(None, trim, 0)
