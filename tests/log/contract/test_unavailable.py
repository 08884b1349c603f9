"""A log that can not be reached for a while: each call says so as the port does, and works again later."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import pytest

from event_center.errors import LogUnavailable, NotCommitted, Unknown
from event_center.log.port import Log
from event_center.model import Shard
from tests.log.harness import Harness, Member, joined, numbered, puts, restored

READS: dict[str, Callable[[Member], Awaitable[object]]] = {
    "describe": lambda member: member.log.describe(),
    "look": lambda member: member.group.look(),
    "open_gate": lambda member: member.leases[Shard(0)].open_gate({}),
    "restore": lambda member: restored(member.leases[Shard(0)]),
    "topics": lambda member: member.log.topics(),
    "watermarks": lambda member: member.group.watermarks(Shard(0)),
}
"""What only reads."""
WRITES: dict[str, Callable[[Member], Awaitable[object]]] = {
    "join": lambda member: member.log.join(["orders"], 1),
    "lease": lambda member: member.group.lease(Shard(0), member.tokens[Shard(0)]),
}
"""What a log notes, so that it may not know whether it has."""


class TestUnavailable:
    @pytest.mark.parametrize("call", sorted(READS))
    async def test_a_read(self, harness: Harness, log: Log, call: str) -> None:
        """It raises LogUnavailable, and the same call works again: the lease has lost nothing by it."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            await member.leases[Shard(0)].commit(puts({b"a": b"1"}))
            async with harness.away(log):
                with pytest.raises(LogUnavailable):
                    await READS[call](member)
            await READS[call](member)
            await member.leases[Shard(0)].commit(puts({b"a": b"2"}))
            assert await restored(member.leases[Shard(0)]) == {b"a": b"2"}

    @pytest.mark.parametrize("call", sorted(WRITES))
    async def test_what_is_noted(self, harness: Harness, log: Log, call: str) -> None:
        """It does not wait for the log: it raises at once what says to ask again, and then works."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            async with harness.away(log):
                with pytest.raises((LogUnavailable, NotCommitted, Unknown)):
                    await WRITES[call](member)
            await WRITES[call](member)

    async def test_a_cut(self, harness: Harness, log: Log) -> None:
        """It ends NotCommitted or Unknown, and the next lease tells the answer."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            async with harness.away(log):
                with pytest.raises((NotCommitted, Unknown)):
                    await member.leases[Shard(0)].commit(puts({b"a": b"1"}))
            newer = await member.group.lease(Shard(0), member.tokens[Shard(0)])
            assert await restored(newer) == {}
            await newer.commit(puts({b"a": b"2"}))

    async def test_fetches_lose_nothing(self, harness: Harness, log: Log) -> None:
        """A fetch that raises has taken no record: the next ones bring all of them, in order."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            await log.publish(numbered("orders", 3))
            found = []
            async with harness.away(log):
                with contextlib.suppress(LogUnavailable):
                    found += await member.group.fetch(member.tokens, 2)
            while sum(len(batch.records) for batch in found) < 3:
                found += await member.group.fetch(member.tokens, 2)
        assert [record.offset for batch in found for record in batch.records] == [0, 1, 2]
