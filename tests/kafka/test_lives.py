"""The promises on Kafka across kill -9: at every await of its log, at every numbered step, in the group."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from event_center.failpoint import Step
from event_center.model import Outgoing
from tests.crash.awaits import awaits_in
from tests.kafka.audit import read_cluster, violations
from tests.kafka.lives import Lives
from tests.kafka.looking import looking
from tests.kafka.project import ORDERS
from tests.waiting import until_stopped

WORKFLOWS = 24
PEACEFUL = 4
"""So many lives in a row that meet none of the awaits left: nothing waits there."""

OUTSIDE = "a client, or an operator, asks from outside of any shard: no part of a record's way"
TROUBLE = "a cluster in trouble: nothing is read or written here; tests/kafka/test_faults.py has such days"
RARE = "seldom waits, or late: the client knows the answer by then, or has it asked by another part"
LAG = "the offsets shown to tools: nobody restores them"

ELSEWHERE = {
    "access": "connecting: what asks for a token has not sent anything yet",
    "tokens": "connecting: what asks for a token has not sent anything yet",
    "diagnosis": "why a cluster refuses: nothing is read or written by who asks that",
    "inspection": OUTSIDE,
    "metadata": OUTSIDE,
    "note": OUTSIDE,
}
"""Modules whose awaits are no part of a record's way, and why."""

TABLE = {
    "catalog.py Catalog._ask_anyone: bounded(self._client.send(node, TopicsRequest()), "
    "self.options.call_s)": TROUBLE,
    "catalog.py Catalog._look: self._clients.explained(error)": TROUBLE,
    "catalog.py Catalog._wait_for_leaders: self._look()": RARE,
    "catalog.py Catalog.check: self.partitions(topic)": OUTSIDE,
    "catalog.py Catalog.copies: self._look()": OUTSIDE,
    "catalog.py Catalog.counts: self._look()": "every ten seconds it only looks",
    "catalog.py Catalog.partitions: self._look()": RARE,
    "client.py Clients._described: admin.describe_consumer_groups([self.options.group_id])": OUTSIDE,
    "client.py Clients._started: self.explained(error)": TROUBLE,
    "client.py Clients._stop: _cut_off(client)": TROUBLE,
    "client.py Clients._stop: _cut_off(client) #2": TROUBLE,
    "client.py Clients._enters_whole.entered: asyncio.shield(task)": (
        "connecting: who starts the client waits for it, and dies there"
    ),
    "client.py Clients._stop: asyncio.wait([entering], timeout=STOP_S)": TROUBLE,
    "client.py Clients.disposed: asyncio.wait(late)": TROUBLE,
    "client.py Clients.explained: diagnosed(self.options.bootstrap, self.options.access)": TROUBLE,
    "client.py Clients._described: asyncio.sleep(AGAIN_S)": OUTSIDE,
    "client.py Clients.members: bounded(self._described(admin), self.options.call_s)": OUTSIDE,
    "client.py Clients.members: self.admin()": OUTSIDE,
    "client.py _cut_off: asyncio.wait([closing], timeout=STOP_S)": TROUBLE,
    "calling.py bounded: asyncio.timeout(limit_s)": "to enter and to leave a limit waits for nothing",
    "delivery.py AtLeastOnce._sent: self._confirm()": (
        "the group was asked before the cut: it is again only in a cut longer than a heartbeat"
    ),
    "delivery.py only_while_certain.in_time: client.ready(node)": RARE,
    "group.py KafkaGroup._watermark: self._cluster.reading.watermark(place, low=low, end=end)": RARE,
    "group.py KafkaGroup._watermark: self._supply.reached(place)": RARE,
    "group.py KafkaGroup.lease: asyncio.wait([former.ending])": TROUBLE,
    "group.py KafkaGroup.lease: self._membership.at_rest(2 * self._options.heartbeat_s)": (
        "nothing is leased yet: takeover.1.assigned dies there"
    ),
    "group.py KafkaGroup.leave: asyncio.wait(words)": TROUBLE,
    "group.py KafkaGroup.watermarks: self._watermark(place, ends[place])": RARE,
    "group.py KafkaGroup.look: catalog.counts(gates.topics, self.shards)": (
        "every ten seconds it only looks"
    ),
    "supply.py Supply._overtaken: bounded(self._consumer.beginning_offsets(list(lines)), POLL_S)": (
        "retention was faster: only memory is changed"
    ),
    "supply.py Supply._overtaken: bounded(self._consumer.end_offsets(list(lines)), POLL_S)": (
        "retention was faster: only memory is changed"
    ),
    "supply.py Supply._read: self._overtaken()": "retention was faster: only memory is changed",
    "supply.py Supply._run: asyncio.sleep(RETRY_S)": TROUBLE,
    "supply.py Supply.reached: bounded(self._consumer.position(line.partition), POLL_S)": RARE,
    "lease.py KafkaLease.commit: packer.places(cut.records)": RARE,
    "log.py KafkaLog._alone: self._clients.producer()": OUTSIDE,
    "log.py KafkaLog._alone: self._publishing": OUTSIDE,
    "log.py KafkaLog._alone: send(producer, packed, options.topic_prefix, options.call_s)": OUTSIDE,
    "log.py KafkaLog._store: self._catalog.partitions(place[0])": OUTSIDE,
    "log.py KafkaLog._store: self._cluster.reading.ends([place])": OUTSIDE,
    "log.py KafkaLog._store: self._cluster.reading.store(place, end, prefix)": OUTSIDE,
    "log.py KafkaLog._together: self._clients.producer(name)": OUTSIDE,
    "log.py KafkaLog._together: self._transacting": OUTSIDE,
    "log.py KafkaLog._together: transact(producer, packed, options.topic_prefix, options.call_s)": (
        OUTSIDE
    ),
    "log.py KafkaLog.close: group.leave()": "the member has left before: a log that is closed",
    "log.py KafkaLog.describe: inspect(self._clients, self._catalog, self._cluster.reading)": OUTSIDE,
    "log.py KafkaLog.entries: self._store(shard, prefix)": OUTSIDE,
    "log.py KafkaLog.entry: self._catalog.partitions(place[0])": OUTSIDE,
    "log.py KafkaLog.entry: self._cluster.reading.ends([place])": OUTSIDE,
    "log.py KafkaLog.entry: self._cluster.reading.newest(place, end, key)": OUTSIDE,
    "log.py KafkaLog.join: self._catalog.partitions(name)": RARE,
    "log.py KafkaLog.members: self._clients.members()": OUTSIDE,
    "log.py KafkaLog.publish: self._alone(records, places)": OUTSIDE,
    "log.py KafkaLog.publish: self._cluster.packer.places(records)": OUTSIDE,
    "log.py KafkaLog.publish: self._together(records, places)": OUTSIDE,
    "log.py KafkaLog.read: reading.begins([place])": OUTSIDE,
    "log.py KafkaLog.read: reading.ends([place])": OUTSIDE,
    "log.py KafkaLog.read: reading.records(place, max(start, begin), last)": OUTSIDE,
    "log.py KafkaLog.read: self._catalog.check([place])": OUTSIDE,
    "log.py KafkaLog.watermark: self._catalog.check([(topic, partition)])": OUTSIDE,
    "log.py KafkaLog.watermark: self._cluster.reading.watermark((topic, partition))": OUTSIDE,
    "log.py open_kafka: clients.disposed()": TROUBLE,
    "log.py open_kafka: log.close()": TROUBLE,
    "membership.py Membership._renew: self._start()": TROUBLE,
    "log.py KafkaLog.said: self._cluster.notes.heard()": OUTSIDE,
    "membership.py Membership._show_lag: self._clients.begun(commit, self._clients.options.call_s)": LAG,
    "membership.py Membership._start: self._clients.explained(error)": TROUBLE,
    "membership.py Membership._tend: bounded(self._consumer.getmany(timeout_ms=0), options.call_s)": (
        RARE
    ),
    "membership.py Membership._tend: self._renew()": TROUBLE,
    "membership.py Membership._tend: self._show_lag()": LAG,
    "membership.py Membership.at_rest: bounded(self._at_rest.wait(), limit_s)": (
        "nothing is leased yet: takeover.1.assigned dies there"
    ),
    "transaction.py send: asyncio.sleep(0)": TROUBLE,
    "packing.py Packer.places: self.catalog.partitions(topic)": RARE,
    "reading.py Reading.records: self._batches(place, start, stop, stall_s)": RARE,
    "reading.py Reading.ends: asyncio.sleep(LOOK_S)": RARE,
    "reading.py Reading.newest: self.begins([place])": OUTSIDE,
    "reading.py Reading.newest: self.records(place, start, stop)": OUTSIDE,
    "reading.py Reading.newest: self.store(place, end, key)": OUTSIDE,
    "reading.py Reading.store: self.begins([place])": OUTSIDE,
    "reading.py Reading.store: self.fill(store, place, (await self.begins([place]))[place], stop)": (
        OUTSIDE
    ),
    "reading.py Reading.watermark: self.begins([place])": RARE,
    "reading.py Reading.watermark: self.ends([place])": OUTSIDE,
    "reading.py Reading.watermark: self.records(place, start, stop)": RARE,
}
"""Awaits at which no life here ends, each with what covers it, or why nothing must."""

EVERY = {one.name.removeprefix("log/kafka/") for one in awaits_in("log/kafka/*.py")}
PLAIN = {
    *(one for one in EVERY if "AtLeastOnce" in one or "confirm()" in one or "in_time" in one),
    "lease.py KafkaLease.restore: self._write(store.unwritten | {JOURNAL: None}, [])",
    "membership.py Membership.confirm: self._clients.begun(commit, options.session_timeout_s)",
    "client.py Clients.begun: bounded(asyncio.shield(begun), limit_s)",
}
"""Those that only a cut without transactions meets."""
DEADLY = {name for name in EVERY if name.partition(".")[0] not in ELSEWHERE} - TABLE.keys()
JOINING = "membership.py Membership._start: bounded(self._consumer.start(), options.call_s + "
JOINING += "options.session_timeout_s)"
LEAVING = "membership.py Membership.leave: asyncio.wait([self.vanish()])"
STOPPING = "client.py Clients._stop: asyncio.wait([stopping], timeout=limit_s)"


@pytest.fixture
def lives(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lives]:
    """Lives of a ring of relays, or as a test asks for them."""
    made = Lives(tmp_path, **getattr(request, "param", {}))
    yield made
    made.close()


async def publish(lives: Lives, topic: str, event: str, first: int = 0, **payload: Any) -> None:
    """One event for each workflow from this one on."""
    records = []
    for name in (f"{topic}-{number}" for number in range(first, first + WORKFLOWS)):
        body = {"workflow_id": name, "event": event, "payload": payload}
        records.append(Outgoing(topic, name.encode(), orjson.dumps(body)))
    async with looking(lives) as look:
        await look.log.publish(records)


def ping(lives: Lives) -> None:
    """One ping for each relay."""
    asyncio.run(publish(lives, "pings", "ping"))


async def decided(lives: Lives) -> None:
    """Wait until every shard is served, and all that was published is decided."""
    async with looking(lives) as look:
        await look.until(lambda now: len(now["shards"]) == 2 and not now["lag"])


def die_at(lives: Lives, awaits: Iterable[str], *arguments: str, fed: bool = True) -> None:
    """Live and die until every one of these awaits was one of the last that a life came to."""
    left, peaceful = set(awaits), 0
    while left and peaceful < PEACEFUL:
        if fed:
            ping(lives)
        stood = lives.die_at_one_of({f"log/kafka/{name}" for name in left}, *arguments)
        peaceful = 0 if stood else peaceful + 1
        left -= {name.removeprefix("log/kafka/") for name in stood}
    assert left == set(), "nothing waits there: give it a reason to, or TABLE a line on it"


def found(lives: Lives, topic: str = "pings", *, at_least_once: bool = False) -> list[str]:
    """What does not add up."""
    evidence = read_cluster(lives.bootstrap, lives.prefix)
    return violations(evidence, [topic], at_least_once=at_least_once)


def test_killed_at_every_await(lives: Lives) -> None:
    """P1 to P6 hold over lives that end at every await of their log, from opening it to closing it."""
    creating = {name for name in DEADLY if "create" in name}
    die_at(lives, creating, fed=False)
    die_at(lives, DEADLY - PLAIN - creating)
    assert lives.deaths > 10
    lives.live_to_the_end()
    assert found(lives) == []


@pytest.mark.parametrize("lives", [{"more": 'delivery = "at_least_once"'}], indirect=True)
def test_killed_at_every_await_without_transactions(lives: Lives) -> None:
    """The same for cuts of many batches without transactions; outcomes may be told again, no more."""
    die_at(lives, DEADLY & PLAIN, "--twin", "cramped")
    assert lives.deaths > 3
    lives.live_to_the_end()
    assert found(lives, at_least_once=True) == []


@pytest.mark.parametrize("lives", [{"machines": "order.yaml", "topics": ORDERS}], indirect=True)
def test_killed_at_every_step(lives: Lives) -> None:
    """P1 to P6 hold over lives that end after each numbered step of a takeover, a cut and a run."""
    for number, step in enumerate(Step):
        asyncio.run(publish(lives, "orders", "flow_begin", number * WORKFLOWS, card="1"))
        lives.die("--step", step, "--nth", str(1 + number % 2))
    lives.live_to_the_end()
    assert found(lives, "orders") == []
    assert lives.told("stats")["workflows"]["by_state"]["order"] == {
        "completed": WORKFLOWS * len(Step)
    }


DYNAMIC = {"instance_id": "", "session": "3s"}


@pytest.mark.parametrize("lives", [DYNAMIC], indirect=True)
def test_killed_in_the_group(lives: Lives) -> None:
    """Who dies while it joins or leaves is missed after a session timeout, and what it had goes on."""
    for place in (JOINING, LEAVING, STOPPING):
        ping(lives)
        assert lives.die_at_one_of({f"log/kafka/{place}"}), lives.said()
    lives.live_to_the_end()
    assert found(lives) == []


@pytest.mark.parametrize("lives", [DYNAMIC], indirect=True)
def test_killed_when_it_should_release(lives: Lives) -> None:
    """Who dies between Revoked and the release of a shard leaves both shards, whole, to who wanted one."""
    ping(lives)
    lives.begin("--lasting", "--twin", "called_back")
    asyncio.run(decided(lives))
    ping(lives)
    lives.live_to_the_end()
    assert lives.ended() == [-signal.SIGKILL]
    assert found(lives) == []


@pytest.mark.parametrize("lives", [DYNAMIC], indirect=True)
def test_an_owner_that_stands_still_in_an_open_transaction(lives: Lives) -> None:
    """What it emitted to partitions that others read delays them until it is fenced, and is not there."""
    ping(lives)
    zombie = lives.begin("--step", Step.LOG_WRITTEN, "--nth", "2", "--halt", "--lasting")
    assert zombie.pid is not None
    until_stopped(zombie.pid)
    ping(lives)
    lives.live_to_the_end()
    os.kill(zombie.pid, signal.SIGCONT)
    asyncio.run(decided(lives))
    zombie.kill()
    assert lives.ended() == [-signal.SIGKILL]
    assert found(lives) == []
    evidence = read_cluster(lives.bootstrap, lives.prefix)
    assert len(evidence.own("inbox")) == len(evidence.topics["pings"])


def test_the_table_is_about_awaits_that_are_there() -> None:
    """A line of the table goes when its await goes, and what is deadly without transactions is deadly."""
    assert TABLE.keys() - EVERY == set()
    assert set() == PLAIN - EVERY
    assert {JOINING, LEAVING, STOPPING} <= DEADLY
