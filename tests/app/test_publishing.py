"""Publishers for programs: durable, by name of topic, from asyncio and from threads."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from event_center import Publisher, SyncPublisher
from event_center.app.opening import open_log
from event_center.app.settings import Settings, load_settings
from event_center.errors import ConfigurationError, UnknownTopic
from event_center.model import Position

EVENTS: list[dict[str, Any]] = [
    {"workflow_id": "o-1", "event": "begin"},
    {"workflow_id": "o-1", "event": "end", "payload": {"n": 1}, "id": "e-2"},
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file with one topic."""
    path = tmp_path / "event-center.toml"
    path.write_text('[topics.orders]\nmachine = "order"\n[publish]\ntopics = ["mail"]\n')
    return path


async def _values(settings: Settings) -> list[bytes | None]:
    log = await open_log(settings)
    try:
        return [record.value async for batch in log.read("orders", 0) for record in batch]
    finally:
        await log.close()


async def test_what_was_returned_is_durable(config: Path) -> None:
    """Events are in the log, in their order, once the call has returned and for every process."""
    async with Publisher.open(config) as publisher:
        first = await publisher.publish("orders", workflow_id="o-1", event="begin", id="e-1")
        assert first == Position("orders", 0, 0)
        assert await publisher.publish_many("orders", EVENTS) == [
            Position("orders", 0, 1),
            Position("orders", 0, 2),
        ]
        values = await _values(load_settings(config))
    assert len(values) == 3
    assert b'"id":"e-1"' in (values[0] or b"")
    assert b'"payload":{"n":1}' in (values[2] or b"")


async def test_settings_made_in_code(tmp_path: Path) -> None:
    """Settings and overrides are taken instead of a file."""
    overrides = {
        "log": {"path": str(tmp_path / "x.db")},
        "topics": {"orders": {"machine": "order"}},
    }
    async with Publisher.open(load_settings(None, overrides)) as publisher:
        await publisher.publish("orders", workflow_id="o-1", event="begin")
    assert (tmp_path / "x.db").is_file()


async def test_many_at_once(config: Path) -> None:
    """Any number of asyncio tasks may share a publisher: nothing is lost."""
    async with Publisher.open(config) as publisher, anyio.create_task_group() as tasks:
        for number in range(200):

            async def one(number: int = number) -> None:
                await publisher.publish("orders", workflow_id=f"o-{number}", event="begin")

            tasks.start_soon(one)
    assert len(await _values(load_settings(config))) == 200


@pytest.mark.parametrize("topic", ["order", "event-center.inbox"])
async def test_a_topic_nobody_reads(config: Path, topic: str) -> None:
    """A topic that the settings do not name is refused, with the one that was probably meant."""
    async with Publisher.open(config) as publisher:
        with pytest.raises(UnknownTopic, match="orders"):
            await publisher.publish(topic, workflow_id="o-1", event="begin")
        with pytest.raises(UnknownTopic):
            await publisher.publish_many(topic, EVENTS)
        await publisher.publish("mail", workflow_id="o-1", event="sent")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"workflow_id": "o-1"}, "lacks"),
        ({"workflow_id": "o-1", "event": "e", "data": 1}, "unknown keys"),
        ({"workflow_id": "", "event": "e"}, "workflow_id"),
    ],
)
async def test_an_event_that_is_none(config: Path, event: dict[str, object], said: str) -> None:
    """An event that no center could read is refused before it is written."""
    async with Publisher.open(config) as publisher:
        with pytest.raises(ValueError, match=said):
            await publisher.publish_many("orders", [event])
    assert await _values(load_settings(config)) == []


def test_from_threads(config: Path) -> None:
    """Plain threads share a publisher without an event loop of their own."""
    with SyncPublisher.open(config) as publisher:

        def one(number: int) -> None:
            publisher.publish("orders", workflow_id=f"o-{number}", event="begin")

        threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        positions = publisher.publish_many("orders", EVENTS)
        assert [position.offset for position in positions] == [8, 9]
        with pytest.raises(UnknownTopic):
            publisher.publish("order", workflow_id="o-1", event="begin")


def test_wrong_settings_from_a_thread(tmp_path: Path) -> None:
    """An error while opening comes out as it is, and leaves no thread behind."""
    before = threading.active_count()
    with (
        pytest.raises(ConfigurationError),
        SyncPublisher.open(tmp_path / "none.toml"),
    ):
        pass
    assert threading.active_count() == before
