"""After kills, another client finds every record, outcome, mail and snapshot where it should be."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from event_center.model import Outgoing
from tests.kafka.audit import Evidence, Read, read_cluster, violations
from tests.kafka.broker import bootstrap
from tests.kafka.looking import looking
from tests.kafka.project import Project, alive
from tests.waiting import PATIENCE_S

RELAYS = 100
MACHINE = Path(__file__).parent / "machines" / "relay.yaml"
TOPICS = '[publish]\ntopics = ["mail"]\n[topics.pings]\nmachine = "relay"\n'


@pytest.fixture
def relays(tmp_path: Path) -> Iterator[Project]:
    """A ring of relays."""
    made = Project(tmp_path, machines=str(MACHINE), topics=TOPICS)
    yield made
    made.close()


def pings(first: int, last: int) -> list[Outgoing]:
    """Pings for all relays in turn; every tenth is sent twice, every hundredth has no event."""
    records = []
    for number in range(first, last):
        name = f"relay-{number % RELAYS}"
        body: dict[str, Any] = {"workflow_id": name, "event": "ping", "id": f"ping-{number}"}
        if number % 100 == 99:
            del body["event"]
        one = Outgoing("pings", name.encode(), orjson.dumps(body))
        records += [one] * (2 if number % 10 == 0 else 1)
    return records


async def idle(look: Any) -> dict[str, Any]:
    """Wait until everything is read and nothing waits."""
    found = await look.until(lambda now: not now["lag"] and not now["events"]["waiting"])
    return dict(found)


def mails(evidence: Evidence) -> Counter[str]:
    """How often each callback's mail is there, by its idempotency key."""
    return Counter(orjson.loads(one.value or b"")["key"] for one in evidence.topics["mail"])


def wanted_mails(evidence: Evidence) -> set[str]:
    """The keys of the callbacks of all pings that were applied."""
    return {
        f"{one['workflow_id']}/{one['topic']}/{one['partition']}/{one['offset']}/pass_on"
        for one in (
            told | {"workflow_id": name}
            for name, told in zip(_names(evidence), evidence.history(), strict=True)
        )
        if one["kind"] == "applied" and one["event"] == "ping"
    }


def _names(evidence: Evidence) -> list[str]:
    return [(record.key or b"").decode() for record in evidence.own("history")]


async def test_everything_is_there_once(relays: Project) -> None:
    """Through kills of processes, each event has one outcome and each emitted event is there once."""
    async with looking(relays) as look:
        daemon = relays.daemon("--processes", "3")
        for start in range(0, 3_000, 1_000):
            await look.log.publish(pings(start, start + 500))
            busy = await look.has_read(2 * start + 1)
            owners = [int(one["owner"].rpartition("/")[2] or 0) for one in busy["shards"]]
            os.kill(next(filter(alive, filter(None, owners))), signal.SIGKILL)
            await look.log.publish(pings(start + 500, start + 1_000))
            await idle(look)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
    evidence = read_cluster(bootstrap(), relays.prefix)
    assert violations(evidence, ["pings"]) == []
    sent = mails(evidence)
    assert sent.keys() == wanted_mails(evidence)
    assert len(sent) == 3_000 - 30
    assert set(sent.values()) == {1}
    pongs = Counter(
        orjson.loads(one.value or b"")["payload"]["key"] for one in evidence.own("inbox")
    )
    assert pongs == sent
    assert sum(cuts[-1][1]["takeovers"] for cuts in evidence.cuts().values()) > 4


async def test_the_audit_finds_what_is_wrong(relays: Project) -> None:
    """The twin: a second outcome and a snapshot that goes back, written past the fence, are found."""
    async with looking(relays) as look:
        await look.log.publish(pings(0, 200))
    relays.told("run", "--until-idle", "--processes", "2")
    evidence = read_cluster(bootstrap(), relays.prefix)
    assert violations(evidence, ["pings"]) == []
    history, snapshots = evidence.own("history"), evidence.own("snapshots")
    applied = next(one for one in history if b'"applied"' in (one.value or b""))
    newest = next(one for one in snapshots if (one.key or b"").startswith(b"s:"))
    old = newest._replace(value=re.sub(rb'"seq":\d+', b'"seq":0', newest.value or b""))
    producer = Producer({"bootstrap.servers": bootstrap()})
    for topic, one in (("history", applied), ("snapshots", old)):
        name = f"{relays.prefix}event-center.{topic}"
        producer.produce(name, one.value, one.key, one.partition)
    producer.flush(PATIENCE_S)
    found = violations(read_cluster(bootstrap(), relays.prefix), ["pings"])
    assert any("has 2 outcomes" in one for one in found)
    assert any("goes back" in one for one in found)


def test_a_cut_from_the_journal() -> None:
    """Without transactions a cut may be there twice, the same; with them nobody writes it twice."""
    cut = {"cut": 1, "takeovers": 1, "owner": "a", "read": 0, "outcomes": {}, "waiting": {}}
    twice = [Read(0, offset, 0, b"shard", orjson.dumps(cut)) for offset in range(2)]
    other = Read(0, 2, 0, b"shard", orjson.dumps(cut | {"takeovers": 2}))
    for written, found in ((twice, 0), ([*twice, other], 1)):
        evidence = Evidence({"event-center.snapshots": written}, "event-center")
        assert len(violations(evidence, [], at_least_once=True)) == found
        assert len(violations(evidence, [])) == found + 1
