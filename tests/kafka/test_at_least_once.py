"""Without transactions: the tests of the contract that need none, and a kill between any two steps."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from event_center.client.workflows import show
from event_center.errors import Fenced, NotCommitted, Unknown
from event_center.failpoint import Step
from event_center.log.kafka import KafkaLog
from event_center.log.port import Log
from event_center.model import Outgoing, Shard
from tests.crash import daemon
from tests.kafka.audit import read_cluster, violations
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.kafka.looking import looking
from tests.kafka.project import ORDERS, Project
from tests.kafka.test_faults import EVENTS, Center
from tests.log.contract import test_cut, test_fetch, test_kept, test_lease, test_restore_and_read
from tests.log.harness import Harness, entries_of, joined, puts, restored
from tests.waiting import PATIENCE_S, until_stopped


@pytest_asyncio.fixture
async def harness() -> AsyncIterator[KafkaHarness]:
    """Processes that write without transactions."""
    made = KafkaHarness(bootstrap(), at_least_once=True)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def log(harness: KafkaHarness) -> KafkaLog:
    """One process that has the log open, with the topics of the contract."""
    opened = await harness.open()
    await opened.create({"orders": 4, "history": 4})
    return opened


class TestCut(test_cut.TestCut):
    """All of it but `TestOneMoment`: records are written before the entries of their cut."""


class TestFetch(test_fetch.TestFetch):
    """All of it."""


class TestLease(test_lease.TestLease):
    async def test_fences_the_former_owner(self, harness: Harness, log: Log) -> None:
        """Who is not in the group any more writes nothing."""
        async with await joined(log, ["orders"], 1) as zombie:
            await zombie.has(0)
            lease = zombie.leases[Shard(0)]
            zombie.stop()
            await lease.commit(puts({b"a": b"1"}))
            await harness.crash(log)
            other = await harness.open()
            async with await joined(other, ["orders"], 1) as owner:
                await owner.has(0)
                assert owner.state[Shard(0)] == {b"a": b"1"}

                with pytest.raises(NotCommitted):
                    await lease.commit(puts({b"a": b"2"}))
                await owner.leases[Shard(0)].commit(puts({b"b": b"1"}))
            assert await entries_of(other, 0) == {b"a": b"1", b"b": b"1"}

    async def test_of_a_shard_that_was_given_up(self, harness: KafkaHarness, log: Log) -> None:
        """An owner that does not release what is called back writes nothing once others can have it."""
        del log
        harness.options = replace(harness.options, handover_timeout_s=0.05)
        slow = await harness.open()
        async with await joined(slow, ["orders"], 2) as member:
            await member.has(0, 1)
            member.holding = True
            async with await joined(await harness.open(), ["orders"], 2) as other:
                await other.owns(1)
                [shard] = other.leases
                with pytest.raises(Fenced):
                    await member.leases[shard].commit(puts({b"a": b"late"}))
                await other.leases[shard].commit(puts({b"a": b"1"}))
                assert await entries_of(slow, int(shard)) == {b"a": b"1"}

    async def test_in_a_generation_that_was_not_told(self, harness: KafkaHarness, log: Log) -> None:
        """What the group says counts for the share that was told; later, others may have the shard."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            group: Any = member.group
            membership = group._membership
            told, membership._told = membership._told, membership._told - 1
            with pytest.raises(NotCommitted, match="changes hands"):
                await member.leases[Shard(0)].commit(puts({b"a": b"1"}))
            membership._told = told
            await member.leases[Shard(0)].commit(puts({b"a": b"2"}))
            assert await entries_of(log, 0) == {b"a": b"2"}
        del harness

    async def test_when_it_is_not_certain_any_more(self, harness: KafkaHarness, log: Log) -> None:
        """A step is not begun, and one that lasts is given up, once the group may have gone on."""
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            group: Any = member.group
            certain, now = group._certain_until, asyncio.get_running_loop().time
            for left_s in (-1.0, 1.0):
                lease: Any = member.leases[Shard(0)]
                lease._delivery._producer = Hanging(lease._producer)
                # From when it is asked, however slow the machine is until then.
                group._certain_until = lambda _, left_s=left_s: now() + left_s
                with pytest.raises(Unknown):
                    await lease.commit(puts({b"a": b"1"}))
                assert lease._delivery._producer.asked == (left_s > 0)
                group._certain_until = certain
                newer = await group.lease(Shard(0), member.tokens[Shard(0)])
                assert await restored(newer) == {}
                member.leases[Shard(0)] = newer
        del harness


class Hanging:
    """A producer whose batches never leave."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self.asked = 0

    async def send_batch(self, *_: object, **__: object) -> asyncio.Future[Any]:
        self.asked += 1
        return asyncio.get_running_loop().create_future()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class TestRestore(test_restore_and_read.TestRestore):
    """All of it."""


class TestKept(test_kept.TestKept):
    """All of it."""


class Dies(Exception):
    """Stands for the end of the process."""


Entries = Mapping[bytes, bytes | None]

VALUE = b"x" * 400_000
FIRST: Entries = {b"%d" % n: b"1" + VALUE for n in range(4)} | {b"gone": b"1"}
SECOND: Entries = {b"%d" % n: b"2" + VALUE * n for n in range(1, 5)} | {b"gone": None}
SMALL: Entries = {b"0": b"2", b"4": b"2", b"gone": None}


async def dying(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch, after: int, cut: Entries
) -> list[dict[bytes, bytes]]:
    """A cut is begun and its process dies in the step after so many; what is found then, and later."""
    async with await joined(log, ["orders"], 1) as member:
        await member.has(0)
        lease: Any = member.leases[Shard(0)]
        await lease.commit(puts(FIRST))
        left = itertools.count(after, -1)
        sent = lease._delivery._sent

        async def dies(packed: Any) -> Any:
            if next(left) <= 0:
                if len(packed) > 1:
                    await sent(packed[:1])
                raise Dies
            return await sent(packed)

        monkeypatch.setattr(lease._delivery, "_sent", dies)
        with contextlib.suppress(Dies):
            await lease.commit(puts(cut, Outgoing("history", b"k", b"x", partition=0)))
        newer = await member.group.lease(Shard(0), member.tokens[Shard(0)])
        found = [await entries_of(log, 0), await restored(newer), await entries_of(log, 0)]
        await newer.commit(puts({b"1": b"3"}))
        last = await restored(newer)
        assert last.pop(b"1") == b"3"
        return [*found, last | {b"1": found[0][b"1"]}]


def after_both(cut: Entries) -> dict[bytes, bytes]:
    """The entries after both cuts."""
    return {key: value for key, value in {**FIRST, **cut}.items() if value is not None}


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("cut", [SMALL, SECOND], ids=["small", "large"])
async def test_entries_are_whole(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch, after: int, cut: Entries
) -> None:
    """A cut that was begun is there whole or not at all, whatever it was too large for."""
    found = await dying(log, monkeypatch, after, cut)
    # After its records, of a large cut the journal counts, and of others the only batch.
    assert found == [after_both(cut) if after > 1 else FIRST] * 4


async def test_entries_without_a_journal(log: KafkaLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: where nobody looks at the journal, a part of the cut is there."""
    monkeypatch.setattr("event_center.log.kafka.store.journaled", lambda _: {})
    found = await dying(log, monkeypatch, 2, SECOND)
    assert found[0] not in (FIRST, after_both(SECOND))


RELAYS = 300
"""Their snapshots do not fit one batch of those that hold little: the cut goes through the journal."""
MACHINE = Path(__file__).parent / "machines" / "relay.yaml"
TOPICS = """
delivery = "at_least_once"
instance_id = "only"
[publish]
topics = ["mail"]
[topics.pings]
machine = "relay"
"""


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Project]:
    """A ring of relays in one shard, so that a cut is large."""
    # One that comes back under its id waits for no session; and no step of a cut takes so long.
    made = Project(tmp_path, machines=str(MACHINE), topics=TOPICS, partitions=1, session="30s")
    yield made
    made.close()


async def ping_all(relays: Project) -> None:
    """One ping for every relay, without an id."""
    async with looking(relays) as look:
        names = [f"relay-{number}" for number in range(RELAYS)]
        body = {"event": "ping"}
        await look.log.publish(
            [
                Outgoing("pings", name.encode(), orjson.dumps({"workflow_id": name} | body))
                for name in names
            ]
        )


def run(relays: Project, *arguments: str) -> int:
    """A daemon that ends by itself, or is killed at its step; how it ended."""
    command = [str(relays.settings), "--twin", "cramped", *arguments]
    return relays.started(daemon.main, command).wait(PATIENCE_S)


async def test_killed_between_the_steps(relays: Project) -> None:
    """Whatever step a process dies after, each event moves its workflow once, emitted ones too."""
    kills = [("cut.3.begun", 1), *(("cut.4.written", nth) for nth in (1, 2, 3))]
    for step, nth in kills:
        await ping_all(relays)
        assert run(relays, "--step", step, "--nth", str(nth)) == -signal.SIGKILL, relays.said()
    assert run(relays) == 0, relays.said()
    async with looking(relays) as look:
        last = await look.stats()
        shown = [await show(look.log, look.app, f"relay-{n}") for n in range(0, RELAYS, 17)]
    assert (last["lag"], last["events"]["waiting"]) == (0, 0)
    assert last["events"]["duplicate"] > 0  # emitted again, and recognised by their ids
    assert last["events"]["applied"] == 2 * len(kills) * RELAYS
    counted = [one["data"] for one in shown if one]
    assert counted == [{"pings": len(kills), "pongs": len(kills)}] * len(shown)
    evidence = read_cluster(relays.bootstrap, relays.prefix)
    assert violations(evidence, ["pings"], at_least_once=True) == []
    records = len(evidence.topics["pings"]) + len(evidence.own("inbox"))
    assert last["events"]["read"] == records


@pytest.fixture
def center(tmp_path: Path) -> Iterator[Center]:
    """The order example, written without transactions."""
    topics = f'delivery = "at_least_once"\n{ORDERS}'
    made = Center(tmp_path, topics=topics, session="2s")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("step", "twins"),
    [
        (Step.CUT_BUILT, []),
        (Step.LOG_BEGUN, []),
        (Step.LOG_WRITTEN, []),
        (Step.LOG_WRITTEN, ["--twin", "uncertain"]),
    ],
    ids=["built", "begun", "written", "uncertain"],
)
def test_a_zombie_that_wakes_up(center: Center, step: Step, twins: list[str]) -> None:
    """P6: who stood still in a cut until another had the shard writes nothing of it, at whatever step."""
    center.publish(0, EVENTS)
    zombie = center.at("--step", step, "--nth", "2", "--halt", *twins)
    until_stopped(zombie.pid)
    other = center.at()
    assert other.wait(PATIENCE_S) == 0, center.said()
    os.kill(zombie.pid, signal.SIGCONT)
    ended = zombie.wait(PATIENCE_S)
    # Outcomes that were told before the cut stood still are told again by who decides anew.
    broken = [one for one in asyncio.run(center.broken()) if not one.endswith("outcomes")]
    if twins:
        assert any(one.startswith("P6") for one in broken)
        return
    assert (ended, broken) == (0, [])
    assert center.told("stats")["workflows"]["by_state"]["order"] == {"completed": EVENTS}
