"""
The cases by name, in the order in which they run.

`__main__` runs them as asked; the smoke test runs each with tiny numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.bench import (
    kafka,
    lag,
    limits,
    members,
    memory,
    peers,
    restoring,
    sqlite,
    step,
    stream_peers,
    waiting,
)
from tests.bench.report import Row
from tests.bench.work import Size

CASES: dict[str, Callable[[Size], list[Row]]] = {
    "step": step.run,
    "peers": peers.run,
    "memory": memory.run,
    "sqlite": sqlite.run,
    "waiting": waiting.run,
}

ON_REQUEST: dict[str, Callable[[Size], list[Row]]] = {
    "limits": limits.run,
    "kafka": kafka.run,
    "kafka-lag": lag.run,
    "kafka-restore": restoring.run,
    "kafka-members": members.run,
    "stream-peers": stream_peers.run,
}
"""Cases that run only when named: they take minutes, and all but the first start a Kafka broker."""
