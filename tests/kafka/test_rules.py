"""
The rules that a real broker taught, each with the place that keeps it and the test that shows it.

Beside the table, two rules are read off the code itself: every await on the client is bounded, and
whatever private name of the client is used stands in a list that is held against the client.
"""

from __future__ import annotations

import ast
import asyncio
import tomllib
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from event_center.log.kafka import KafkaLog, client
from event_center.log.kafka.assignor import Claim, KeepPlace
from event_center.log.kafka.client import Clients
from event_center.log.kafka.fetching import KafkaReader
from event_center.log.kafka.lease import KafkaLease
from event_center.log.port import Cut
from event_center.model import Outgoing, Shard
from tests.kafka.harness import KafkaHarness
from tests.log.harness import joined
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[2]
ROOM = ROOT / "event_center/log/kafka"

RULES = {
    "R1 offsets are in the shard entry; the group's are for those who look": (
        "membership.py:_show_lag",
        "kafka/test_kafka_log.py:test_the_lag_is_shown",
    ),
    "R2 a budget of cuts, shared by the shards that are busy": (
        "log.py:pace",
        "kafka/test_kafka_log.py:test_busy_shards_share_the_budget",
    ),
    "R3 nothing is concluded from a transaction without records: none is made": (
        "lease.py:commit",
        "kafka/test_rules.py:test_an_empty_cut_asks_nobody",
    ),
    "R4 who was fenced waits for the group, then takes over anew": (
        "membership.py:at_rest",
        "kafka/test_faults.py:test_a_transaction_that_timed_out",
    ),
    "R5 own reads wait for the markers of own commits": (
        "reading.py:ends",
        "log/contract/test_cut.py:test_all_of_it",
    ),
    "R6 records of an older assignment are dropped": (
        "supply.py:_read",
        "kafka/test_twins.py:test_records_of_an_older_assignment",
    ),
    "R7 every await is bounded": (
        "calling.py:bounded",
        "kafka/test_rules.py:test_awaits_are_bounded",
    ),
    "R8 clients are stopped aside": (
        "client.py:_stop",
        "kafka/test_rules.py:test_a_client_that_does_not_stop_is_left_behind",
    ),
    "R9 offsets are never reset by the client": (
        "client.py:reader",
        "kafka/test_kafka_log.py:test_records_that_are_gone",
    ),
    "R10 sizes are checked before anything is sent": (
        "packing.py:pack",
        "kafka/test_kafka_log.py:test_of_records",
    ),
}
"""Rule → (module and function that keep it, file and test that show it)."""

PRIVATE = {
    "producer": {"_sender._sender_task", "_txn_manager._transaction_waiter"}
    | {"_message_accumulator._batches"},
    "batch": {"_builder.append", "_relative_offset"},
    "connections": {"_get_conn"},
    "consumer": {"_coordinator.generation", "_coordinator.member_id", "_client"}
    | {"_coordinator._coordination_task"},
    "reader": {"_closed", "_fetcher._records", "_fetcher._notify", "_fetcher._create_fetch_waiter"}
    | {"_fetcher._wait_consume_future"},
    "fetched": {"_partition_records._records", "_partition_records._aborted_producers"}
    | {"_partition_records._consume_aborted_up_to", "_partition_records._contains_abort_marker"}
    | {"_partition_records.next_fetch_offset", "_update_position", "check_assignment"},
}
"""What this room uses of aiokafka that has no public name; `_drain_waiter` is of a producer's batch."""

NAMED = {"_asdict", "_replace"}
"""Public names of named tuples, in spite of their form."""

CALLS = frozenset(
    {
        *("start", "bootstrap", "stop", "send", "send_batch", "begin_transaction"),
        *("commit_transaction", "abort_transaction", "commit", "committed", "position"),
        *("end_offsets", "beginning_offsets", "create_topics", "getmany", "getone", "fetched"),
    }
)
"""The client's coroutine functions, by which an await can hang."""


def functions(path: Path) -> set[str]:
    """The names of all functions in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_kept_and_shown(rule: str) -> None:
    """The function and the test that a rule names exist."""
    kept, shown = RULES[rule]
    module, function = kept.split(":")
    assert function in functions(ROOM / module)
    file, test = shown.split(":")
    assert test in functions(ROOT / "tests" / file)


def test_awaits_are_bounded() -> None:
    """No coroutine of the client is awaited directly: `bounded` does it, or an asyncio task aside."""
    found = []
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Await(value=ast.Call(func=ast.Attribute(attr=name)) as call) if (
                    name in CALLS
                ):
                    found.append(f"{path.name}:{call.lineno} {ast.unparse(call)}")
    assert found == []


def test_the_client_is_pinned() -> None:
    """A release of the client with other private names is not installed by itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [pinned] = [one for one in project["dependencies"] if one.startswith("aiokafka")]
    assert ">=0.14" in pinned
    assert "<0.15" in pinned


def test_private_names_are_listed() -> None:
    """Whatever the room uses of others' private names is in the list."""
    listed = {part for names in PRIVATE.values() for name in names for part in name.split(".")}
    listed |= {"_drain_waiter"}
    used = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="self" | "cls")):
                    continue
                case ast.Attribute(attr=name) if name[0] == "_" and name not in NAMED:
                    used.add(name)
                case ast.Call(
                    func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]
                ):
                    used.add(name)
                case _:
                    continue
    assert {name for name in used if name[0] == "_" and name[1] != "_"} <= listed


async def test_private_names_exist(kafka_harness: KafkaHarness, kafka_log: KafkaLog) -> None:
    """The client that is installed has every private name that is used."""
    await kafka_log.topics()
    clients = Clients(kafka_harness.options)
    producer = await clients.producer(kafka_harness.options.transactional_id(0))
    consumer = clients.member(KeepPlace(1, lambda: Claim("", 0, ()), lambda _: None))
    consumer.subscribe([kafka_harness.options.topic_prefix + "orders"])
    await consumer.start()
    reader = await clients.reader()
    try:
        fetched = await something_fetched(reader, kafka_log, kafka_harness.options.topic_prefix)
        assert isinstance(producer, AIOKafkaProducer)
        assert isinstance(consumer, AIOKafkaConsumer)
        owners = {
            "producer": producer,
            "batch": producer.create_batch(),
            "consumer": consumer,
            "reader": reader,
            "fetched": fetched,
            "connections": producer.client,
        }
        for name, owner in owners.items():
            for path in PRIVATE[name]:
                held: object = owner
                for part in path.split("."):
                    assert hasattr(held, part), path
                    held = getattr(held, part)
    finally:
        clients.dispose(producer, consumer, reader)
        await clients.disposed()


async def something_fetched(reader: KafkaReader, log: KafkaLog, prefix: str) -> object:
    """What a reader has of a partition before anybody asks for it."""
    await log.publish([Outgoing("orders", b"k", b"v", partition=0)])
    place = TopicPartition(prefix + "orders", 0)
    reader.assign([place])
    reader.seek(place, 0)
    await until(lambda: reader._fetcher._records.get(place) is not None)
    return reader._fetcher._records[place]


async def test_an_empty_cut_asks_nobody(kafka_log: KafkaLog) -> None:
    """A cut of nothing begins no transaction, which would end well even after a fence."""
    async with await joined(kafka_log, ["orders"], 1) as member:
        await member.has(0)
        lease = member.leases[Shard(0)]
        assert isinstance(lease, KafkaLease)
        producer, lease._producer = lease._producer, None
        await lease.commit(Cut())
        lease._producer = producer


class Stubborn:
    """A client whose stop never returns, or ends in a cancellation that nobody asked for."""

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises
        self.cancelled = False

    async def close(self) -> None:
        """It has no connections."""

    async def stop(self) -> None:
        if self._raises:
            raise asyncio.CancelledError
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_a_client_that_does_not_stop_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, kafka_harness: KafkaHarness
) -> None:
    """Whoever gets rid of a client waits for a bounded time, and is not cancelled by it."""
    monkeypatch.setattr(client, "STOP_S", 0.05)
    clients = Clients(kafka_harness.options)
    hangs, raises = Stubborn(raises=False), Stubborn(raises=True)
    clients.dispose(hangs, raises)
    async with asyncio.timeout(PATIENCE_S):
        await clients.disposed()
    assert hangs.cancelled
