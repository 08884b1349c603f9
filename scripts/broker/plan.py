"""
What the nodes of a cluster are told: ports, properties, and who may do what.

Promises: every node listens on loopback only. The plain listener is for the brokers among themselves
and for whoever sets them up: its user is a super user. `node.py` writes the properties to a file.
"""

from __future__ import annotations

import base64
import itertools
import random
import socket
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.broker.security import Security

MAX_MIN_ISR = 2
SESSION_MS = 1_500
"""
How long a node is believed to live that says nothing. One that was killed is let in again after that,
and others take over what it led.
"""
PORTS = 4
"""Of one node."""
LOWEST = 10_000
"""Lower ones have names: well-known services listen there."""
GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
ALONE_MS = 600_000
"""
The same for a node that is alone: nobody could take over from it. It is its own controller, and on a
busy machine it would find itself gone, and refuse every new topic until its next heartbeat.
"""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The ports of one node."""

    plain: int
    controller: int
    secure: int
    """TLS, and a password or token."""
    mutual: int
    """TLS, and a client's certificate."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A cluster, before it runs."""

    nodes: Sequence[Ports]
    security: Security | None = None
    cluster_id: str = field(
        default_factory=lambda: base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    )

    def properties(self, number: int, data: Path) -> dict[str, object]:
        """The properties of one node, which are numbered from 1."""
        ports, copies = self.nodes[number - 1], len(self.nodes)
        voters = [f"{n}@127.0.0.1:{one.controller}" for n, one in enumerate(self.nodes, start=1)]
        plain = f"PLAINTEXT://127.0.0.1:{ports.plain}"
        controller = f"CONTROLLER://127.0.0.1:{ports.controller}"
        told = {
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"{plain},{controller}",
            "advertised.listeners": plain,
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": data,
            "default.replication.factor": copies,
            "min.insync.replicas": min(copies, MAX_MIN_ISR),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": min(copies, MAX_MIN_ISR),
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 500,
            "auto.create.topics.enable": "false",
            "broker.session.timeout.ms": SESSION_MS if copies > 1 else ALONE_MS,
            "broker.heartbeat.interval.ms": 300,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            "num.network.threads": 2,
            "num.io.threads": 2,
            "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
            # How often the cleaner looks for something to compact; 15 s are long for a test.
            "log.cleaner.backoff.ms": 200,
            # Records of tests may carry any time; none of them may be too old to be kept.
            "log.retention.ms": -1,
        }
        if self.security is not None:
            told |= self.security.properties(told, ports.secure, ports.mutual)
        return told


def free_ports(port: int = 0) -> Ports:
    """Ports that are free now, and that nobody gets by chance later; the plain one may be chosen."""
    sockets: list[socket.socket] = []
    try:
        for candidate in _candidates():
            sockets.append(socket.socket())
            try:
                sockets[-1].bind(("127.0.0.1", candidate))
            except OSError:
                sockets.pop().close()
            if len(sockets) == PORTS:
                break
        plain, controller, secure, mutual = [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
    return Ports(plain=port or plain, controller=controller, secure=secure, mutual=mutual)


def _candidates() -> Iterator[int]:
    """
    Ports below those that the system gives to whoever asks for any.

    Each connection has one of those: a broker that starts seconds later, or that was away, would find its
    own taken.
    """
    given = int(GIVEN.read_text(encoding="ascii").split()[0])
    below = range(LOWEST, given)
    yield from random.sample(below, len(below))
    yield from itertools.repeat(0, PORTS)
