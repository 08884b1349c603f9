"""A log may forget what was overwritten and removed, and no reader of the entries can tell."""

from __future__ import annotations

from event_center.log.port import Kept, Log
from event_center.model import Shard
from tests.log.harness import Harness, entries_of, joined, puts, restored

SHARD = Shard(0)
BROAD = b"x" * 1_000_000
"""As much as no broker takes in one record: such an entry lies in parts, each with a key of its own."""
FIRST = {
    b"same": b"first",
    b"changed": b"first",
    b"removed": b"first",
    b"back": b"first",
    b"large": BROAD * 2 + b"first",
    b"shrunk": BROAD * 2 + b"first",
    b"small now": BROAD + b"first",
    b"large and removed": BROAD + b"first",
    b"large now": b"first",
}
SECOND: dict[bytes, bytes | None] = {
    b"changed": b"second",
    b"removed": None,
    b"back": None,
    b"shrunk": BROAD + b"second",
    b"small now": b"second",
    b"large and removed": None,
    b"large now": BROAD + b"second",
    b"came and went": b"second",
}
THIRD: dict[bytes, bytes | None] = {
    b"back": b"third",
    b"came and went": None,
    b"large now": BROAD + b"third",
}
LEFT = {
    b"same": b"first",
    b"changed": b"second",
    b"back": b"third",
    b"large": BROAD * 2 + b"first",
    b"shrunk": BROAD + b"second",
    b"small now": b"second",
    b"large now": BROAD + b"third",
}
LATER: dict[bytes, bytes | None] = {b"large": b"fourth", b"small now": None, b"removed": b"fourth"}
AT_LAST = {**LEFT, b"large": b"fourth", b"removed": b"fourth"}
del AT_LAST[b"small now"]


class TestCompaction:
    async def test_only_what_counts_is_left(self, harness: Harness, log: Log) -> None:
        """A restore, with what was kept before the removals too, and a read have the last entries."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[SHARD]
            await lease.commit(puts(dict(FIRST)))
            kept = Kept(await restored(lease), lease.mark)
            await lease.commit(puts(SECOND))
            await lease.commit(puts(THIRD))
            kept = await harness.compact(kept)
            assert await entries_of(log, 0) == LEFT
            assert {key: await log.entry(SHARD, key) for key in FIRST} == {
                key: LEFT.get(key) for key in FIRST
            }
            again = await member.group.lease(SHARD, member.tokens[SHARD])
            assert await restored(again) == LEFT
            last = await member.group.lease(SHARD, member.tokens[SHARD])
            assert await restored(last, kept) == LEFT
            await last.commit(puts(LATER))
            await harness.compact(kept)
            member.stop()
            await harness.crash(log)
        async with await joined(await harness.open(), ["orders"], 1) as member:
            await member.has(0)
            assert member.state[SHARD] == AT_LAST
