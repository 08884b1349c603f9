"""
All that processes of tests import: the one that `tests/forked.py` forks them from begins here.

What is there by then is never looked at by a garbage collector again, so that its memory stays shared.
"""

from __future__ import annotations

import gc

from event_center.cli import main
from tests.crash import daemon

__all__ = ["daemon", "main"]

gc.freeze()
