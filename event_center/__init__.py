"""
An event-driven workflow state center: events come in, state machines move, callbacks are awaited.

What is listed in `__all__` is the public interface. `Machine`, `load` and what plugins need are
imported at once; the center and the publishers only when they are asked for, because they bring the
settings and a log with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from event_center.errors import (
    ConfigurationError,
    DefinitionError,
    EventCenterError,
    EventRefused,
    LogError,
    LogInUse,
    LogUnavailable,
    NeverReached,
    NotCommitted,
    NotReached,
    PermanentError,
    PluginError,
    RecordChanged,
    RetryLater,
    Unknown,
    UnknownState,
    UnknownTopic,
)
from event_center.machine import (
    AnyState,
    Blueprint,
    Compound,
    Do,
    Job,
    Parallel,
    State,
)
from event_center.model import Event
from event_center.plugins.callbacks import DONE, Callbacks, callbacks
from event_center.plugins.context import Context
from event_center.plugins.job import JobContext
from event_center.plugins.listening import Notice
from event_center.plugins.registry import Bound, with_callbacks
from event_center.plugins.standalone import StandaloneMachine as Machine
from event_center.plugins.standalone import load, parse

__all__ = [
    "DONE",
    "AnyState",
    "Blueprint",
    "Bound",
    "Callbacks",
    "Center",
    "Compound",
    "ConfigurationError",
    "Context",
    "DefinitionError",
    "Do",
    "Event",
    "EventCenterError",
    "EventRefused",
    "Job",
    "JobContext",
    "LogError",
    "LogInUse",
    "LogUnavailable",
    "Machine",
    "NeverReached",
    "NotCommitted",
    "NotReached",
    "Notice",
    "Parallel",
    "PermanentError",
    "PluginError",
    "Publisher",
    "RecordChanged",
    "RetryLater",
    "State",
    "SyncPublisher",
    "Unknown",
    "UnknownState",
    "UnknownTopic",
    "callbacks",
    "load",
    "parse",
    "with_callbacks",
]

_LATER = {
    "Center": "event_center.app.center",
    "Publisher": "event_center.app.publishing",
    "SyncPublisher": "event_center.app.publishing",
}


def __getattr__(name: str) -> Any:
    """Import what is public but heavy when it is first asked for."""
    if name not in _LATER:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_LATER[name]), name)
