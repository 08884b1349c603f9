"""
The centers that the test at hand has opened: the report of a failed test says what happened in them.

`TestCenter` notes itself here; `pytest_plugin` reads it, which pytest imports at each of its starts:
nothing of the engine is imported here.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

LAST_OPENED = 8
"""Centers that the report of a failed test may tell of: no test has more."""


class Telling(Protocol):
    """What the report wants of a center."""

    def told(self) -> str:
        """What happened in it, for a person."""


opened: deque[Telling] = deque(maxlen=LAST_OPENED)
"""The last centers of this process."""
