"""
Whether the promises held, when a chaos run is at rest: what is durable, and what the outside world knows.

The audit of `tests/kafka/audit.py` reads every topic with another client, and knows P1, P5 and P6. Here are
the ends of it all: each event counted once (P2), each callback ran for a durable transition, and for each
of them (P3), events of a partition in their order (P4), each timer fired once (P7), and what was emitted
and published is there once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.kafka.audit import Evidence, violations


def broken(evidence: Evidence, wanted: Mapping[str, str], calls: Path) -> list[str]:
    """What does not add up; `wanted` says whose each published event is."""
    history = [
        told | {"workflow_id": (record.key or b"").decode()}
        for record, told in zip(evidence.own("history"), evidence.history(), strict=True)
    ]
    gone = [one for one in history if one["kind"] == "applied" and one["event"] == "go"]
    return [
        *violations(evidence, ["trips"]),
        *_events(evidence, wanted, gone),
        *_ends(evidence, wanted),
        *_order(history),
        *_calls(calls, gone),
        *_sent(evidence, gone),
    ]


def _events(
    evidence: Evidence, wanted: Mapping[str, str], gone: list[dict[str, Any]]
) -> Iterator[str]:
    """P1, P2: each event is in its topic, and was applied once, however often it is there."""
    marks = {
        (one.partition, one.offset): orjson.loads(one.value or b"")["id"]
        for one in evidence.topics["trips"]
    }
    applied = Counter(marks.get((one["partition"], one["offset"]), "nothing") for one in gone)
    yield from (f"{mark} was published, and is not there" for mark in wanted.keys() - applied)
    yield from (f"{mark} was applied {n} times" for mark, n in applied.items() if n > 1)


def _ends(evidence: Evidence, wanted: Mapping[str, str]) -> Iterator[str]:
    """P2, P7: what each trip has counted is what was published for it, and what others told it."""
    count = Counter(wanted.values())
    newest = {
        (one.key or b"")[2:].decode(): one.value
        for one in evidence.own("snapshots")
        if (one.key or b"").startswith(b"s:")
    }
    heard = Counter((one.key or b"").decode() for one in evidence.own("inbox"))
    for name, value in newest.items():
        data = orjson.loads((value or b"").partition(b"\n")[2])["data"]
        due = dict.fromkeys(("n", "calls", "rests"), count[name]) | {"heard": heard[name]}
        if data != due:
            yield f"{name} has counted {data}, and it should be {due}"
    yield from (f"{name} has no snapshot" for name in count.keys() - newest.keys())


def _order(history: list[dict[str, Any]]) -> Iterator[str]:
    """P4: of each trip, events of one name were applied in the order of their partition."""
    last: dict[tuple[Any, ...], int] = {}
    for one in history:
        if one["kind"] != "applied" or "offset" not in one:
            continue
        line = one["workflow_id"], one["event"], one["topic"], one["partition"]
        if one["offset"] < last.get(line, -1):
            yield f"{'/'.join(map(str, line))}/{one['offset']} was overtaken by {last[line]}"
        last[line] = one["offset"]


def _calls(calls: Path, gone: list[dict[str, Any]]) -> Iterator[str]:
    """P3: a call for each transition that is durable, and none for another."""
    made = Counter(calls.read_text(encoding="utf-8").splitlines())
    due = {f"{one['workflow_id']}/{one['seq']}/call" for one in gone}
    yield from (f"{key} was owed, and never called" for key in sorted(due - made.keys()))
    yield from (f"{key} was called, and is not durable" for key in sorted(made.keys() - due))


def _sent(evidence: Evidence, gone: list[dict[str, Any]]) -> Iterator[str]:
    """P5: what a callback sent is there once if its event was applied, and else not at all."""
    due = {
        f"{one['workflow_id']}/{one['topic']}/{one['partition']}/{one['offset']}/tell"
        for one in gone
    }
    mails = Counter(orjson.loads(one.value or b"")["key"] for one in evidence.topics["mail"])
    told = Counter(
        orjson.loads(one.value or b"")["payload"]["key"] for one in evidence.own("inbox")
    )
    for what, sent in (("mail", mails), ("event", told)):
        yield from (f"the {what} {key} is missing" for key in sorted(due - sent.keys()))
        yield from (f"the {what} {key} is of no event" for key in sorted(sent.keys() - due))
        yield from (f"the {what} {key} is there {n} times" for key, n in sent.items() if n > 1)
    cards = Counter(orjson.loads(one.value or b"")["key"] for one in evidence.topics["postcards"])
    yield from (f"the postcard {key} is there {n} times" for key, n in cards.items() if n > 1)
