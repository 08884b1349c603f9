"""What is public: the lists that other programs may rely on, name by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import event_center
from event_center import testing

PUBLIC = [
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
    "UnknownTopic",
    "callbacks",
    "load",
    "parse",
    "with_callbacks",
]

TESTING = [
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


def test_what_is_public() -> None:
    """Nothing becomes public, or stops to be, without this list saying so."""
    assert event_center.__all__ == PUBLIC
    assert testing.__all__ == TESTING


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_can_be_imported(name: str) -> None:
    """What is listed is there, also what is imported only when it is asked for."""
    value = getattr(event_center, name)
    assert getattr(value, "__name__", repr(value)) == name


@pytest.mark.parametrize("name", TESTING)
def test_each_name_of_the_test_kit_can_be_imported(name: str) -> None:
    """What the test kit lists is there."""
    assert getattr(testing, name).__name__ == name


def test_the_package_alone_is_light() -> None:
    """`import event_center` imports no Kafka client, no pydantic and no typer."""
    program = (
        "import sys, event_center\n"
        "print(sorted({'aiokafka', 'pydantic', 'typer'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
