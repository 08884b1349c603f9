# The test kit as type checkers see it: `__init__.py` finds the same names when they are asked for.
from event_center.testing.audit import find_violations as find_violations
from event_center.testing.audit_evidence import Evidence as Evidence
from event_center.testing.audit_evidence import KeptCut as KeptCut
from event_center.testing.audit_evidence import Promise as Promise
from event_center.testing.audit_evidence import Started as Started
from event_center.testing.audit_evidence import Violation as Violation
from event_center.testing.audit_sqlite import read_sqlite as read_sqlite
from event_center.testing.center import TestCenter as TestCenter
from event_center.testing.driving import Decided as Decided
from event_center.testing.driving import Driver as Driver
from event_center.testing.driving import drive as drive
from event_center.testing.fakes import Call as Call
from event_center.testing.looking import Sent as Sent
from event_center.testing.simulating import Simulated as Simulated
from event_center.testing.simulating import Weakness as Weakness
from event_center.testing.simulating import simulate as simulate
from event_center.testing.simulation_calls import happened as happened
from event_center.testing.simulation_findings import Sort as Sort

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
