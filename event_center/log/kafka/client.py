"""
The clients: the one module that makes aiokafka's producers and consumers, and gets rid of them.

Promises: whatever is made here is started or disposed of; disposing never raises and never hangs,
because a client's `stop` may do both: it runs in an asyncio task of its own. The other modules of this
room call it, and `calling.py` for each await on what is made here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code

from event_center.errors import LogUnavailable
from event_center.log.kafka.calling import FAILURES, bounded, look_at_end
from event_center.log.kafka.diagnosis import diagnosed
from event_center.log.kafka.fetching import KafkaReader
from event_center.log.kafka.options import MAX_BATCH_BYTES, KafkaOptions
from event_center.log.kafka.permission import DENIED, refused

log = structlog.get_logger(__name__)

STOP_S = 3.0
"""
How long a client may take to stop before its connections are closed under it: one that stops well takes
milliseconds, one that hangs hangs for ever.
"""
AGAIN_S = 0.1
"""
Between two questions to a cluster that is not ready to answer: it takes some tenths of a second.
"""
Client = AIOKafkaClient | AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient


class Clients:
    """Makes and disposes of the clients of one open log."""

    def __init__(self, options: KafkaOptions) -> None:
        self.options = options
        self._reach = {"bootstrap_servers": options.bootstrap, **options.access.arguments()}
        """Where the cluster is and how it lets us in: what every client is told."""
        self._spawned: set[asyncio.Task[None]] = set()
        self._entering: dict[Any, asyncio.Task[None]] = {}
        """Connections that are being made for the first time, by whose they are."""

    async def producer(self, transactional_id: str | None = None) -> Any:
        """
        Start an idempotent producer, or a transactional one, which fences the former of its name.

        Raises:
            LogUnavailable: no broker answers, or none that has a coordinator for it.
        """
        options = self.options
        made = AIOKafkaProducer(
            **self._reach,
            client_id=options.group_id,
            enable_idempotence=True,
            transactional_id=transactional_id,
            transaction_timeout_ms=_ms(options.transaction_timeout_s),
            request_timeout_ms=_ms(options.request_timeout_s),
            max_batch_size=MAX_BATCH_BYTES,
        )
        await self._started(made)
        return made

    async def reader(self, *, committed: bool = True, wait_s: float = 0.02) -> Any:
        """Start a consumer without a group, whose partitions and positions we set ourselves."""
        options = self.options
        made = KafkaReader(
            **self._reach,
            client_id=options.group_id,
            isolation_level="read_committed" if committed else "read_uncommitted",
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=_ms(wait_s),
            # The first question about a topic is always asked again after this time.
            retry_backoff_ms=_ms(wait_s),
            request_timeout_ms=_ms(options.request_timeout_s),
        )
        await self._started(made)
        return made

    def member(self, assignor: object) -> Any:
        """Make a consumer of the group, not started yet; it tells us our shards and reads nothing."""
        options = self.options
        made = AIOKafkaConsumer(
            **self._reach,
            client_id=options.group_id,
            group_id=options.group_id,
            group_instance_id=options.instance_id or None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            partition_assignment_strategy=[assignor],
            session_timeout_ms=_ms(options.session_timeout_s),
            rebalance_timeout_ms=_ms(options.rebalance_timeout_s),
            heartbeat_interval_ms=_ms(options.heartbeat_s),
            request_timeout_ms=_ms(options.request_timeout_s),
            # It is not asked for records: a watchdog of its own tells whether the loop is alive.
            max_poll_interval_ms=2**31 - 1,
        )
        self._enters_whole(made)
        return made

    async def admin(self) -> Any:
        """Start a client that makes topics."""
        made = AIOKafkaAdminClient(
            **self._reach,
            request_timeout_ms=_ms(self.options.request_timeout_s),
        )
        await self._started(made)
        return made

    async def members(self) -> list[str]:
        """
        Who is in the group, by the client's name and host.

        Raises:
            LogUnavailable: nobody answers.
        """
        admin = await self.admin()
        try:
            described = await bounded(self._described(admin), self.options.call_s)
        except FAILURES as error:
            raise self.unavailable(error) from error
        finally:
            self.dispose(admin)
        return [f"{client} at {host.lstrip('/')}" for _, client, host, *_ in described]

    async def _described(self, admin: Any) -> list[Any]:
        """The members of the group, when the cluster is ready to tell: a new one is not at once."""
        while True:
            try:
                (answer,) = await admin.describe_consumer_groups([self.options.group_id])
                ((code, _, _, _, _, members, *_),) = answer.groups
                if code:
                    raise for_code(code)(f"group {self.options.group_id}")
            except KafkaError as error:
                if not error.retriable:
                    raise
            else:
                return list(members)
            await asyncio.sleep(AGAIN_S)

    async def plain(self) -> Any:
        """Start a client for requests that the others do not know."""
        made = AIOKafkaClient(
            **self._reach,
            client_id=self.options.group_id,
            request_timeout_ms=_ms(self.options.request_timeout_s),
        )
        await self._started(made)
        return made

    async def _started(self, client: Any) -> None:
        self._enters_whole(client)
        start = client.bootstrap if isinstance(client, AIOKafkaClient) else client.start
        try:
            await bounded(start(), self.options.call_s)
        except FAILURES as error:
            self.dispose(client)
            raise await self.explained(error) from error
        except asyncio.CancelledError:
            self.dispose(client)
            raise

    def _enters_whole(self, client: Any) -> None:
        """
        Let a client's first question to the cluster come to its end, also if its start is cancelled.

        Until the answer is there aiokafka alone knows the connection, and loses it if it is cancelled.
        """
        connections = _connections(client)
        tell_of_cuts(connections)
        enter = connections.bootstrap

        async def entered() -> None:
            task = self.spawn(enter(), "enter the cluster", _told_already)
            self._entering[connections] = task
            task.add_done_callback(lambda _: self._entering.pop(connections))
            await asyncio.shield(task)

        connections.bootstrap = entered

    async def explained(self, error: BaseException) -> LogUnavailable:
        """The error to raise when a client did not start: what we may not do, or what is wrong."""
        if isinstance(error, DENIED):
            return self.unavailable(error)
        told = await diagnosed(self.options.bootstrap, self.options.access)
        return told or self.unavailable(error)

    def said(self, error: BaseException) -> str:
        """An error of a client in words: what we may not do, or the error itself."""
        return str(refused(error, self.options) or f"{type(error).__name__}: {error}")

    def unavailable(self, error: BaseException) -> LogUnavailable:
        """The error to raise when the cluster does not answer."""
        return refused(error, self.options) or LogUnavailable(
            f"the Kafka cluster at {self.options.bootstrap} does not answer as it should "
            f"({type(error).__name__}: {error}); is a broker running there, and is the address the "
            "one that it advertises?"
        )

    def dispose(self, *clients: Any) -> None:
        """Get rid of clients beside the calls; `disposed` waits for all of them."""
        for client in clients:
            _ = self.stopping(client)

    def stopping(self, client: Any, until: float = math.inf) -> asyncio.Task[None]:
        """The same for one, to be waited for; from this time of the loop on it sends nothing."""
        return self.spawn(self._stop(client, until), "stop a client")

    async def begun(self, asked: Coroutine[Any, Any, None], limit_s: float) -> None:
        """
        Await for so long at most what a client does not give up once it has begun it: a commit of offsets.

        It goes on in an asyncio task of aiokafka's. How that ends is heard here, else it would be reported
        as never heard, long after whoever had asked was told.
        """
        begun = self.spawn(asked, "what was begun", _told_already)
        await bounded(asyncio.shield(begun), limit_s)

    def spawn(
        self,
        work: Coroutine[Any, Any, None],
        name: str,
        broken: Callable[[BaseException], None] | None = None,
    ) -> asyncio.Task[None]:
        """
        Start an asyncio task that belongs to this log and ends by itself or is cancelled.

        Args:
            work: what it does.
            name: what messages call it.
            broken: hears the error that it ends by; without it the log of this process does.
        """
        # A log lives between `open` and `close`, not inside one block: it has no task group.
        task = asyncio.get_running_loop().create_task(work, name=f"kafka: {name}")
        self._spawned.add(task)
        task.add_done_callback(partial(self._ended, broken))
        return task

    def _ended(
        self, broken: Callable[[BaseException], None] | None, task: asyncio.Task[None]
    ) -> None:
        self._spawned.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if broken is not None:
            broken(error)
        else:
            log.error("log.task_failed", task=task.get_name(), error=repr(error))

    async def disposed(self) -> None:
        """Wait until everything beside the calls has ended; what takes too long is cancelled."""
        if self._spawned:
            _, late = await asyncio.wait(self._spawned, timeout=3 * STOP_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _stop(self, client: Any, until: float) -> None:
        _hush(client)
        entering = self._entering.get(_connections(client))
        if entering is not None:
            await asyncio.wait([entering], timeout=STOP_S)
            entering.cancel()  # a cluster that does not answer: then nobody can close that connection
        limit_s = min(STOP_S, until - asyncio.get_running_loop().time())
        if limit_s <= 0:
            await _cut_off(client)
            limit_s = STOP_S
        stop = client.close if isinstance(client, AIOKafkaClient | AIOKafkaAdminClient) else None
        stopping = asyncio.get_running_loop().create_task((stop or client.stop)())
        await asyncio.wait([stopping], timeout=limit_s)
        # A consumer's stop may end by a cancellation that nobody asked for: it is stopped.
        if stopping.done() and not stopping.cancelled() and stopping.exception() is not None:
            log.debug("log.stop_failed", error=repr(stopping.exception()))
        await _cut_off(client)  # also after a stop: a connection may have been made meanwhile
        await _end_tasks(client, stopping)


async def _cut_off(client: Any) -> None:
    """Close a client's connections under it: what it has not sent yet is not sent."""
    sender = getattr(getattr(client, "_sender", None), "_sender_task", None)
    if sender is not None:
        sender.cancel()
    closing = asyncio.get_running_loop().create_task(_connections(client).close())
    look_at_end(closing)
    await asyncio.wait([closing], timeout=STOP_S)


async def _end_tasks(client: Any, stopping: asyncio.Task[Any]) -> None:
    """
    End its `stop`, if that has not ended yet, and what the client has begun.

    What a producer has under way waits for an answer for ever, or for brokers that a closed client does not
    look for any more. Python would complain of it once nobody else knows of it.
    """
    parts = {id(part) for part in (client, _connections(client), *vars(client).values())}
    left = {stopping, *(task for task in asyncio.all_tasks() if _runs(task, parts))}
    for task in left:
        look_at_end(task)
        task.cancel()
    await asyncio.wait(left, timeout=STOP_S)


def _runs(task: asyncio.Task[Any], parts: Collection[int]) -> bool:
    """Whether this asyncio task runs a method of one of these objects of aiokafka's, by their ids."""
    frame: Any = getattr(task.get_coro(), "cr_frame", None)
    theirs = frame is not None and frame.f_globals["__name__"].startswith("aiokafka.")
    return theirs and id(frame.f_locals.get("self", frame)) in parts


def _connections(client: Any) -> Any:
    """What holds a client's connections."""
    return getattr(client, "client", None) or getattr(client, "_client", client)


def tell_of_cuts(connections: Any) -> None:
    """
    Let a client hear in its own words that a connection was cut a moment ago.

    uvloop answers to a write into one with a RuntimeError, which aiokafka awaits nowhere: the task that
    asks for metadata, beside all calls, would end by it, and the client know no new leader any more.
    """
    connection_to = connections._get_conn  # noqa: SLF001 - it has no public name

    async def telling(*where: Any, **how: Any) -> Any:
        connection = await connection_to(*where, **how)
        if connection is not None and "send" not in vars(connection):
            connection.send = partial(_sent, connection.send)
        return connection

    connections._get_conn = telling  # noqa: SLF001 - as above


def _sent(send: Callable[..., Any], *request: Any, **how: Any) -> Any:
    try:
        return send(*request, **how)
    except KafkaError:
        raise
    except RuntimeError as error:
        raise KafkaConnectionError(f"the connection was cut: {error}") from error


def _told_already(_: BaseException) -> None:
    """Whoever has asked hears of it, or was told that it took too long."""


def _hush(client: Any) -> None:
    """
    Hear what a producer's batches wait for, so that it is not reported as never heard.

    A producer that was fenced fails every batch that it still has, and its transaction; these futures
    are nobody's in aiokafka. The commit has told our caller already.
    """
    transaction = getattr(getattr(client, "_txn_manager", None), "_transaction_waiter", None)
    if transaction is not None:
        look_at_end(transaction)
    accumulator = getattr(client, "_message_accumulator", None)
    for batches in getattr(accumulator, "_batches", {}).values():
        for batch in batches:
            look_at_end(batch._drain_waiter)  # noqa: SLF001 - it has no public name


def partitions(topic: str, numbers: Sequence[int]) -> list[Any]:
    """These partitions of a topic, as the clients name them."""
    return [TopicPartition(topic, number) for number in numbers]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
