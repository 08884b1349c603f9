"""Clients that end in ways nobody foresaw: whoever has to know hears of it, and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from aiokafka import AIOKafkaClient
from aiokafka.client import ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    IllegalOperation,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    ProducerFenced,
)
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataRequest

from event_center.errors import Fenced, LogUnavailable, Unknown
from event_center.log.kafka import KafkaLog
from event_center.log.kafka.assignor import Claim, KeepPlace
from event_center.log.kafka.calling import FAILURES, bounded
from event_center.log.kafka.client import Clients, tell_of_cuts
from event_center.log.kafka.membership import Membership
from event_center.log.kafka.packing import Parcel
from event_center.log.kafka.transaction import transact
from event_center.model import Shard
from tests.kafka.harness import NOWHERE, KafkaHarness
from tests.log.harness import joined, restored
from tests.waiting import PATIENCE_S, turns


async def mistaken(*_: object, **__: object) -> None:
    """What a mistake of this package does, however ordinary its error is."""
    raise ValueError("made to fail by a test")


def slip(*_: object) -> None:
    """The same, where nothing is awaited."""
    raise KeyError("made to fail by a test")


class TestTasks:
    @pytest.mark.parametrize("part", ["supply", "membership"])
    async def test_a_mistake_is_heard(self, kafka_log: KafkaLog, part: str) -> None:
        """A mistake beside the rest comes out of `changes`: the process ends, it does not go deaf."""
        group: Any = await kafka_log.join(["orders"], 1)
        await group.changes()
        if part == "supply":
            group._supply._read = mistaken
            group._supply._interrupt()
        else:
            group._membership._consumer.getmany = mistaken
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises((KeyError, ValueError), match="by a test"):
                await group.changes()

    async def test_a_mistake_in_joining_again_is_heard(self, kafka_log: KafkaLog) -> None:
        """A member that can not tell its claim would keep others waiting: its process ends."""
        group: Any = await kafka_log.join(["orders"], 1)
        await group.changes()
        group._membership.rejoin = slip
        group._rejoin_soon()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises((KeyError, ValueError), match="by a test"):
                await group.changes()

    async def test_a_mistake_with_a_share_is_heard(self, kafka_log: KafkaLog) -> None:
        """Aiokafka swallows what a listener raises; who waits for changes hears of it."""
        group: Any = await kafka_log.join(["orders"], 1)
        await group.changes()
        group._membership._shared = slip
        with pytest.raises((KeyError, ValueError), match="by a test"):
            group._membership.on_partitions_assigned([])
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises((KeyError, ValueError), match="by a test"):
                await group.changes()

    async def test_a_join_that_ends_by_a_mistake_leaves_nothing(
        self, kafka_log: KafkaLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever ends a join, its member is dropped, and is no member for others either."""
        with monkeypatch.context() as patch:
            patch.setattr(Membership, "_start", mistaken)
            with pytest.raises((KeyError, ValueError), match="by a test"):
                await kafka_log.join(["orders"], 1)
        assert kafka_log._groups == []
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)

    async def test_a_join_that_failed_leaves_nothing(self, kafka_log: KafkaLog) -> None:
        """A log that is joined again and again, while the group does not answer, does not grow."""
        await (await kafka_log.join(["orders"], 1)).leave()
        before = len(kafka_log._groups)
        reach = kafka_log._clients._reach
        kafka_log._clients._reach = {**reach, "bootstrap_servers": NOWHERE}
        for _ in range(2):
            with pytest.raises(LogUnavailable):
                await kafka_log.join(["orders"], 1)
        kafka_log._clients._reach = reach
        assert len(kafka_log._groups) == before

    async def test_a_member_that_could_not_join_anew_tries_again(self, kafka_log: KafkaLog) -> None:
        """A group that is lost while its cluster is away is joined when the cluster is back."""
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            group: Any = member.group
            membership = group._membership
            reach = kafka_log._clients._reach
            kafka_log._clients._reach = {**reach, "bootstrap_servers": NOWHERE}
            await membership._renew()
            assert membership._ended()
            kafka_log._clients._reach = reach
            await membership._renew()
            assert not membership._ended()
            lease = await member.group.lease(Shard(0), member.tokens[Shard(0)])
            assert await restored(lease) == {}

    async def test_topics_without_a_leader(self, kafka_log: KafkaLog) -> None:
        """A cluster that makes a topic and gives it no leader is named, in an error of the catalog."""
        catalog = kafka_log._catalog
        catalog.options = replace(catalog.options, request_timeout_s=0.02)
        with pytest.raises(LogUnavailable, match="nobody, but gives them no leader"):
            await catalog._wait_for_leaders({"nobody"})

    async def test_no_more_consumers_are_kept_than_are_needed(self, kafka_log: KafkaLog) -> None:
        """After many reads side by side only some of their consumers stay."""
        reading = kafka_log._cluster.reading
        borrowed = [await reading._borrow() for _ in range(6)]
        for consumer in borrowed:
            reading._give_back(consumer, clean=True)
        assert len(reading._free) == 4


class TestStarts:
    @pytest.mark.parametrize("kind", ["plain", "reader", "producer", "admin", "member"])
    async def test_one_that_is_cancelled_leaves_no_connection(
        self, kafka_harness: KafkaHarness, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """Cancelled in its first question to the cluster, a client is closed all the same."""
        assert await self.left_open(kafka_harness, monkeypatch, kind) == []

    async def test_the_client_alone_loses_it(
        self, kafka_harness: KafkaHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Twin: without our care the connection stays open until it is collected."""
        monkeypatch.setattr(Clients, "_enters_whole", lambda *_: None)
        [lost] = await self.left_open(kafka_harness, monkeypatch, "plain")
        assert "Unclosed AIOKafkaConnection" in lost

    async def left_open(
        self, harness: KafkaHarness, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> list[str]:
        """What the interpreter says of what nobody has closed."""
        asked = asyncio.Event()
        send = AIOKafkaConnection.send

        def noted(connection: Any, request: Any, *rest: Any, **more: Any) -> Any:
            if isinstance(request, MetadataRequest):
                asked.set()
            return send(connection, request, *rest, **more)

        monkeypatch.setattr(AIOKafkaConnection, "send", noted)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        with warnings.catch_warnings(record=True, action="always") as seen:
            await self.cancelled(Clients(harness.options), kind, asked)
            gc.collect()
        return [str(one.message) for one in seen]

    async def cancelled(self, clients: Clients, kind: str, asked: asyncio.Event) -> None:
        """Start a client, and cancel that in its first question."""
        member = clients.member(KeepPlace(1, lambda: Claim("", 0, ()), lambda _: None))
        start = member.start if kind == "member" else getattr(clients, kind)
        starting = asyncio.get_running_loop().create_task(start())
        await asked.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        clients.dispose(member)
        await clients.disposed()


class TestBounded:
    async def test_a_client_that_cancels_itself(self) -> None:
        """What a client cancels by itself is a failure, not our own end."""
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waited.cancel()
        with pytest.raises(KafkaError, match="given up"):
            await bounded(waited, 1.0)

    async def test_our_own_cancellation(self) -> None:
        """Who is cancelled while it waits for a client ends by that."""
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(bounded(waited, 60.0), name="waits")
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_an_assertion_of_the_client(self) -> None:
        """What aiokafka asserts about itself is trouble with the cluster, and is said as such."""

        async def commit() -> None:
            TransactionManager("here", 1000).committing_transaction()

        with pytest.raises(KafkaError, match="AssertionError: Invalid state transition"):
            await bounded(commit(), 1.0)

    def test_a_connection_that_has_just_been_cut(self) -> None:
        """With uvloop, as in the daemon, aiokafka lets an error through that is no error of connections."""

        async def asked() -> None:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            host, port = server.sockets[0].getsockname()
            connection: Any = AIOKafkaConnection(host, port)
            connection._writer, _ = await loop.create_connection(asyncio.Protocol, host, port)
            connection._writer.abort()
            await turns()
            server.close()
            await connection.send(ApiVersionRequest())

        async def failed() -> None:
            with pytest.raises(KafkaError, match="RuntimeError: unable to perform"):
                await bounded(asked(), PATIENCE_S)

        uvloop.run(failed())

    async def test_a_client_hears_of_a_cut_in_its_own_words(self) -> None:
        """So the task that asks for metadata, where none of our awaits stands, asks elsewhere and lives."""

        class CutConnection:
            def connected(self) -> bool:
                return True

            def send(self, *_: object, **__: object) -> None:
                raise RuntimeError("unable to perform operation; the handler is closed")

        client = AIOKafkaClient(bootstrap_servers=NOWHERE)
        client._conns[0, ConnectionGroup.DEFAULT] = CutConnection()
        with pytest.raises(RuntimeError, match="is closed"):  # the twin: without what follows
            await client.send(0, MetadataRequest([]))
        tell_of_cuts(client)
        for _ in range(2):
            with pytest.raises(KafkaConnectionError, match="is closed"):
                await client.send(0, MetadataRequest([]))

    async def test_an_error_of_the_client_stays_as_it_is(self) -> None:
        """Each of its errors says something of its own, and all of them are RuntimeErrors."""

        async def asked() -> None:
            await AIOKafkaClient(bootstrap_servers=NOWHERE).send(7, MetadataRequest([]))

        with pytest.raises(NodeNotReadyError):
            await bounded(asked(), 1.0)

    async def test_a_mistake_of_ours_stays_one(self) -> None:
        """The same error out of our own code is no trouble with the cluster: nobody tries that again."""
        for mistake in (ValueError("ours"), AssertionError("ours"), RuntimeError("ours")):

            async def fetched(error: Exception = mistake) -> None:
                raise error

            with pytest.raises(type(mistake), match="ours"):
                await bounded(fetched(), 1.0)
            assert not isinstance(mistake, FAILURES)

    async def test_too_long(self) -> None:
        """The limit ends it with TimeoutError."""
        with pytest.raises(TimeoutError):
            await bounded(asyncio.get_running_loop().create_future(), 0.0)


class TestBegun:
    """A commit of offsets goes on in a task of aiokafka's when nobody waits for it any more."""

    async def test_its_end_is_heard(self) -> None:
        """However it ends after the limit, nothing is reported as never heard."""
        clients = Clients(KafkaHarness(NOWHERE).options)
        assert await self.reported(lambda commit: clients.begun(commit, 0.0)) == []

    async def test_a_limit_alone_leaves_it_unheard(self) -> None:
        """Twin: bounded only, the end of the commit is an error in the daemon's output."""
        [said] = await self.reported(lambda commit: bounded(commit, 0.0))
        assert said == "Task exception was never retrieved"

    async def reported(
        self, waited: Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
    ) -> list[str]:
        """What asyncio says of a commit that takes longer than is waited, and then fails."""
        loop, said = asyncio.get_running_loop(), list[str]()
        loop.set_exception_handler(lambda _, context: said.append(context["message"]))
        closed = asyncio.Event()

        async def sent() -> None:
            await closed.wait()
            raise KafkaError("the connection is closed")

        async def commit() -> None:
            await asyncio.shield(sent())

        with pytest.raises(TimeoutError):
            await waited(commit())
        closed.set()
        await turns()
        gc.collect()
        return said


class StrangeProducer:
    """A producer that ends one step of a transaction in a way of its own."""

    def __init__(self, at: str, *, dropped: bool) -> None:
        self._at = at
        self._dropped = dropped

    async def begin_transaction(self) -> None:
        await self._step("begin")

    async def send_batch(self, *_: object, **__: object) -> asyncio.Future[Any]:
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._at == "send" and self._dropped:
            sent.cancel()
        elif self._at == "send":
            sent.set_exception(KeyError("made to fail by a test"))
        else:
            sent.set_result(SimpleNamespace(offset=0))
        return sent

    async def commit_transaction(self) -> None:
        await self._step("commit")

    async def _step(self, name: str) -> None:
        if self._at != name:
            return
        if not self._dropped:
            raise KeyError("made to fail by a test")
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("at", ["begin", "send", "commit"])
async def test_only_a_clean_return_is_a_commit(at: str, dropped: bool) -> None:
    """An error that is in no list, and a cancellation that nobody asked for, end Unknown."""
    parcels = [Parcel(("orders", 0), 0, None)]
    why = "KafkaError" if dropped else "KeyError"
    with pytest.raises(Unknown, match=why):
        await transact(StrangeProducer(at, dropped=dropped), parcels, "", 5.0)


class FencedBetweenBatches:
    """A producer that learns, while its second batch waits for metadata, that it was fenced."""

    def __init__(self) -> None:
        self._first: asyncio.Future[Any] | None = None

    async def begin_transaction(self) -> None:
        pass

    async def send_batch(self, *_: object, **__: object) -> asyncio.Future[Any]:
        if self._first is None:
            self._first = asyncio.get_running_loop().create_future()
            return asyncio.shield(
                self._first
            )  # as aiokafka gives it: it hears of its end a turn later
        self._first.set_exception(ProducerFenced())
        raise IllegalOperation("Can't send messages while not in transaction")


async def test_fenced_between_two_batches() -> None:
    """Who was fenced is told that, though the next batch failed before the first one's future did."""
    parcels = [Parcel(("snapshots", 0), 0, None), Parcel(("history", 0), 0, None)]
    with pytest.raises(Fenced):
        await transact(FencedBetweenBatches(), parcels, "", 5.0)
