"""
The public test kit: the audit, which finds out whether a log kept the promises; and the simulation,
which plays a project's machines and plugins under faults.

What is listed in `__all__` is the public interface.
"""

from __future__ import annotations

from event_center.testing.audit import find_violations
from event_center.testing.audit_evidence import Evidence, KeptCut, Promise, Started, Violation
from event_center.testing.audit_sqlite import read_sqlite
from event_center.testing.simulating import Finding, Report, simulate
from event_center.testing.simulation_calls import happened
from event_center.testing.simulation_findings import Sort

__all__ = [
    "Evidence",
    "Finding",
    "KeptCut",
    "Promise",
    "Report",
    "Sort",
    "Started",
    "Violation",
    "find_violations",
    "happened",
    "read_sqlite",
    "simulate",
]
