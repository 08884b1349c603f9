"""A broker that is gone for a minute, longer than each timeout: the center waits, and goes on by itself."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from scripts.broker import Broker
from tests.bench.broker import process_cpu_s
from tests.kafka.audit import read_cluster, violations
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S

ORDERS = 100
GONE_S = 60.0
IDLE = 0.05
"""What a center may take of a core while it waits: it tries again and again, later each time."""


def test_a_minute_without_a_broker(broker: Broker, tmp_path: Path) -> None:
    """P8: killed in the middle of the work, back after a minute: all is decided, and is there once."""
    project = Project(tmp_path, broker.bootstrap, session="10s")
    try:
        project.publish(0, ORDERS)
        daemon = project.daemon()
        project.until(lambda stats: stats["transitions"] > 0)
        broker.kill()
        before_s = process_cpu_s(daemon.pid)
        time.sleep(GONE_S)  # its clients measure real time
        waited_s = process_cpu_s(daemon.pid) - before_s
        assert daemon.poll() is None, project.said()
        broker.start()
        back = time.monotonic()
        project.publish(ORDERS, 2 * ORDERS)
        done = project.until(lambda stats: stats["transitions"] == 4 * ORDERS)
        print(
            f"decided {time.monotonic() - back:.1f} s after its return; waited with {waited_s:.1f} s"
        )
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0, project.said()
        assert done["events"]["applied"] == done["events"]["read"] == 2 * ORDERS
        assert done["workflows"]["by_state"]["order"] == {"completed": 2 * ORDERS}
        assert violations(read_cluster(broker.bootstrap, project.prefix), ["orders"]) == []
        assert waited_s < IDLE * GONE_S
    finally:
        project.end()
