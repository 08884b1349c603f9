"""What is public: the lists that other programs may rely on, name by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

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
    "UnknownState",
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

WITHIN = {"Machine": "StandaloneMachine"}
"""What has another name within, beside the `Machine` of the machine room that it is made of."""


def test_what_is_public() -> None:
    """Nothing becomes public, or stops to be, without this list saying so."""
    assert event_center.__all__ == PUBLIC
    assert testing.__all__ == TESTING


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_can_be_imported(name: str) -> None:
    """What is listed is there, also what is imported only when it is asked for."""
    value = getattr(event_center, name)
    assert getattr(value, "__name__", repr(value)) == WITHIN.get(name, name)


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


def test_the_plugin_of_pytest_is_light() -> None:
    """Each start of pytest imports the plugin: no engine, no log and no settings come with it."""
    program = (
        "import sys, event_center.testing.pytest_plugin\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('event_center.')}\n"
        "print(sorted(rooms & {'app', 'client', 'engine', 'log'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [event_center, testing], ids=lambda one: one.__name__)
def test_type_checkers_see_the_names_as_they_are(package: ModuleType) -> None:
    """The stub beside a package imports each public name from the module that the package finds it in."""
    stub = Path(str(package.__file__)).with_suffix(".pyi").read_text(encoding="utf-8")
    seen = {
        name.asname: (str(node.module), name.name)
        for node in ast.walk(ast.parse(stub))
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert sorted(map(str, seen)) == sorted(package.__all__)
    for public, (module, name) in seen.items():
        assert getattr(import_module(module), name) is getattr(package, str(public))
