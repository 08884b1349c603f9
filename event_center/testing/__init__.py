"""
<<<<<<< HEAD
The public test kit: `drive` for machines, `TestCenter` for plugins, the audit for logs.
=======
The public test kit: the audit, which finds out whether a log kept the promises; and the simulation,
which plays a project's machines and plugins under faults.
>>>>>>> sim

`drive` moves one workflow by pure steps; a `TestCenter` is the real engine in memory, under virtual
time; the audit finds out whether a log kept the promises. What is listed in `__all__` is the public
interface.
"""

from __future__ import annotations

from event_center.testing.audit import find_violations
from event_center.testing.audit_evidence import Evidence, KeptCut, Promise, Started, Violation
from event_center.testing.audit_sqlite import read_sqlite
<<<<<<< HEAD
from event_center.testing.center import TestCenter
from event_center.testing.driving import Decided, Driver, drive
from event_center.testing.fakes import Called
from event_center.testing.looking import Sent
=======
from event_center.testing.simulating import Finding, Report, simulate
from event_center.testing.simulation_calls import happened
from event_center.testing.simulation_findings import Sort
>>>>>>> sim

__all__ = [
    "Called",
    "Decided",
    "Driver",
    "Evidence",
    "Finding",
    "KeptCut",
    "Promise",
<<<<<<< HEAD
    "Sent",
=======
    "Report",
    "Sort",
>>>>>>> sim
    "Started",
    "TestCenter",
    "Violation",
    "drive",
    "find_violations",
    "happened",
    "read_sqlite",
    "simulate",
]
