"""Publishing: ids, form, batches, and what cancelling and failing calls do to those beside them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import anyio
import orjson
import pytest

from event_center.client.publisher import BATCH, EventPublisher, check_size, event_record
from event_center.errors import NotCommitted, Unknown, UnknownTopic
from event_center.log.memory import Ending
from event_center.model import (
    MAX_EVENT_ID,
    MAX_NAME,
    Headers,
    Outgoing,
    Position,
    Record,
    size_of,
)
from event_center.wire.envelope import Envelope, Rules
from tests.client.shelf import Shelf, outgoing


class SlowLog:
    """The log of a shelf whose writes wait until they are let go."""

    def __init__(self, shelf: Shelf) -> None:
        self.writes: list[int] = []
        self.go = anyio.Event()
        self._log = shelf.log

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        self.writes.append(len(records))
        await self.go.wait()
        return await self._log.publish(records)


async def _cancelled(events: EventPublisher, key: str) -> None:
    """A call that is cancelled once it waits."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(events.append, [outgoing("orders", key)])
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


MAX_BYTES = 100_000


def publisher(log: Any) -> EventPublisher:
    return EventPublisher(log, MAX_BYTES)


async def test_an_event_is_in_the_plain_form(shelf: Shelf) -> None:
    """What is published is read by a topic without rules, lies at its workflow's home, has a key."""
    position = await publisher(shelf.log).publish(
        "orders", workflow_id="o-1", event="begin", payload={"n": 1}, event_id="e-1"
    )
    assert position == Position("orders", shelf.app.home("o-1"), 0)
    (record,) = shelf.records("orders")
    workflow_id, machine, event = Envelope("orders", Rules(machine="order")).read(record, 0)
    assert (workflow_id, machine, event.name, event.payload) == ("o-1", "order", "begin", {"n": 1})
    assert (event.id, record.key) == ("e-1", b"o-1")
    body = {"workflow_id": "o-1", "event": "begin", "id": "e-1", "payload": {"n": 1}}
    assert orjson.loads(record.value or b"") == body, "nothing that nobody reads"


async def test_every_event_has_an_id(shelf: Shelf) -> None:
    """Events that are given no id get ids that differ."""
    events = publisher(shelf.log)
    for _ in range(3):
        await events.publish("orders", workflow_id="o-1", event="begin")
    ids = {orjson.loads(record.value or b"")["id"] for record in shelf.records("orders")}
    assert len(ids) == 3
    assert all(uuid.UUID(one) for one in ids)


@pytest.mark.parametrize(
    "headers", [(("\u00e9" * 49_998, b""),), (("a", b""),) * 9_100], ids=["a name", "many"]
)
def test_names_of_headers_are_counted_as_bytes(headers: Headers) -> None:
    """As everywhere; one byte less is taken."""
    record = Outgoing("orders", b"", b"x" * 10, headers)
    size = size_of(record.key, record.value, headers)
    check_size(record, size)
    with pytest.raises(ValueError, match=f"the event has {size} bytes with its key"):
        check_size(record, size - 1)
    assert size > MAX_BYTES


async def test_what_is_too_large_is_refused(shelf: Shelf) -> None:
    """A daemon would reject it: who publishes hears of it, and nothing of its call is written."""
    events = publisher(shelf.log)
    with pytest.raises(ValueError, match="at most 100000: keep what is large elsewhere"):
        await events.append([outgoing("orders", "o-1"), Outgoing("orders", b"k", b"x" * 100_001)])
    assert not shelf.records("orders")
    with pytest.raises(ValueError, match="the event has 100001 bytes with its key"):
        await events.append([Outgoing("orders", b"k", b"x" * MAX_BYTES)])
    await events.append([Outgoing("orders", b"k", b"x" * (MAX_BYTES - 1))])


@pytest.mark.parametrize("workflow_id", ["", "x" * 513, "\u00e9" * 257, "a\nb", "a\x7f"])
def test_what_the_center_would_not_take_is_refused(workflow_id: str) -> None:
    """A workflow_id that would become a dead letter is refused before it is published."""
    with pytest.raises(ValueError, match="workflow_id"):
        event_record("orders", workflow_id=workflow_id, event="begin")


def test_an_event_has_a_name() -> None:
    """An event without a name is refused."""
    with pytest.raises(ValueError, match="no name"):
        event_record("orders", workflow_id="o-1", event="")
    with pytest.raises(ValueError, match="begin with @"):
        event_record("orders", workflow_id="o-1", event="@after/3d")


def test_a_name_and_an_id_have_an_end() -> None:
    """What would become a dead letter is refused, with a short message; as much as may be is taken."""
    for given, what in (
        ({"event": "g" * (MAX_NAME + 1)}, f"has {MAX_NAME + 1} characters.*at most {MAX_NAME}"),
        (
            {"event_id": "e" * (MAX_EVENT_ID + 1)},
            f"has {MAX_EVENT_ID + 1} characters.*{MAX_EVENT_ID}",
        ),
    ):
        with pytest.raises(ValueError, match=what) as raised:
            event_record("orders", **{"workflow_id": "o-1", "event": "begin"} | given)
        assert len(str(raised.value)) < 200
    name, event_id = "g" * MAX_NAME, "e" * MAX_EVENT_ID
    record = event_record("orders", workflow_id="o-1", event=name, event_id=event_id)
    assert orjson.loads(record.value or b"")["event"] == name
    numbered: Any = {"event_id": 7}
    record = event_record("orders", workflow_id="o-1", event="begin", **numbered)
    assert orjson.loads(record.value or b"")["id"] == 7


async def test_many_records_go_in_batches(shelf: Shelf) -> None:
    """Many records keep their order, and a write takes a batch of them."""
    log = SlowLog(shelf)
    log.go.set()
    records = [outgoing("orders", "o-1") for _ in range(BATCH + 1)]
    positions = await publisher(log).publish_many(iter(records))
    assert log.writes == [BATCH, 1]
    assert [position.offset for position in positions] == list(range(BATCH + 1))


async def test_calls_at_the_same_time_share_a_write(shelf: Shelf) -> None:
    """The first call writes at once; those that come meanwhile write together, each gets its own."""
    log = SlowLog(shelf)
    events = publisher(log)
    placed: dict[int, list[Position]] = {}

    async def one(number: int) -> None:
        placed[number] = await events.append([outgoing("orders", f"o-{number}")])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, 0)
        await anyio.wait_all_tasks_blocked()
        for number in range(1, 10):
            tasks.start_soon(one, number)
        await anyio.wait_all_tasks_blocked()
        log.go.set()
    assert log.writes == [1, 9]
    for number, (position,) in placed.items():
        record: Record = shelf.broker.line(position[:2])[position.offset]
        assert record.key == f"o-{number}".encode()


async def test_a_write_is_limited(shelf: Shelf) -> None:
    """Calls that together are more than a batch are written in several, in their order."""
    log = SlowLog(shelf)
    events = publisher(log)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(events.append, [outgoing("orders", "o")] * (BATCH - 1))
        await anyio.wait_all_tasks_blocked()
        log.go.set()
    assert log.writes == [BATCH - 1] * 3


async def test_a_call_cancelled_before_its_turn_writes_nothing(shelf: Shelf) -> None:
    """A cancelled call leaves the queue; the one under way is finished, and others go on."""
    log = SlowLog(shelf)
    events = publisher(log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(events.append, [outgoing("orders", "first")])
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(_cancelled, events, "cancelled")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(events.append, [outgoing("orders", "last")])
        await anyio.wait_all_tasks_blocked()
        log.go.set()
    assert {record.key for record in shelf.records("orders")} == {b"first", b"last"}


async def test_a_write_under_way_is_not_cancelled(shelf: Shelf) -> None:
    """Whoever makes the write may be cancelled meanwhile: those who wait beside it lose nothing."""
    log = SlowLog(shelf)
    events = publisher(log)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancelled, events, "first")
        await anyio.wait_all_tasks_blocked()
        log.go.set()
    assert [record.key for record in shelf.records("orders")] == [b"first"]


async def test_a_failed_write_fails_for_all_of_it(shelf: Shelf) -> None:
    """Every call of a write that failed hears of it, and the next write is a new one."""
    shelf.broker.faults.publishes.append(Ending.NOT_COMMITTED)
    events = publisher(shelf.log)
    with pytest.raises(NotCommitted):
        await events.append([outgoing("orders", "o-1")])
    with pytest.raises(UnknownTopic):
        await events.append([outgoing("nowhere", "o-1")])
    await events.append([outgoing("orders", "o-1")])
    assert len(shelf.records("orders")) == 1


class MistakenLog(SlowLog):
    """A log whose writes end in a mistake of its own."""

    async def publish(self, records: Sequence[Outgoing]) -> list[Position]:
        await self.go.wait()
        raise KeyError(len(records))


async def test_a_mistake_in_a_shared_write_is_unknown_to_its_neighbours(shelf: Shelf) -> None:
    """Whoever made the write hears of the mistake; the others that nobody knows whether it happened."""
    log = MistakenLog(shelf)
    events = publisher(log)
    heard: list[type[BaseException]] = []

    async def call(key: str) -> None:
        try:
            await events.append([outgoing("orders", key)])
        except (KeyError, Unknown) as error:
            heard.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, "a")
        await anyio.wait_all_tasks_blocked()
        for key in "bc":
            tasks.start_soon(call, key)
        await anyio.wait_all_tasks_blocked()
        log.go.set()
    assert heard == [KeyError, KeyError, Unknown]
