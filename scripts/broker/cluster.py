"""
Several brokers that are one cluster, plain or secured.

Promises: three nodes keep each record three times and go on when one is lost; nodes start at once; a
start that fails or is interrupted leaves nothing behind. Tests use it, and `scripts/kafka`.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.broker.node import Broker, prepare
from scripts.broker.plan import Plan, free_ports
from scripts.broker.security import CLIENT, MECHANISMS, PASSWORD, Security

SETTINGS = """[log]
kind = "kafka"

[log.kafka]
bootstrap = "{bootstrap}"
replication_factor = {copies}
"""
SECURED = """
[log.kafka.tls]
enabled = true
ca_file = "{authority}"

[log.kafka.sasl]
mechanism = "{mechanism}"
username = "{client}"
password = "{password}"
"""


class Cluster:
    """Brokers in one folder; everything listens on loopback only."""

    def __init__(
        self, folder: Path, *, nodes: int = 1, secured: bool = False, port: int = 0
    ) -> None:
        self.folder = folder
        self.security = Security(folder / "security") if secured else None
        # What lies there already is run again as it was made.
        former = len(list(folder.glob("node-*")))
        self._ports = [free_ports(port if n == 0 else 0) for n in range(former or nodes)]
        self._plan = Plan(nodes=self._ports, security=self.security)
        self.nodes = [
            Broker(folder / f"node-{n}", plan=self._plan, number=n)
            for n in range(1, len(self._ports) + 1)
        ]

    @property
    def running(self) -> bool:
        """Whether any node runs."""
        return any(node.pid is not None for node in self.nodes)

    @property
    def plain(self) -> str:
        """Where a super user is let in without a word; the only address of a plain cluster."""
        return ",".join(f"127.0.0.1:{ports.plain}" for ports in self._ports)

    @property
    def secure(self) -> str:
        """Where TLS and a password or token are asked for."""
        return ",".join(f"localhost:{ports.secure}" for ports in self._ports)

    @property
    def mutual(self) -> str:
        """Where TLS and a client's certificate are asked for."""
        return ",".join(f"localhost:{ports.mutual}" for ports in self._ports)

    def start(self) -> None:
        """Start every node, and wait until all know each other."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            prepare(self.folder)
            if self.security is not None:
                self.security.make()
            with ThreadPoolExecutor(len(self.nodes)) as pool:
                list(pool.map(Broker.launch, self.nodes))
            for node in self.nodes:
                node.wait(len(self.nodes))
        except BaseException:
            self.remove()
            raise
        (self.folder / "settings.toml").write_text(self.settings())

    def settings(self) -> str:
        """What to write into a settings file to use this cluster."""
        copies = len(self.nodes)
        bootstrap = self.plain if self.security is None else self.secure
        told = SETTINGS.format(bootstrap=bootstrap, copies=copies)
        if self.security is not None:
            told += SECURED.format(
                authority=self.security.authority,
                mechanism=MECHANISMS[-2],
                client=CLIENT,
                password=PASSWORD,
            )
        return told

    def remove(self) -> None:
        """End every node and remove all data."""
        for node in self.nodes:
            node.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
