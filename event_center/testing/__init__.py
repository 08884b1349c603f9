"""
The public test kit: `drive` for machines, `TestCenter` for plugins, `simulate` for faults, and the audit.

`drive` moves one workflow by pure steps; a `TestCenter` is the real engine in memory, under virtual
time; the audit finds out whether a log kept the promises. What is listed in `__all__` is the public
interface.
"""

from __future__ import annotations

from event_center.testing.audit import find_violations
from event_center.testing.audit_evidence import Evidence, KeptCut, Promise, Started, Violation
from event_center.testing.audit_sqlite import read_sqlite
from event_center.testing.center import TestCenter
from event_center.testing.driving import Decided, Driver, drive
from event_center.testing.fakes import Call
from event_center.testing.looking import Sent
from event_center.testing.simulating import Simulated, Weakness, simulate
from event_center.testing.simulation_calls import happened
from event_center.testing.simulation_findings import Sort

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
