"""
The public test kit: the audit, which finds out whether a log kept the promises.

What is listed in `__all__` is the public interface.
"""

from __future__ import annotations

from event_center.testing.audit import find_violations
from event_center.testing.audit_evidence import Evidence, KeptCut, Promise, Started, Violation
from event_center.testing.audit_sqlite import read_sqlite

__all__ = [
    "Evidence",
    "KeptCut",
    "Promise",
    "Started",
    "Violation",
    "find_violations",
    "read_sqlite",
]
