"""
The Kafka brokers of a test run, each started when the first test needs it: a plain one, a secured
one, and three nodes.

With `-n` all processes of the run share the plain one. They lie in one folder and end with the run,
however it ends: this is a plugin of pytest, which `tests/conftest.py` loads.
KAFKA_BOOTSTRAP names a cluster that runs already, for the plain one. Where no broker can be had, the
tests that need one are skipped, with the reason; in continuous integration (CI=true) that is a failure.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from scripts.broker import Cluster, NoBroker

FOLDER = "EVENT_CENTER_TEST_BROKERS"
"""The variable that tells all processes of a run where brokers lie."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder, in the process that starts the others."""
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="event-center-kafka-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started: a process that was interrupted has not done it."""
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ[FOLDER])
        for made in folder.glob("*/"):
            Cluster(made).remove()
        shutil.rmtree(folder)


def bootstrap() -> str:
    """The address of the broker; skips the test if there is none."""
    return os.environ.get("KAFKA_BOOTSTRAP") or _shared()


@functools.cache
def _shared() -> str:
    """The address of the plain one: who comes first starts it, and the others wait meanwhile."""
    with (Path(os.environ[FOLDER]) / "shared").open("a+", encoding="ascii") as told:
        fcntl.flock(told, fcntl.LOCK_EX)
        told.seek(0)
        address = told.read()
        if not address:
            address = _had(nodes=1, secured=False).plain
            told.write(address)
        return address


def secured() -> Cluster:
    """One node with TLS, users and access control."""
    return _had(nodes=1, secured=True)


def three_nodes() -> Cluster:
    """Three nodes, which keep each record three times; who ends one starts it again."""
    return _had(nodes=3, secured=False)


def _had(*, nodes: int, secured: bool) -> Cluster:
    found = _started(nodes, secured)
    if isinstance(found, Cluster):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"no Kafka broker: {found}")
    pytest.skip(f"no Kafka broker: {found}")


@functools.cache
def _started(nodes: int, secured: bool) -> Cluster | NoBroker:
    folder = Path(tempfile.mkdtemp(dir=os.environ[FOLDER]))
    cluster = Cluster(folder, nodes=nodes, secured=secured)
    try:
        cluster.start()
    except NoBroker as error:
        return error
    return cluster
