"""
Brokers on this machine, to try things out:

    scripts/kafka start [--nodes 1|3] [--sasl]     # prints the settings to paste
    scripts/kafka status
    scripts/kafka stop                             # ends what was started, and removes its data

KAFKA_PORT picks the port of the first node, else a free one is taken. KAFKA_BOOTSTRAP names a cluster
that runs already: then nothing is started or stopped. Java 17 and, the first time, Maven are needed; on
Debian and Ubuntu root gets them installed. KAFKA_JARS names another folder with the jars.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from scripts.broker import acls
from scripts.broker.cluster import SETTINGS, Cluster
from scripts.broker.java import NoBroker
from scripts.broker.security import CLIENT, PLAIN, PLAIN_PASSWORD

HERE = Path(__file__).resolve().parents[2] / ".kafka"
"""Where the one cluster lies that this command runs."""


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        "scripts/kafka", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["start", "status", "stop"])
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1)
    parser.add_argument("--sasl", action="store_true", help="TLS, users and access control")
    chosen = parser.parse_args()
    named = os.environ.get("KAFKA_BOOTSTRAP")
    if named:
        print(SETTINGS.format(bootstrap=named, copies=1), end="")
        return 0
    settings = HERE / "settings.toml"
    match chosen.command:
        case "start":
            return _start(chosen.nodes, sasl=chosen.sasl)
        case "status":
            running = settings.exists() and Cluster(HERE).running
            print(settings.read_text().rstrip() if running else "no broker runs here")
            return 0 if running else 1
        case _:
            Cluster(HERE).remove()
            return 0


def _start(nodes: int, *, sasl: bool) -> int:
    if Cluster(HERE).running:
        print("kafka: it runs already; `scripts/kafka stop` ends it", file=sys.stderr)
        print((HERE / "settings.toml").read_text(), end="")
        return 0
    Cluster(HERE).remove()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = Cluster(HERE, nodes=nodes, secured=sasl, port=int(os.environ.get("KAFKA_PORT", "0")))
    cluster.start()
    try:
        for user in (CLIENT, PLAIN) if sasl else ():
            asyncio.run(acls.give(cluster.plain, user, acls.everything()))
    except BaseException:
        cluster.remove()
        raise
    print(cluster.settings(), end="")
    if sasl:
        print(f'# PLAIN: "{PLAIN}", "{PLAIN_PASSWORD}"; by client certificate: {cluster.mutual}')
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NoBroker, OSError) as error:  # a folder that is somebody else's, a full disk
        sys.exit(f"kafka: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
