"""
One transaction on Kafka: all of it becomes visible, or nothing.

Numbered steps:
    1. begin
    2. send every batch
    3. await every batch's future and look at it: a commit succeeds although a batch has failed
    4. commit

Promises: returns only if everything is committed. Fenced is certain, and is said only of a
transaction whose commit was not begun; anything else that is no clean return is Unknown, and its
producer has to be discarded, because it may still commit later. Leases and publishers call it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
)

from event_center.errors import Fenced, Unknown
from event_center.failpoint import Step, reach
from event_center.log.gates import Place
from event_center.log.kafka.calling import FAILURES, bounded, look_at_end
from event_center.log.kafka.packing import Parcel

FOR_GOOD = (MessageSizeTooLargeError, TopicAuthorizationFailedError, InvalidTopicError)
"""What a broker says of one topic, and will say again."""
Landed = tuple[Place, int, int]
"""A place, the number of a batch's first record in its line, and that record's offset."""


async def transact(
    producer: Any, packed: Sequence[Parcel], prefix: str, limit_s: float
) -> list[Landed]:
    """
    Write these batches in one transaction of this producer.

    Raises:
        Fenced: somebody else has started a producer of the same name; nothing was written.
        Unknown: it may have been, or may still be, written.
    """
    try:
        await bounded(producer.begin_transaction(), limit_s)
        reach(Step.LOG_BEGUN)
        landed = await send(producer, packed, prefix, limit_s)
        reach(Step.LOG_WRITTEN)
    except ProducerFenced as error:
        raise Fenced(
            "another producer of this name was started, or its transaction timed out"
        ) from error
    except Unknown:
        raise
    except Exception as error:  # whatever a client raises, nothing says that all of it was written
        raise Unknown(_said(error)) from error
    try:
        await bounded(producer.commit_transaction(), limit_s)
    except Exception as error:  # as above; only a clean return is a commit
        raise Unknown(_said(error)) from error
    reach(Step.LOG_COMMITTED)
    return landed


async def send(
    producer: Any, packed: Sequence[Parcel], prefix: str, limit_s: float
) -> list[Landed]:
    """
    Send batches and wait until the brokers have taken all of them; raises what went wrong.

    Raises:
        Unknown: one topic takes nothing of it for good; others may have taken theirs.
    """
    futures: list[asyncio.Future[Any]] = []
    try:
        for parcel in packed:
            topic, partition = parcel.place
            sending = producer.send_batch(parcel.builder, prefix + topic, partition=partition)
            future = await bounded(sending, limit_s)
            look_at_end(future)
            futures.append(future)
        _, late = await asyncio.wait(futures, timeout=limit_s)
        if late:
            pairs = zip(futures, packed, strict=True)
            topics = ", ".join(
                sorted({parcel.place[0] for future, parcel in pairs if future in late})
            )
            raise TimeoutError(
                f"{len(late)} batches for {topics} not answered within {limit_s:g} s"
            )
        if any(future.cancelled() for future in futures):
            raise KafkaError("the client has dropped a batch")  # our own cancellation is another
        taken = [future.result() for future in futures]
    except FAILURES as error:
        # A producer that was fenced says so once; what is asked of it after that fails in other ways,
        # in the very turn of the loop even in which it says so: its futures hear of it a turn later.
        await asyncio.sleep(0)
        for future in futures:
            first = future.exception() if future.done() and not future.cancelled() else None
            if isinstance(first, ProducerFenced):
                raise first from error
        for future, parcel in zip(futures, packed, strict=False):  # as many as were sent
            first = future.exception() if future.done() and not future.cancelled() else None
            if isinstance(first, FOR_GOOD):
                raise Unknown(_said(first), topic=parcel.place[0]) from first
        if isinstance(error, FOR_GOOD) and len(futures) < len(packed):  # it was not even sent
            raise Unknown(_said(error), topic=packed[len(futures)].place[0]) from error
        raise
    return [
        (parcel.place, parcel.first, answer.offset)
        for parcel, answer in zip(packed, taken, strict=True)
    ]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
