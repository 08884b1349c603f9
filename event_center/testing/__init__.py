"""
The public test kit: `drive` for machines, `TestCenter` for plugins, `simulate` for faults, and the audit.

`drive` moves one workflow by pure steps; a `TestCenter` is the real engine in memory, under virtual
time; the audit finds out whether a log kept the promises. What is listed in `__all__` is the public
interface; it is imported only when it is asked for, because pytest imports this room at each of its
starts (`pytest_plugin`) and the kit brings the whole engine. `__init__.pyi` has the same names for type
checkers.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "Call",
    "Decided",
    "Driver",
    "Evidence",
    "KeptCut",
    "Promise",
    "Sent",
    "Simulated",
    "Sort",
    "Started",
    "TestCenter",
    "Violation",
    "Weakness",
    "drive",
    "find_violations",
    "happened",
    "read_sqlite",
    "simulate",
]

_LATER = {
    "Call": "event_center.testing.fakes",
    "Decided": "event_center.testing.driving",
    "Driver": "event_center.testing.driving",
    "Evidence": "event_center.testing.audit_evidence",
    "KeptCut": "event_center.testing.audit_evidence",
    "Promise": "event_center.testing.audit_evidence",
    "Sent": "event_center.testing.looking",
    "Simulated": "event_center.testing.simulating",
    "Sort": "event_center.testing.simulation_findings",
    "Started": "event_center.testing.audit_evidence",
    "TestCenter": "event_center.testing.center",
    "Violation": "event_center.testing.audit_evidence",
    "Weakness": "event_center.testing.simulating",
    "drive": "event_center.testing.driving",
    "find_violations": "event_center.testing.audit",
    "happened": "event_center.testing.simulation_calls",
    "read_sqlite": "event_center.testing.audit_sqlite",
    "simulate": "event_center.testing.simulating",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for."""
    if name not in _LATER:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_LATER[name]), name)
