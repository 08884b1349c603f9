"""
The log beside a model of it: dicts and lists, on which every engine must agree after any history.

The model has no processes, files or transactions: what was written is there, in order, and a lease that
is not the last one writes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.errors import Fenced, NotCommitted, Unknown
from event_center.log.port import Assigned, Cut, Group, Lease, Log
from event_center.model import Outgoing, Shard, Token
from tests.log.harness import (
    Harness,
    MemoryHarness,
    SqliteHarness,
    entries_of,
    flat,
    puts,
    restored,
    values_of,
)

SHARDS = 2
TOPICS = {"orders": SHARDS, "history": SHARDS}
SHARD = st.integers(0, SHARDS - 1).map(Shard)
VALUES = st.lists(st.binary(max_size=3), max_size=3)
ENTRIES = st.dictionaries(
    st.sampled_from((b"a", b"b", b"c\x00d", b"\xff")), st.none() | st.binary(max_size=3)
)


class Step(NamedTuple):
    """One thing that is done to the log."""

    kind: str
    shard: Shard
    entries: dict[bytes, bytes | None]
    values: list[bytes]


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ("publish", "cut", "cut", "late", "refused", "lost", "written", "lease", "fetch")
        ),
        SHARD,
        ENTRIES,
        VALUES,
    ),
    max_size=15,
)


class Beside:
    """A log with one member, and the model of both."""

    def __init__(self, harness: Harness) -> None:
        self.stores: dict[Shard, dict[bytes, bytes]] = {Shard(n): {} for n in range(SHARDS)}
        self.lines: dict[tuple[str, int], list[bytes]] = {
            (topic, n): [] for topic in TOPICS for n in range(SHARDS)
        }
        self._harness = harness
        self._log: Log
        self._group: Group
        self._tokens: dict[Shard, Token] = {}
        self._leases: dict[Shard, Lease] = {}
        self._former: dict[Shard, Lease] = {}

    async def open(self) -> None:
        """Join, and take every shard."""
        self._log = await self._harness.open()
        await self._log.create(TOPICS)
        self._group = await self._log.join(["orders"], SHARDS)
        for _ in range(SHARDS):
            change = await self._group.changes()
            assert isinstance(change, Assigned)
            self._tokens[change.shard] = change.token
            self._leases[change.shard] = await self._group.lease(change.shard, change.token)

    async def do(self, step: Step) -> None:
        """Do a step to both; how it ends is part of the promise."""
        does: Callable[[Step], Any] = getattr(self, f"_{step.kind}")
        await does(step)

    async def agree(self) -> None:
        """Everything durable is what the model has, read with a lease and without."""
        for (topic, partition), values in self.lines.items():
            assert await values_of(self._log, topic, partition) == values
            assert await self._log.watermark(topic, partition) == len(values)
        for shard, store in self.stores.items():
            assert await entries_of(self._log, shard) == store
            assert await restored(self._leases[shard]) == store
            for key in (b"a", b"\xff"):
                assert await self._log.entry(shard, key) == store.get(key)

    async def _publish(self, step: Step) -> None:
        records = [Outgoing("orders", b"k", value, (), step.shard) for value in step.values]
        line = self.lines["orders", step.shard]
        places = await self._log.publish(records)
        assert [one.offset for one in places] == [*range(len(line), len(line) + len(places))]
        line.extend(step.values)

    def _cut_of(self, step: Step) -> Cut:
        records = [Outgoing("history", b"k", value, (), step.shard) for value in step.values]
        return puts(step.entries, *records, orders=0)

    def _applied(self, step: Step) -> None:
        store = self.stores[step.shard]
        for key, value in step.entries.items():
            store.pop(key, None)
            if value is not None:
                store[key] = value
        self.lines["history", step.shard].extend(step.values)

    async def _cut(self, step: Step) -> None:
        await self._leases[step.shard].commit(self._cut_of(step))
        self._applied(step)

    async def _late(self, step: Step) -> None:
        if step.shard in self._former:
            with pytest.raises((Fenced, Unknown)):
                await self._former[step.shard].commit(self._cut_of(step))

    async def _refused(self, step: Step) -> None:
        with_entries = step._replace(entries={**step.entries, b"a": b"1"})
        await self._harness.refuse_next_cut(self._log)
        with pytest.raises(NotCommitted):
            await self._leases[step.shard].commit(self._cut_of(with_entries))
        await self._cut(with_entries)

    async def _lost(self, step: Step, *, written: bool = False) -> None:
        await self._harness.lose_next_cut(self._log, written=written)
        with pytest.raises(Unknown):
            await self._leases[step.shard].commit(self._cut_of(step))
        await self._lease(step)
        if written:
            self._applied(step)

    async def _written(self, step: Step) -> None:
        await self._lost(step, written=True)

    async def _lease(self, step: Step) -> None:
        shard = step.shard
        self._former[shard] = self._leases[shard]
        self._leases[shard] = await self._group.lease(shard, self._tokens[shard])

    async def _fetch(self, step: Step) -> None:
        """Whatever the gate is opened at, the rest comes, in order and once."""
        shard, line = step.shard, self.lines["orders", step.shard]
        start = min(len(step.values), len(line))
        await self._lease(step)
        await self._leases[shard].open_gate({"orders": start})
        found: list[bytes | None] = []
        while len(found) < len(line) - start:
            batches = await self._group.fetch({shard: self._tokens[shard]}, 2)
            found += [record.value for record in flat(batches, "orders", shard)]
        assert found == line[start:]


async def _history(harness: Harness, steps: list[Step]) -> None:
    beside = Beside(harness)
    try:
        await beside.open()
        for step in steps:
            await beside.do(step)
        await beside.agree()
    finally:
        await harness.close()


@given(STEPS)
def test_the_log_in_memory_is_its_model(steps: list[Step]) -> None:
    """Any history of publishing, cuts, leases and failures leaves what it leaves in the model."""
    with asyncio.Runner() as runner:
        runner.run(_history(MemoryHarness(), steps))


@given(steps=STEPS)
def test_the_embedded_log_is_its_model(
    steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same on a file: a cut that ended unknown is there whole or not at all, as its error said."""
    folder: Path = tmp_path_factory.mktemp("log")
    with asyncio.Runner() as runner:
        runner.run(_history(SqliteHarness(folder), steps))
