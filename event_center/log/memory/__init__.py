"""The log in memory: the promises of the real ones, and faults on demand, for tests."""

from __future__ import annotations

from event_center.log.memory.broker import MAX_EVENT_BYTES, KeptCut, MemoryBroker
from event_center.log.memory.faults import Ending, Faults
from event_center.log.memory.log import MemoryLog

__all__ = [
    "MAX_EVENT_BYTES",
    "Ending",
    "Faults",
    "KeptCut",
    "MemoryBroker",
    "MemoryLog",
]
