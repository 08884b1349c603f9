"""The log in memory beside the contract: faults on demand, and takeovers at every await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from event_center.errors import Fenced, LogError, NotCommitted, Unknown
from event_center.failpoint import Step, install
from event_center.log.kafka import options
from event_center.log.memory import (
    MAX_EVENT_BYTES,
    Ending,
    Faults,
    MemoryBroker,
    MemoryLog,
)
from event_center.log.port import TOO_LARGE, Assigned, Group, Lost, Revoked
from event_center.model import Outgoing, Position, Shard, Token
from tests.log.harness import clock, entries_of, flat, joined, numbered, puts, restored, values_of

HISTORY = Outgoing("history", b"k", b"v", partition=0)


@pytest_asyncio.fixture
async def broker() -> MemoryBroker:
    """A broker that keeps cuts."""
    return MemoryBroker(keep_cuts=True, handover_timeout_s=60.0)


@pytest_asyncio.fixture
async def log(broker: MemoryBroker) -> AsyncIterator[MemoryLog]:
    """A log on it with two topics."""
    opened = MemoryLog(broker, clock=clock)
    await opened.create({"orders": 4, "history": 4})
    yield opened
    await opened.close()


async def assigned(group: Group) -> Token:
    """The next change is an assignment; its token."""
    change = await group.changes()
    assert isinstance(change, Assigned)
    return change.token


def test_it_takes_what_kafka_takes() -> None:
    """So a test on the log in memory finds what would stand still on Kafka."""
    broker = MemoryBroker()
    assert broker.max_event_bytes == options.MAX_EVENT_BYTES
    assert broker.max_record_bytes == options.MAX_RECORD_BYTES


class TestSizes:
    async def test_the_topic_is_named(self, log: MemoryLog, broker: MemoryBroker) -> None:
        """Who is refused learns which topic it was for, whatever else would have gone wrong."""
        large = Outgoing("history", b"k", b"x" * options.MAX_RECORD_BYTES, partition=0)
        group = await log.join(["orders"], 1)
        lease = await group.lease(Shard(0), await assigned(group))
        broker.faults.commits.append(Ending.WRITTEN_LATER)
        for refused in (lease.commit(puts({b"a": b"1"}, large)), log.publish([large])):
            with pytest.raises(NotCommitted, match="1000001 bytes") as error:
                await refused
            assert error.value.topic == "history"
        assert len(broker.faults.commits) == 1

    async def test_a_log_that_takes_more(self) -> None:
        """The twin: the limit is the broker's."""
        log = MemoryLog(MemoryBroker(max_event_bytes=2 * MAX_EVENT_BYTES), clock=clock)
        await log.create({"history": 1})
        large = Outgoing("history", b"k", b"x" * options.MAX_RECORD_BYTES, partition=0)
        assert await log.publish([large]) == [Position("history", 0, 0)]

    @pytest.mark.parametrize("most", [MAX_EVENT_BYTES, 2 * MAX_EVENT_BYTES])
    async def test_an_event_that_is_too_large_is_a_note_of_its_size(self, most: int) -> None:
        """Others may write larger ones; whoever reads finds them whole. The twin takes them in."""
        broker = MemoryBroker(max_event_bytes=most)
        log = MemoryLog(broker, clock=clock)
        await log.create({"orders": 1})
        over = MAX_EVENT_BYTES + 1
        large = Outgoing("orders", b"k", b"x" * (over - 1), (), 0)
        headed = Outgoing("orders", b"k", b"v", (("h", b"x" * (over - 13)),), 0)
        whole = [*numbered("orders", 1), large, headed, *numbered("orders", 1)]
        broker.append(whole, clock())
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            found = flat(await member.fetched(4), "orders", 0)
        noted = None if most > MAX_EVENT_BYTES else b"%d" % over
        assert [dict(one.headers).get(TOO_LARGE) for one in found] == [None, noted, noted, None]
        assert await values_of(log, "orders") == [one.value for one in whole]


class TestCommitFaults:
    @pytest.mark.parametrize(
        ("ending", "raised", "now", "later"),
        [
            (Ending.NOT_COMMITTED, NotCommitted, False, False),
            (Ending.WRITTEN, Unknown, True, True),
            (Ending.LOST, Unknown, False, False),
            (Ending.WRITTEN_LATER, Unknown, False, True),
            (Ending.LOST_LATER, Unknown, False, False),
        ],
    )
    async def test_endings(
        self,
        *,
        log: MemoryLog,
        broker: MemoryBroker,
        ending: Ending,
        raised: type[LogError],
        now: bool,
        later: bool,
    ) -> None:
        """Each ending writes when it says: at once, when the next lease decides, or never."""
        group = await log.join(["orders"], 1)
        token = await assigned(group)
        lease = await group.lease(Shard(0), token)
        broker.faults.commits.append(ending)
        with pytest.raises(raised):
            await lease.commit(puts({b"a": b"1"}, HISTORY))
        assert await entries_of(log, 0) == ({b"a": b"1"} if now else {})
        newer = await group.lease(Shard(0), token)
        assert await restored(newer) == ({b"a": b"1"} if later else {})
        assert await values_of(log, "history") == ([b"v"] if later else [])
        assert len(broker.cuts) == later
        await newer.commit(puts({b"a": b"2"}))
        assert await entries_of(log, 0) == {b"a": b"2"}

    async def test_endings_of_publish(self, log: MemoryLog, broker: MemoryBroker) -> None:
        """A publish can end NotCommitted, or Unknown with or without its records."""
        broker.faults.publishes.extend([Ending.NOT_COMMITTED, Ending.LOST, Ending.WRITTEN])
        for raised, written in ((NotCommitted, 0), (Unknown, 0), (Unknown, 1)):
            with pytest.raises(raised):
                await log.publish([HISTORY])
            assert await log.watermark("history", 0) == written
        assert await log.publish([HISTORY]) == [Position("history", 0, 1)]

    async def test_faults_of_one_log(self, broker: MemoryBroker, log: MemoryLog) -> None:
        """A log that has its own faults shares none with the others."""
        other = MemoryLog(broker, clock=clock, faults=Faults())
        other.faults.publishes.append(Ending.NOT_COMMITTED)
        await log.publish([HISTORY])
        with pytest.raises(NotCommitted):
            await other.publish([HISTORY])


class TestFetchFaults:
    async def test_repeated(self, log: MemoryLog, broker: MemoryBroker) -> None:
        """A faulty log delivers a batch again, then goes on where it was."""
        await log.publish(numbered("orders", 6))
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            first = await member.group.fetch(member.tokens, 3)
            broker.faults.repeats = 2
            again = [await member.group.fetch(member.tokens, 3) for _ in range(2)]
            assert again == [first, first]
            rest = await member.group.fetch(member.tokens, 3)
        assert [record.offset for record in flat(rest, "orders", 0)] == [3, 4, 5]

    @pytest.mark.parametrize("leased", [False, True])
    async def test_repeated_behind_a_gate_that_was_opened_anew(
        self, log: MemoryLog, broker: MemoryBroker, *, leased: bool
    ) -> None:
        """No record is passed over: what another gate has delivered comes when it is its turn."""
        await log.publish(numbered("orders", 6))
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            await member.group.fetch(member.tokens, 3)
            await member.group.fetch(member.tokens, 3)
            if leased:
                member.leases[Shard(0)] = await member.group.lease(
                    Shard(0), member.tokens[Shard(0)]
                )
            await member.leases[Shard(0)].open_gate({"orders": 1})
            broker.faults.repeats = 1
            found = [await member.group.fetch(member.tokens, 3) for _ in range(2)]
        offsets = [[record.offset for record in flat(one, "orders", 0)] for one in found]
        assert offsets == [[1, 2, 3], [1, 2, 3]]

    @pytest.mark.looptime
    async def test_delayed(self, log: MemoryLog, broker: MemoryBroker) -> None:
        """A delayed fetch loses nothing, also when it is given up."""
        await log.publish(numbered("orders", 3))
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            broker.faults.fetch_delay_s = 5.0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(4.0):
                    await member.group.fetch(member.tokens, 3)
            began = asyncio.get_running_loop().time()
            found = await member.group.fetch(member.tokens, 3)
            assert asyncio.get_running_loop().time() - began == pytest.approx(5.0, abs=0.1)
        assert len(flat(found, "orders", 0)) == 3


class TestTakeovers:
    @pytest.mark.parametrize(
        "place", ["commit.begun", "commit.written", "open_gate", "restore", "restored", "release"]
    )
    async def test_at_every_await(self, broker: MemoryBroker, log: MemoryLog, place: str) -> None:
        """Whenever another member takes over, a cut is there for it or is never written."""
        group = await log.join(["orders"], 1)
        lease = await group.lease(Shard(0), await assigned(group))
        await lease.commit(puts({b"a": b"1"}))
        found: list[dict[bytes, bytes]] = []
        other = MemoryLog(broker, clock=clock, faults=Faults())

        async def take_over(name: str) -> None:
            if name != place or found:
                return
            log.crash()
            owner = await other.join(["orders"], 1)
            found.append(await restored(await owner.lease(Shard(0), await assigned(owner))))

        broker.faults.on_await = take_over
        written = [b"1"]
        try:
            await restored(lease)
            await lease.open_gate({})
            for number in (b"2", b"3"):
                written.append(number)
                await lease.commit(puts({b"a": number}))
            await lease.release()
        except Fenced:
            if place == "commit.begun":
                written.pop()
        assert found == [{b"a": written[-1] if place != "commit.written" else b"2"}]
        assert await entries_of(other, 0) == found[0]
        await other.close()

    async def test_expelled(self, log: MemoryLog) -> None:
        """A member that is thrown out is told Lost, and comes back with greater tokens."""
        group = await log.join(["orders"], 2)
        tokens = [await assigned(group), await assigned(group)]
        lease = await group.lease(Shard(0), tokens[0])
        log.expel()
        assert await group.changes() == Lost(shard=Shard(0))
        assert await group.changes() == Lost(shard=Shard(1))
        await lease.commit(puts({b"a": b"1"}))
        with pytest.raises(Fenced):
            await group.lease(Shard(0), tokens[0])
        log.readmit()
        newer = [await assigned(group), await assigned(group)]
        assert min(newer) > max(tokens)
        await group.lease(Shard(0), newer[0])
        with pytest.raises(Fenced):
            await lease.commit(puts({b"a": b"2"}))

    @pytest.mark.looptime
    async def test_handover_in_time(self, broker: MemoryBroker, log: MemoryLog) -> None:
        """A member that does not release what was revoked loses it after the handover timeout."""
        group = await log.join(["orders"], 2)
        leases = [await group.lease(Shard(n), await assigned(group)) for n in (0, 1)]
        other = MemoryLog(broker, clock=clock)
        began = asyncio.get_running_loop().time()
        second = await other.join(["orders"], 2)
        assert await group.changes() == Revoked(shard=Shard(1))
        token = await assigned(second)
        assert asyncio.get_running_loop().time() - began == pytest.approx(60.0, abs=0.1)
        await second.lease(Shard(1), token)
        with pytest.raises(Fenced):
            await leases[1].commit(puts({b"a": b"1"}))
        await leases[0].commit(puts({b"a": b"1"}))
        await other.close()


class TestAudit:
    async def test_kept_cuts(self, broker: MemoryBroker, log: MemoryLog) -> None:
        """Every cut that became durable is kept, with its epoch and where its records lie."""
        group = await log.join(["orders"], 1)
        lease = await group.lease(Shard(0), await assigned(group))
        await log.publish([HISTORY])
        cut = puts({b"a": b"1", b"b": None}, HISTORY, orders=3)
        await lease.commit(cut)
        (kept,) = broker.cuts
        assert kept[:3] == (0, 0, 1)
        assert kept[4:] == (cut.entries, [Position("history", 0, 1)], {"orders": 3})
        assert broker.offsets(Shard(0)) == {"orders": 3}

    async def test_steps_of_a_cut(self, log: MemoryLog) -> None:
        """A cut passes the same numbered steps as in a real log."""
        group = await log.join(["orders"], 1)
        lease = await group.lease(Shard(0), await assigned(group))
        steps: list[Step] = []
        install(steps.append)
        try:
            await lease.commit(puts({b"a": b"1"}))
        finally:
            install(None)
        assert steps == [Step.LOG_BEGUN, Step.LOG_WRITTEN, Step.LOG_COMMITTED]
