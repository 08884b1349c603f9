"""
The Kafka broker of a test run: one for all tests, started when the first of them needs it.

KAFKA_BOOTSTRAP names a cluster that runs already. Where no broker can be had, the tests that need one
are skipped, with the reason; in continuous integration (CI=true) that is a failure.
"""

from __future__ import annotations

import atexit
import functools
import os
import tempfile
from pathlib import Path

import pytest

from scripts.broker import Broker, NoBroker


def bootstrap() -> str:
    """The address of the broker; skips the test if there is none."""
    found = _found()
    if isinstance(found, str):
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"no Kafka broker: {found}")
    pytest.skip(f"no Kafka broker: {found}")


@functools.cache
def _found() -> str | NoBroker:
    named = os.environ.get("KAFKA_BOOTSTRAP")
    if named:
        return named
    broker = Broker(Path(tempfile.mkdtemp(prefix="event-center-kafka-")) / "broker")
    atexit.register(_remove, broker)
    try:
        broker.start()
    except NoBroker as error:
        return error
    return broker.bootstrap


def _remove(broker: Broker) -> None:
    broker.remove()
    broker.folder.parent.rmdir()
