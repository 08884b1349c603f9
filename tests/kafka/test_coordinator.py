"""Three nodes, of which the one dies that coordinates the group or the transactions of a center."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaClient
from aiokafka.client import CoordinationType

from scripts.broker import Broker, Cluster
from tests.kafka.broker import three_nodes
from tests.kafka.project import Project
from tests.waiting import PATIENCE_S


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes; one that a test has killed is there again for the next."""
    made = three_nodes()
    yield made
    for node in made.nodes:
        if node.pid is None:
            node.launch()
    for node in made.nodes:
        node.wait(len(made.nodes))


@pytest.fixture
def project(tmp_path: Path, cluster: Cluster) -> Iterator[Project]:
    """A project whose topics are on all three."""
    made = Project(tmp_path, cluster.plain, copies=3)
    yield made
    made.close()


def coordinator(cluster: Cluster, kind: CoordinationType, key: str) -> Broker:
    """The node that coordinates a group or a transactional id."""

    async def asked() -> int:
        client = AIOKafkaClient(bootstrap_servers=cluster.plain)
        await client.bootstrap()
        try:
            node: int = await client.coordinator_lookup(kind, key)
        finally:
            await client.close()
        return node

    return cluster.nodes[asyncio.run(asked()) - 1]


@pytest.mark.parametrize("of", ["group", "transactions"])
def test_the_coordinator_dies(project: Project, cluster: Cluster, of: str) -> None:
    """Its node is killed while the center works: the lag goes to zero, each event applied once."""
    project.publish(0, 100)
    daemon = project.daemon()
    project.until(lambda stats: stats["events"]["applied"] == 100)
    group = f"{project.prefix}event-center.center"
    kind, key = (
        (CoordinationType.GROUP, group)
        if of == "group"
        else (CoordinationType.TRANSACTION, f"{group}.0")
    )
    killed = coordinator(cluster, kind, key)
    project.publish(100, 400)
    killed.kill()
    project.publish(400, 600)
    stats = project.until(lambda stats: stats["transitions"] == 1_200 and not stats["lag"])
    assert stats["events"]["applied"] == stats["events"]["read"] == 600
    assert stats["workflows"]["by_state"]["order"] == {"completed": 600}
    assert stats["redelivered"] == 0
    daemon.terminate()
    assert daemon.wait(PATIENCE_S) == 0
