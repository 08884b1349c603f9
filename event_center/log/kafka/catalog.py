"""
The topics of a log on Kafka: which there are, how many partitions they have, and new ones.

Promises: names are plain, without the log's prefix; Kafka's own topics and the snapshots are not
among them; a topic that was just made can be used, because every partition has a leader. Every
module of this room asks here before it names a topic to a client, because a client waits for an
unknown one instead of saying so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.errors import NodeNotReadyError, for_code

from event_center.errors import ConfigurationError, LogInUse, LogUnavailable, UnknownTopic
from event_center.log.kafka.calling import FAILURES, bounded
from event_center.log.kafka.client import Clients
from event_center.log.kafka.metadata import TopicsRequest
from event_center.log.kafka.permission import DENIED, hidden, unseen
from event_center.log.kafka.wanted import settings_for
from event_center.log.ownership import check_topic
from event_center.log.port import TopicInfo

LOOK_S = 0.02
"""Between two looks whether new topics have leaders, which takes a broker some tens of ms."""
NO_LEADER = -1
EXISTS = 36
"""Kafka's code for a topic that is there already."""


class Catalog:
    """What is known of the cluster's topics; looked up again when a name is not known."""

    def __init__(self, clients: Clients, client: Any) -> None:
        self.options = clients.options
        self._clients = clients
        self._client = client
        self._infos: dict[str, TopicInfo] = {}
        self._led: set[str] = set()
        self._copies: dict[str, tuple[int, int]] = {}

    def real(self, topic: str) -> str:
        """The name in the cluster."""
        return self.options.topic_prefix + topic

    async def topics(self) -> dict[str, TopicInfo]:
        """All topics of the log, as of now; its own store of entries is none of them."""
        infos = await self._look()
        return {name: info for name, info in infos.items() if name != self.options.snapshots}

    async def copies(self) -> Mapping[str, tuple[int, int]]:
        """Of every topic, the store included: the fewest copies of a partition, and those in sync."""
        await self._look()
        return self._copies

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 if it does not exist."""
        info = self._infos.get(topic)
        if info is None:
            info = (await self._look()).get(topic)
        return 0 if info is None else info.partitions

    async def counts(self, topics: Iterable[str], shards: int) -> list[tuple[str, int]]:
        """
        How many partitions each topic has, as of now.

        Raises:
            UnknownTopic: one is not there.
            LogInUse: the store has another number of shards.
        """
        infos = await self._look()
        self.check_shards(shards)
        for name in topics:
            if name not in infos:
                raise self.unknown(name)
        return [(name, infos[name].partitions) for name in topics]

    def check_shards(self, shards: int) -> None:
        """
        Has the store of entries so many shards, as far as is known?

        Raises:
            LogInUse: it has not.
        """
        store = self._infos.get(self.options.snapshots)
        if store is not None and store.partitions != shards:
            raise LogInUse(
                f"the group {self.options.group_id} at {self.options.bootstrap} has "
                f"{store.partitions} shards, the partitions of {self.real(store.name)}; this member "
                f"wants {shards}: ask for {store.partitions} if it was always so; if the topic was "
                "given more partitions, workflows can not be found any more: begin with another app "
                "name, and let it read the events that retention has kept"
            )

    async def check(self, places: Iterable[tuple[str, int]]) -> None:
        """
        Is there a topic and a partition for each of these?

        Raises:
            UnknownTopic: there is none; the message says what there is.
        """
        for topic, partition in places:
            if not 0 <= partition < await self.partitions(topic):
                raise self.unknown(topic, partition)

    def unknown(self, topic: str, partition: int | None = None) -> UnknownTopic:
        """The error for a topic or partition that is not there."""
        known = [info for name, info in self._infos.items() if name != self.options.snapshots]
        there = ", ".join(f"{one.name} ({one.partitions} partitions)" for one in known)
        place = topic if partition is None else f"{topic}/{partition}"
        return UnknownTopic(
            f"the Kafka cluster at {self.options.bootstrap} has no {place} for this log; create the "
            f"topic first{hidden(self.real(topic), self.options)}. It has: {there or 'no topics'}",
            topic=topic,
        )

    async def create(self, topics: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet, and wait until they can be used."""
        known = await self._look()
        wanted = {name: topics[name] for name in topics if name not in known}
        for name, partitions in wanted.items():
            check_topic(name, partitions)
        if not wanted:
            return
        admin = await self._clients.admin()
        try:
            answer = await bounded(
                admin.create_topics([self._new(*item) for item in wanted.items()]),
                self.options.call_s,
            )
        except FAILURES as error:
            raise self._clients.unavailable(error) from error
        finally:
            self._clients.dispose(admin)
        for name, code, *why in answer.topic_errors:
            if issubclass(for_code(code), DENIED):
                raise unseen(name, self.options)
            if code not in {0, EXISTS}:
                raise ConfigurationError(self._refused(name, for_code(code).__name__, why))
        await self._wait_for_leaders(set(wanted))

    def _new(self, name: str, partitions: int) -> Any:
        settings = settings_for(self.options, name)
        factor = self.options.replication_factor
        return NewTopic(self.real(name), partitions, factor, topic_configs=settings)

    def _refused(self, name: str, kind: str, why: list[str | None]) -> str:
        said = "; ".join(part for part in why if part)
        return (
            f"the Kafka cluster at {self.options.bootstrap} refused to make topic {name!r}: {kind} "
            f"{said}; [log.kafka] replication_factor is {self.options.replication_factor}, and "
            "there must be as many brokers; where this user may not make topics, somebody who may runs "
            "`event-center topics create --events`"
        )

    async def _wait_for_leaders(self, names: set[str]) -> None:
        deadline = asyncio.get_running_loop().time() + self.options.call_s
        while not names <= self._led:
            if asyncio.get_running_loop().time() > deadline:
                raise LogUnavailable(
                    f"the Kafka cluster at {self.options.bootstrap} has made the topics "
                    f"{', '.join(sorted(names - self._led))}, but gives them no leader within "
                    f"{self.options.call_s:g} s: look whether its brokers run, then start again"
                )
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _ask_anyone(self) -> Any:
        """Ask one broker, and the others if it is gone: the client may not have heard of that yet."""
        nodes = [broker.nodeId for broker in self._client.cluster.brokers()]
        random.shuffle(nodes)
        for node in nodes[1:]:
            with suppress(NodeNotReadyError):
                return await bounded(self._client.send(node, TopicsRequest()), self.options.call_s)
        node = nodes[0] if nodes else self._client.get_random_node()
        return await bounded(self._client.send(node, TopicsRequest()), self.options.call_s)

    async def _look(self) -> dict[str, TopicInfo]:
        """
        Ask the cluster.

        Raises:
            LogUnavailable: nobody answers.
        """
        try:
            answer = await self._ask_anyone()
        except FAILURES as error:
            raise await self._clients.explained(error) from error
        prefix = self.options.topic_prefix
        infos, led = {}, set()
        self._copies = {}
        for code, real, topic_id, internal, parts, *_ in answer.topics:
            if code or internal or not real.startswith(prefix):
                continue
            name = real.removeprefix(prefix)
            infos[name] = TopicInfo(name, len(parts), topic_id)
            self._copies[name] = min(len(p[4]) for p in parts), min(len(p[5]) for p in parts)
            if all(part[2] != NO_LEADER for part in parts):
                led.add(name)
        self._infos, self._led = infos, led
        return infos
