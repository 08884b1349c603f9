"""
An audit of a log on Kafka that knows nothing of this package: docs/formats.md, and another client.

It reads every topic as any other consumer with read_committed would, from the first record to the last,
and says what does not add up.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.waiting import PATIENCE_S

LOOK_S = 0.2
"""A look for so many records lasts so long, if there are not so many."""
ENDS = frozenset(
    {"applied", "ignored", "rejected", "duplicate", "dead_lettered", "forwarded", "discarded"}
)


class Read(NamedTuple):
    """One committed record."""

    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None


class Evidence(NamedTuple):
    """All that one app has on the cluster; topics by their names without the prefix."""

    topics: dict[str, list[Read]]
    app: str

    def own(self, what: str) -> list[Read]:
        """The records of one of the center's own topics."""
        return self.topics.get(f"{self.app}.{what}", [])

    def history(self) -> list[dict[str, Any]]:
        """The data of every history record, with its kind."""
        found = []
        for record in self.own("history"):
            told = json.loads(record.value or b"")
            found.append(told["data"] | {"kind": told["type"].removeprefix("event_center.")})
        return found

    def cuts(self) -> dict[int, list[tuple[int, dict[str, Any]]]]:
        """Time and content of every shard entry of each shard."""
        found: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for record in self.own("snapshots"):
            if record.key == b"shard":
                found[record.partition].append((record.at_ms, json.loads(record.value or b"")))
        return found


def read_cluster(bootstrap: str, prefix: str, app: str = "event-center") -> Evidence:
    """Read every topic whose name begins with the prefix."""
    topics: dict[str, list[Read]] = defaultdict(list)
    for topic, read in committed(bootstrap, prefix):
        topics[topic].append(read)
    return Evidence(topics, app)


def committed(bootstrap: str, prefix: str) -> Iterator[tuple[str, Read]]:
    """All that is committed in topics whose names begin with the prefix; each is named without it."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"audit-{uuid.uuid4().hex}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        listed = consumer.list_topics(timeout=PATIENCE_S).topics
        open_ones = {
            (name, partition)
            for name, found in listed.items()
            if name.startswith(prefix)
            for partition in found.partitions
        }
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in open_ones])
        late = time.monotonic() + PATIENCE_S
        while open_ones:
            assert time.monotonic() < late, f"{open_ones} were not read to their ends"
            messages = consumer.consume(10_000, timeout=LOOK_S)
            late = time.monotonic() + PATIENCE_S if messages else late
            for message in messages:
                error = message.error()
                topic, partition, offset = message.topic(), message.partition(), message.offset()
                assert topic is not None
                assert partition is not None
                if error is None:
                    assert offset is not None
                    at_ms = message.timestamp()[1]
                    read = Read(partition, offset, at_ms, message.key(), message.value())
                    yield topic.removeprefix(prefix), read
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ones.discard((topic, partition))
                else:
                    raise AssertionError(error)
    finally:
        consumer.close()


def violations(
    evidence: Evidence, consumed: list[str], *, at_least_once: bool = False
) -> list[str]:
    """
    What does not add up, of an app whose topics of events are these, after it was idle.

    Written without transactions, an outcome may be told again, and a cut that was in the journal may be
    there twice, the same.
    """
    inputs = [*consumed, f"{evidence.app}.inbox", f"{evidence.app}.commands"]
    return [
        *_outcomes(evidence, inputs, again=at_least_once),
        *_snapshots(evidence),
        *_entries(evidence, inputs, again=at_least_once),
    ]


def _outcomes(evidence: Evidence, inputs: list[str], *, again: bool) -> Iterator[str]:
    """P1: history has one outcome for each record, and none for what is no record."""
    told = Counter(
        (one["topic"], one["partition"], one["offset"])
        for one in evidence.history()
        if one.get("outcome") in ENDS and "offset" in one
    )
    there = {
        (topic, record.partition, record.offset)
        for topic in inputs
        for record in evidence.topics.get(topic, [])
    }
    yield from (f"{place} has no outcome" for place in sorted(there - told.keys()))
    yield from (f"{place} is told, and is no record" for place in sorted(told.keys() - there))
    if not again:
        yield from (f"{place} has {count} outcomes" for place, count in told.items() if count > 1)


def _snapshots(evidence: Evidence) -> Iterator[str]:
    """P6: no snapshot goes back behind the one before it."""
    newest: dict[tuple[int, bytes], tuple[int, dict[str, int]]] = {}
    for record in evidence.own("snapshots"):
        if record.key is None or not record.key.startswith(b"s:") or record.value is None:
            continue
        body = json.loads(record.value.split(b"\n", 1)[1])
        seq, seen = newest.get((record.partition, record.key), (0, {}))
        older = any(body["seen"].get(topic, -1) < offset for topic, offset in seen.items())
        if body["seq"] < seq or older:
            yield f"snapshot {record.key!r} at {record.partition}/{record.offset} goes back"
        newest[record.partition, record.key] = (body["seq"], body["seen"])


def _entries(evidence: Evidence, inputs: list[str], *, again: bool) -> Iterator[str]:
    """P1, P5: every shard entry adds up and follows the one before; the last has read everything."""
    ends: dict[int, int] = Counter()
    for topic in inputs:
        for record in evidence.topics.get(topic, []):
            ends[record.partition] += 1
    for shard, cuts in evidence.cuts().items():
        yield from _cuts(shard, [cut for _, cut in cuts], again=again)
        if cuts[-1][1]["read"] != ends.pop(shard, 0):
            yield f"shard {shard} has read {cuts[-1][1]['read']} records, which are not all"
    yield from (f"shard {shard} has read nothing of {count}" for shard, count in ends.items())


def _cuts(shard: int, cuts: list[dict[str, Any]], *, again: bool) -> Iterator[str]:
    for before, after in itertools.pairwise(cuts):
        if again and after == before:
            continue
        same = before["takeovers"] == after["takeovers"]
        if after["cut"] != before["cut"] + 1 or after["takeovers"] < before["takeovers"]:
            yield f"shard {shard}: cut {after['cut']} follows {before['cut']}"
        if same and after["owner"] != before["owner"]:
            yield f"shard {shard}: cut {after['cut']} has an owner who did not take over"
    for cut in cuts:
        if cut["read"] != sum(cut["outcomes"].values()) + sum(cut["waiting"].values()):
            yield f"shard {shard}: cut {cut['cut']} does not add up"
