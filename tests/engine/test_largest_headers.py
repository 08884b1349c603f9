"""Headers with long names, and many short ones: what is written of their events is what brokers take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from event_center.log import sizes
from event_center.log.kafka.wanted import DEFAULT_BYTES
from event_center.log.memory import MAX_EVENT_BYTES
from event_center.model import Headers
from tests.engine.test_largest_records import MOST, begun, goes_on, settled, world_with
from tests.engine.world import EVENTS, OWN, World
from tests.log.batches import batch_bytes, counted_in_characters

NAMES: dict[str, Callable[[int], Headers]] = {
    "a long name": lambda size: (("\u00e9" * (size // 2), b""),),
    "short names": lambda size: (("a", b""),) * (size // 11),
    "as many as a broker takes": lambda size: (("a", b""),) * (size // 3),
}
"""Headers of about so many bytes."""


def largest_batch(world: World) -> int:
    """What a Kafka broker would count of the largest record that the center wrote."""
    own = ("inbox", "history", "dead_letters")
    lines = [world.broker.line((getattr(OWN, name), n)) for name in own for n in range(2)]
    return max(batch_bytes(*record[2:]) for line in lines for record in line)


@pytest.mark.parametrize("value", [b"none", b"{}", b'{"workflow_id":"w","event":"go"}'])
@pytest.mark.parametrize("size", [MOST, MAX_EVENT_BYTES + 1_100, 1_048_400])
@pytest.mark.parametrize("way", NAMES)
async def test_names_of_headers(way: str, size: int, value: bytes) -> None:
    """P1: an event has its outcome or its letter, the next event its, and brokers take what is written."""
    headers = NAMES[way](size)
    async with world_with() as world:
        await begun(world)
        for partition in range(2):
            world.put(value, key="w", topic=EVENTS, partition=partition, headers=headers)
        await settled(world)
        await goes_on(world)
        assert largest_batch(world) <= DEFAULT_BYTES


async def test_names_counted_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: so the letter of an event that a broker has taken is one that it takes no more."""
    monkeypatch.setattr(sizes, "size_of", lambda k, v, headers: counted_in_characters(headers))
    async with world_with() as world:
        await begun(world)
        world.put(b"none", key="w", headers=NAMES["a long name"](1_048_400))
        world.broker.max_record_bytes *= 2
        await settled(world)
        assert largest_batch(world) > DEFAULT_BYTES
