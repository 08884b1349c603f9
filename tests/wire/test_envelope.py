"""Envelopes: where an event is found in a record, and that nothing in a record can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.errors import ExpressionError, Undecodable
from event_center.model import Event, Headers, Reason, Record
from event_center.wire.envelope import (
    FORWARDED_FROM,
    INBOX_RULES,
    Envelope,
    Rules,
    inbox_envelope,
    inbox_record,
)
from tests.wire.test_round_trips import EVENT, HEADERS, JSON, NAME, RECORD

PLAIN = Envelope("t", Rules(machine="m"))


def record(body: Any, *, key: bytes | None = None, headers: Headers = ()) -> Record:
    """A record with this body."""
    value = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Record(5, 1_000, key, value, headers)


CE = (
    ("ce_specversion", b"1.0"),
    ("ce_type", b"go"),
    ("ce_id", b"i"),
    ("ce_subject", b"w"),
    ("ce_time", b"1970-01-01T00:00:05Z"),
)
FOUND: list[tuple[str, Record, tuple[str, str, Any, str | None, int]]] = [
    (
        "plain",
        record({"workflow_id": "w", "event": "go", "payload": {"a": 1}, "id": "i"}),
        ("w", "go", {"a": 1}, "i", 1_000),
    ),
    (
        "data",
        record({"workflow_id": "w", "event": "go", "data": [1]}),
        ("w", "go", [1], None, 1_000),
    ),
    (
        "null payload",
        record({"workflow_id": "w", "event": "go", "payload": None, "data": 1}),
        ("w", "go", None, None, 1_000),
    ),
    (
        "the body itself",
        record({"workflow_id": "w", "event": "go", "x": 1}),
        ("w", "go", {"workflow_id": "w", "event": "go", "x": 1}, None, 1_000),
    ),
    (
        "number as id",
        record({"workflow_id": "w", "event": "go", "payload": 0, "id": 7}),
        ("w", "go", 0, "7", 1_000),
    ),
    (
        "number as workflow",
        record({"workflow_id": 12, "event": "go", "payload": 0}),
        ("12", "go", 0, None, 1_000),
    ),
    ("key", record({"event": "go", "payload": 0}, key=b"w"), ("w", "go", 0, None, 1_000)),
    (
        "structured",
        record(
            {
                "specversion": "1.0",
                "type": "go",
                "subject": "w",
                "id": "i",
                "time": "1970-01-01T01:00:05+01:00",
                "data": {"a": 1},
            }
        ),
        ("w", "go", {"a": 1}, "i", 5_000),
    ),
    (
        "structured without data",
        record({"specversion": "1.0", "type": "go", "workflow_id": "w", "id": "i"}),
        (
            "w",
            "go",
            {"specversion": "1.0", "type": "go", "workflow_id": "w", "id": "i"},
            "i",
            1_000,
        ),
    ),
    ("binary", record({"a": 1}, headers=CE), ("w", "go", {"a": 1}, "i", 5_000)),
    ("binary, no object", record([1, 2], headers=CE), ("w", "go", [1, 2], "i", 5_000)),
    (
        "binary with its own workflow",
        record(5, headers=(*CE, ("ce_workflow_id", b"v"))),
        ("v", "go", 5, "i", 5_000),
    ),
]


@pytest.mark.parametrize(
    ("given_record", "expected"), [(r, e) for _, r, e in FOUND], ids=[n for n, _, _ in FOUND]
)
def test_without_rules(given_record: Record, expected: tuple[Any, ...]) -> None:
    """Plain JSON and CloudEvents, structured and binary, are found where docs/formats.md says."""
    workflow_id, machine, event = PLAIN.read(given_record, 3)
    found = (workflow_id, event.name, event.payload, event.id, event.time_ms)
    assert found == expected
    assert machine == "m"
    assert (event.topic, event.partition, event.offset) == ("t", 3, 5)
    assert event.headers == given_record.headers


SAME = [
    record({"workflow_id": "w", "event": "inner", "id": "9", "payload": 1}, headers=CE),
    record({"workflow_id": "w", "event": "go", "id": 7}),
    record({"workflow_id": "w", "event": "go", "payload": None}, headers=(("trace", b"1"),)),
]


@pytest.mark.parametrize("one", SAME)
def test_a_constant_machine_and_a_rule_for_it_find_the_same(one: Record) -> None:
    """How the machine is named changes nothing of how the rest is read."""
    assert PLAIN.read(one, 0) == Envelope("t", Rules(machine="='m'")).read(one, 0)


@pytest.mark.parametrize("event_id", [{}, True, 1.5, []])
@pytest.mark.parametrize("rules", [Rules(machine="m"), Rules(machine="='m'")])
def test_an_id_that_is_no_text_is_undecodable(rules: Rules, event_id: Any) -> None:
    """By every way of reading: else the same event would be known under two ids."""
    with pytest.raises(Undecodable, match="id is"):
        Envelope("t", rules).read(record({"workflow_id": "w", "event": "go", "id": event_id}), 0)


RULES = Rules(
    machine="=body.kind",
    workflow_id="=headers.customer + '-' + body.order.id",
    event="=body.what if 'what' in body else topic",
    id="=key",
    payload="=body.order",
    time="=body.at",
)
ORDER = {"kind": "shop", "order": {"id": "1"}, "at": 7}


def test_rules_find_the_parts_by_expression() -> None:
    """Rules name key, body, headers and topic; a constant is the same for every record."""
    customer = (("customer", b"c"),)
    found = Envelope("t", RULES).read(record(ORDER, key=b"k", headers=customer), 0)
    event = found[2]
    assert found[:2] == ("c-1", "shop")
    assert (event.name, event.id, event.payload, event.time_ms) == ("t", "k", {"id": "1"}, 7)
    constant = Envelope("t", Rules(machine="m", event="paid", workflow_id="=key"))
    workflow_id, machine, event = constant.read(record([1], key=b"w"), 0)
    assert (workflow_id, machine, event.name, event.payload) == ("w", "m", "paid", [1])


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (Rules(machine="m", workflow_id="=body.none"), Reason.NO_WORKFLOW_ID),
        (Rules(machine="m", workflow_id="=body.list"), Reason.UNDECODABLE),
        (Rules(machine="m", workflow_id="=key", event="=body.none"), Reason.UNDECODABLE),
        (Rules(machine="m", workflow_id="=key", event="=body.list"), Reason.UNDECODABLE),
        (Rules(machine="=body.list", workflow_id="=key", event="go"), Reason.UNDECODABLE),
        (
            Rules(machine="m", workflow_id="=key", event="go", payload="=body.a.b"),
            Reason.UNDECODABLE,
        ),
        (
            Rules(machine="m", workflow_id="=key", event="go", time="='yesterday'"),
            Reason.UNDECODABLE,
        ),
    ],
)
def test_what_a_rule_does_not_find_is_undecodable(rules: Rules, reason: Reason) -> None:
    """The reason and the rule's name are told."""
    with pytest.raises(Undecodable) as caught:
        Envelope("t", rules).read(record({"list": [1]}, key=b"w"), 0)
    assert caught.value.reason is reason
    assert str(caught.value)


def test_a_rule_that_is_no_expression_is_refused_at_start() -> None:
    """The message names topic and rule."""
    with pytest.raises(ExpressionError, match=r"\[topics.t\] event"):
        Envelope("t", Rules(machine="m", event="=body."))
    with pytest.raises(ExpressionError, match=r"\[topics.t\] id"):
        Envelope("t", Rules(machine="m", id="=data.id"))


def at(time: str) -> Record:
    """A CloudEvent of this time."""
    return record(1, headers=(*CE[:-1], ("ce_time", time.encode())))


@pytest.mark.parametrize(
    "time", ["yesterday", "", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00 MEZ"]
)
def test_what_is_no_time_is_undecodable(time: str) -> None:
    """The message shows what was found."""
    with pytest.raises(Undecodable, match="RFC 3339"):
        PLAIN.read(at(time), 0)


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        ("1970-01-01T00:00:05.001Z", 5_001),
        ("1970-01-01T00:00:05.0019Z", 5_001),
        ("1970-01-01T01:00:05+01:00", 5_000),
        ("1970-01-01T00:00:05", 5_000),
        ("1970-01-02", 86_400_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("0001-01-01T00:00:00", -62_135_596_800_000),
        ("0001-01-01T00:00:00+23:00", -62_135_679_600_000),
        ("9999-12-31T23:59:59.999-23:00", 253_402_383_599_999),
    ],
)
def test_a_time_is_read_to_the_millisecond(time: str, ms: int) -> None:
    """Also at the ends of the calendar; one without a zone is UTC, the same on every machine."""
    assert PLAIN.read(at(time), 0)[2].time_ms == ms


@pytest.mark.parametrize("name", ["@after/3d", "@done", "@error", "@"])
@pytest.mark.parametrize(
    "envelope", [PLAIN, Envelope("t", Rules(machine="m", event="=body.event"))]
)
def test_names_of_the_centers_own_events_are_undecodable(envelope: Envelope, name: str) -> None:
    """P7: no record is a timer or the result of a callback, by whatever rules it is read."""
    with pytest.raises(Undecodable, match="begin with @") as caught:
        envelope.read(record({"workflow_id": "w", "event": name, "payload": 1}), 0)
    assert caught.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("rules", "key", "headers"),
    [
        (Rules(machine="m"), b"\xff", ()),
        (Rules(machine="m", workflow_id="=key"), b"a\xfe", ()),
        (Rules(machine="m"), None, (*CE[:3], ("ce_subject", b"\xff"))),
    ],
)
def test_bytes_that_are_no_text_name_no_workflow(
    rules: Rules, key: bytes | None, headers: Headers
) -> None:
    """Two keys that are not UTF-8 are never one workflow; a body's own U+FFFD is a text like any."""
    with pytest.raises(Undecodable, match="not UTF-8") as caught:
        Envelope("t", rules).read(record({"event": "go"}, key=key, headers=headers), 0)
    assert caught.value.reason is Reason.BAD_WORKFLOW_ID
    body = {"workflow_id": "\ufffd", "event": "go", "time": 1}
    assert PLAIN.read(record(body), 0)[0] == "\ufffd"
    assert PLAIN.read(record({"event": "go"}, key="\ufffd".encode()), 0)[0] == "\ufffd"


def test_the_id_of_a_cloudevent_is_that_of_its_source() -> None:
    """Producers that count from 1 do not make duplicates of each other's events."""
    structured = {"specversion": "1.0", "type": "go", "subject": "w", "id": "1", "source": "/a"}
    assert PLAIN.read(record(structured), 0)[2].id == "/a 1"
    named = {"specversion": "1.0", "event": "go", "workflow_id": "w", "id": 1, "source": "/b"}
    assert PLAIN.read(record(named), 0)[2].id == "/b 1"
    binary = record(1, headers=(*CE, ("ce_source", b"/a")))
    assert PLAIN.read(binary, 0)[2].id == "/a i"
    plain = {"event": "go", "workflow_id": "w", "id": "1", "source": "/a"}
    assert PLAIN.read(record(plain), 0)[2].id == "1"


ANYTHING = RECORD | st.builds(record, JSON, key=st.none() | st.binary(max_size=9), headers=HEADERS)
NAMES = ("workflow_id", "event", "payload", "data", "id", "specversion", "type", "time")
LIKELY = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("workflow_id", "event", "payload", "data", "id", "specversion", "type", "time"), JSON
    ),
)


@given(ANYTHING | st.builds(record, LIKELY, headers=st.sampled_from([(), CE])))
def test_any_record_is_read_or_undecodable(poison: Record) -> None:
    """No record can raise anything else: the intake makes a letter of it and goes on."""
    envelopes = [
        PLAIN,
        Envelope("t", RULES),
        inbox_envelope("t"),
        Envelope("t", Rules(machine=None)),
    ]
    reasons: set[str] = set()
    for envelope in envelopes:
        try:
            workflow_id, machine, event = envelope.read(poison, 0)
        except Undecodable as error:
            reasons.add(error.reason)
        else:
            assert type(workflow_id) is str
            assert workflow_id
            assert machine is None or type(machine) is str
            assert type(event.name) is str
            assert event.name
            assert event.id is None or type(event.id) is str
            assert type(event.time_ms) is int
            assert -(2**63) <= event.time_ms < 2**64
    assert reasons <= {Reason.UNDECODABLE, Reason.NO_WORKFLOW_ID, Reason.BAD_WORKFLOW_ID}


@given(EVENT.filter(lambda event: event.name[:1] not in {"", "@"}), NAME, st.none() | NAME)
def test_an_event_comes_through_the_inbox_as_it_was(
    event: Event, workflow_id: str, machine: str | None
) -> None:
    """Forwarded and emitted events keep name, payload, id, time and headers."""
    out = inbox_record("inbox", 2, workflow_id, machine, event)
    assert (out.topic, out.partition, out.key) == ("inbox", 2, workflow_id.encode())
    arrived = Record(9, 1_000, out.key, out.value, out.headers)
    found = inbox_envelope("inbox").read(arrived, 2)
    assert found[:2] == (workflow_id, machine)
    read = found[2]
    assert (read.name, read.payload, read.id) == (event.name, event.payload, event.id)
    assert read.time_ms == (event.time_ms or 1_000)
    if event.offset >= 0:
        assert read.headers[-1] == (FORWARDED_FROM, event.origin.encode())
        assert read.headers[:-1] == event.headers


PARTS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "@x", "w", "é\ufffd"])
)


@given(
    body=st.dictionaries(
        st.sampled_from(
            ["workflow_id", "event", "payload", "id", "time", "machine", "specversion"]
        ),
        PARTS | JSON,
    )
    | JSON,
    headers=HEADERS,
)
def test_the_inbox_reads_as_its_rules_say(body: Any, headers: Headers) -> None:
    """The short way of the inbox and its rules find the same event, or refuse it with the same words."""
    by_rules = Envelope("inbox", INBOX_RULES._replace(event='=body["event"]'))
    found: list[Any] = []
    for envelope in (inbox_envelope("inbox"), by_rules):
        try:
            found.append(envelope.read(record(body, headers=headers), 0))
        except Undecodable as error:
            found.append((error.reason, str(error).replace('["event"]', ".event")))
    assert found[0] == found[1]
