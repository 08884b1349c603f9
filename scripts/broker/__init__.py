"""Apache Kafka brokers (KRaft, no ZooKeeper) on loopback, for tests and for trying things out."""

from __future__ import annotations

from scripts.broker.cluster import Cluster
from scripts.broker.java import NoBroker
from scripts.broker.node import Broker

__all__ = ["Broker", "Cluster", "NoBroker"]
