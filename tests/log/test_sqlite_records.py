"""What the embedded log keeps and what it lets go: cuts for audits, and retention."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from event_center.log.sqlite import Retention, Rule, SqliteLog, open_sqlite
from event_center.model import Outgoing, Shard
from tests.log.harness import (
    SqliteHarness,
    clock,
    joined,
    numbered,
    puts,
    records_of,
)
from tests.waiting import until_true


class TestAudit:
    async def test_kept_cuts(self, sqlite_harness: SqliteHarness, sqlite_log: SqliteLog) -> None:
        """Every cut is kept with its epoch, its entries in order, and where its records lie."""
        async with await joined(sqlite_log, ["orders"], 1) as member:
            await member.has(0)
            await sqlite_log.publish(numbered("history", 1))
            lease = member.leases[Shard(0)]
            await lease.commit(puts({b"b": b"1", b"a": b"2"}, *numbered("history", 2), orders=3))
            await lease.commit(puts({b"a": None}, *numbered("history", 1, partition=2)))
        connection = sqlite3.connect(sqlite_harness.path)
        execute = connection.execute
        assert execute("SELECT * FROM cuts").fetchall() == [(1, 0, 1, clock()), (2, 0, 1, clock())]
        assert execute("SELECT * FROM cut_entries ORDER BY number, place").fetchall() == [
            (1, 0, b"b", b"1"),
            (1, 1, b"a", b"2"),
            (2, 0, b"a", None),
        ]
        assert execute("SELECT * FROM cut_records ORDER BY number, place").fetchall() == [
            (1, 0, "history", 0, 1),
            (1, 1, "history", 0, 2),
            (2, 0, "history", 2, 0),
        ]
        assert execute("SELECT * FROM cut_offsets").fetchall() == [(1, "orders", 3)]
        connection.close()

    async def test_not_kept(self, tmp_path: Path) -> None:
        """Without `keep_cuts` there is no trace of it."""
        path = tmp_path / "plain.db"
        await (await open_sqlite(path, clock=clock)).close()
        connection = sqlite3.connect(path)
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        assert "records" in names
        assert "cuts" not in names
        connection.close()


class TestRetention:
    @staticmethod
    async def opened(path: Path, **topics: Rule) -> SqliteLog:
        retention = Retention(topics=topics, every_s=0.01, batch=7, pause_s=0.0)
        log = await open_sqlite(path, clock=clock, retention=retention)
        await log.create({"orders": 2, "history": 2, "letters": 1})
        return log

    @staticmethod
    def old(topic: str, count: int, partition: int = 0, *, age_s: int = 1_000) -> list[Outgoing]:
        stamp = clock() - age_s * 1_000
        return [
            record._replace(timestamp_ms=stamp)
            for record in numbered(topic, count, partition=partition)
        ]

    async def test_by_age(self, tmp_path: Path) -> None:
        """Older records go, newer ones stay; watermarks and the next offsets never go back."""
        log = await self.opened(tmp_path / "log.db", history=Rule(max_age_s=500.0))
        await log.publish([*self.old("history", 20), *numbered("history", 5, start=20)])
        await log.publish([*self.old("history", 9, 1), *self.old("letters", 9)])

        async def done() -> bool:
            left = [len(await records_of(log, "history", q)) for q in (0, 1)]
            return left == [5, 0]

        await until_true(done)
        assert [record.offset for record in await records_of(log, "history")] == [*range(20, 25)]
        assert [await log.watermark("history", q) for q in (0, 1)] == [25, 9]
        assert len(await records_of(log, "letters")) == 9
        (position,) = await log.publish(numbered("history", 1, partition=1))
        assert position.offset == 9
        await log.close()

    async def test_by_size(self, tmp_path: Path) -> None:
        """The oldest records go until the topic is no larger than its rule says."""
        log = await self.opened(tmp_path / "log.db", letters=Rule(max_bytes=1_000))
        letters = [Outgoing("letters", None, b"x" * 100) for _ in range(30)]
        await log.publish(letters)

        async def done() -> bool:
            return len(await records_of(log, "letters")) == 10

        await until_true(done)
        await log.publish(letters[:1])
        await until_true(done)
        assert [record.offset for record in await records_of(log, "letters")] == [*range(21, 31)]
        await log.close()

    async def test_never_what_is_not_consumed(self, tmp_path: Path) -> None:
        """Of a consumed topic only records below the committed offset go, however old they are."""
        log = await self.opened(tmp_path / "log.db", orders=Rule(0.0, 0))
        async with await joined(log, ["orders"], 2) as member:
            await member.has(0, 1)
            await log.publish([*self.old("orders", 20), *self.old("orders", 20, 1)])
            await member.leases[Shard(0)].commit(puts({}, orders=12))

            async def done() -> bool:
                return [r.offset for r in await records_of(log, "orders")] == [*range(12, 20)]

            await until_true(done)
            assert len(await records_of(log, "orders", 1)) == 20
            found = await member.fetched(8 + 20)
            assert min(r.offset for b in found if b.partition == 0 for r in b.records) == 12
        await log.close()

    async def test_never_what_a_group_will_read(self, tmp_path: Path) -> None:
        """What was published before the first daemon ran stays until it has been consumed."""
        topics = {"orders": Rule(0.0, 0), "history": Rule(0.0, 0)}
        retention = Retention(topics=topics, consumed=["orders"], every_s=0.01)
        log = await open_sqlite(tmp_path / "log.db", clock=clock, retention=retention)
        await log.create({"orders": 1, "history": 1})
        await log.publish([*self.old("orders", 20), *self.old("history", 20)])

        async def swept() -> bool:
            return not await records_of(log, "history")

        await until_true(swept)
        assert len(await records_of(log, "orders")) == 20
        await log.close()

    async def test_a_gap_is_told(self, tmp_path: Path) -> None:
        """A fetch of records that are all gone says where the reading goes on."""
        log = await self.opened(tmp_path / "log.db", orders=Rule(0.0, 0))
        await log.publish(self.old("orders", 10))

        async def done() -> bool:
            return not await records_of(log, "orders")

        await until_true(done)
        async with await joined(log, ["orders"], 2) as member:
            await member.has(0, 1)
            shard = Shard(0)
            await member.leases[shard].open_gate({})
            [batch] = await member.group.fetch({shard: member.tokens[shard]}, 100)
            assert (batch.records, batch.watermark, batch.after) == ([], 10, 10)
        await log.close()

    async def test_all_removed(self, tmp_path: Path) -> None:
        """A fetch tells of records that are all gone, then goes on with what comes next."""
        log = await self.opened(tmp_path / "log.db", orders=Rule(0.0, 0))
        await log.publish(self.old("orders", 10))
        async with await joined(log, ["orders"], 2) as member:
            await member.has(0, 1)
            lease = member.leases[Shard(0)]
            await lease.commit(puts({}, orders=10))

            async def done() -> bool:
                return not await records_of(log, "orders")

            await until_true(done)
            await lease.open_gate({})
            await log.publish(numbered("orders", 1))
            gap, batch = await member.fetched(1)
            assert (gap.records, gap.after) == ([], 10)
            assert [record.offset for record in batch.records] == [10]
        await log.close()
