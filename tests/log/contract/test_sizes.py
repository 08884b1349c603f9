"""The largest record of a log: it goes through; a larger one is refused, with all beside it."""

from __future__ import annotations

import pytest

from event_center.errors import NotCommitted
from event_center.log.port import Log
from event_center.model import Headers, Outgoing, Shard, size_of
from tests.log.harness import Harness, entries_of, joined, numbered, puts, records_of, values_of

HEADER: Headers = (("name", b"\xff" * 1_000),)


def sized(size: int, topic: str, headers: Headers = ()) -> Outgoing:
    """A record of so many bytes."""
    beside = size_of(b"k", b"", headers)
    return Outgoing(topic, b"k", b"x" * (size - beside), headers, 0)


@pytest.mark.parametrize("headers", [(), HEADER], ids=["value", "headers"])
class TestLargestRecord:
    async def test_published(self, harness: Harness, log: Log, headers: Headers) -> None:
        """A larger one is refused for certain, with those beside it; the next ones are taken."""
        large = sized(harness.too_large, "orders", headers)
        for beside in (numbered("orders", 2), numbered("history", 2)):
            with pytest.raises(NotCommitted):
                await log.publish([beside[0], large, beside[1]])
        assert await log.watermark("orders", 0) == await log.watermark("history", 0) == 0
        fits = sized(harness.largest, "orders", headers)
        await log.publish([fits, *numbered("orders", 1)])
        assert await values_of(log, "orders") == [fits.value, b"0"]

    @pytest.mark.parametrize("topic", ["orders", "history"])
    async def test_in_a_cut(self, harness: Harness, log: Log, headers: Headers, topic: str) -> None:
        """
        Nothing of the cut is there, and it ends the same each time it is tried; the lease stands.

        So a center must never make such a record: its shard would stand still for ever.
        """
        large, fits = (sized(n, topic, headers) for n in (harness.too_large, harness.largest))
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            cut = puts({b"a": b"1"}, *numbered("history", 1), large, orders=1)
            for _ in range(2):
                with pytest.raises(NotCommitted):
                    await lease.commit(cut)
            assert await entries_of(log, 0) == {}
            assert await log.watermark("history", 0) == await log.watermark(topic, 0) == 0
            await lease.commit(puts({b"a": b"2"}, fits, orders=1))
        assert await entries_of(log, 0) == {b"a": b"2"}
        [found] = await records_of(log, topic)
        assert (found.value, found.headers) == (fits.value, headers)
