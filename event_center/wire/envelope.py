"""
Envelopes: how the records of a topic say which event they carry, and for which workflow.

Each topic has one, compiled once from its rules in the settings. Without rules it reads plain JSON
objects and CloudEvents, structured and binary. The engine's intake calls `find` for every record, so
the usual case is one function without further calls. What can not be read raises `Undecodable`, and
the intake makes a dead letter of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from event_center.errors import ExpressionError, Undecodable
from event_center.machine.expression import compile_expression
from event_center.model import RESERVED, Event, Headers, Json, Outgoing, Reason, Record

ROOTS = frozenset({"body", "key", "headers", "topic"})
"""What the expressions of a topic's rules can name."""

MAX_DEPTH = 200
"""Levels of lists and objects in a record: well below what can be written to a snapshot (254)."""
_DEEP_BYTES = 2 * MAX_DEPTH
"""A shorter value can not be that deep: most records need no look."""

_loads, _dumps = orjson.loads, orjson.dumps
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Read = tuple[str, str | None, Event]
"""What an envelope found: workflow_id, the machine to create it with (None: it names none), the event."""
Told = tuple[str, str | None, str, str | None, Json, int]
"""
The same with what a record tells of its event in place of it: name, id, payload and time. A plain tuple,
because one is made per record; not every record needs its event (`Standing` of the engine).
"""


class Rules(NamedTuple):
    """A topic's rules as the settings hold them: constants, or expressions beginning with `=`."""

    machine: str | None
    workflow_id: str | None = None
    event: str | None = None
    id: str | None = None
    payload: str | None = None
    time: str | None = None


class Envelope:
    """Reads the records of one topic."""

    __slots__ = ("_machine", "_rules", "_topic", "find")

    def __init__(self, topic: str, rules: Rules) -> None:
        """
        Compile the rules.

        Raises:
            ExpressionError: a rule's expression is not in the language; the message names the rule.
        """
        self._topic = topic
        self._rules = {
            name: _rule(topic, name, text)
            for name, text in rules._asdict().items()
            if text is not None
        }
        self._machine = None if (rules.machine or "=").startswith("=") else rules.machine
        plain = set(self._rules) <= {"machine"} and (self._machine or rules.machine is None)
        self.find: Callable[[Record], Told] = self._find_by_rules
        """Finds what a record tells, or raises `Undecodable`."""
        if plain:
            self.find = self._find_plain
        elif rules == INBOX_RULES:
            self.find = self._find_sent

    def read(self, record: Record, partition: int) -> Read:
        """
        The event of a record, and for whom it is.

        Raises:
            Undecodable: there is none in it.
        """
        workflow_id, machine, name, event_id, payload, time_ms = self.find(record)
        where = self._topic, partition, record.offset
        event = Event(name, payload, event_id, time_ms, record.headers, *where)
        return workflow_id, machine, event

    def _find_plain(self, record: Record) -> Told:
        """The usual case: a JSON object that names its workflow and its event."""
        try:
            _, stamp_ms, _, value, headers = record
            value = value or b""  # no value is no JSON, like an empty one
            body = _loads(value)
            if len(value) >= _DEEP_BYTES and value.count(b"[") + value.count(b"{") > MAX_DEPTH:
                _check_depth(body)
            workflow_id = body["workflow_id"]
            name = body["event"]
            event_id = body.get("id")
            if (
                type(workflow_id) is str
                and type(name) is str
                and workflow_id
                and name
                and name[0] != RESERVED
                and "specversion" not in body
                and (event_id is None or type(event_id) is str or type(event_id) is int)
                and (not headers or "ce_specversion" not in dict(headers))
            ):
                payload = body.get("payload")
                if payload is None:
                    payload = body.get("data", body) if "payload" not in body else None
                if type(event_id) is int:
                    event_id = str(event_id)
                return workflow_id, self._machine, name, event_id, payload, stamp_ms
        except (KeyError, TypeError, ValueError):
            pass  # not the usual case: the long way finds the event, or says what is missing
        return self._find_by_rules(record)

    def _find_sent(self, record: Record) -> Told:
        """What the center itself wrote to its inbox (`plain_form`), read as by the rules."""
        try:
            _, stamp_ms, _, value, _ = record
            value = value or b""
            body = _loads(value)
            if len(value) >= _DEEP_BYTES and value.count(b"[") + value.count(b"{") > MAX_DEPTH:
                _check_depth(body)
            workflow_id, name, payload = body["workflow_id"], body["event"], body["payload"]
            event_id, time_ms, machine = body.get("id"), body.get("time"), body.get("machine")
            if (
                type(workflow_id) is str
                and type(name) is str
                and workflow_id
                and name
                and name[0] != RESERVED
                and (event_id is None or type(event_id) is str)
                and (time_ms is None or type(time_ms) is int)
                and (machine is None or type(machine) is str)
            ):
                at_ms = stamp_ms if time_ms is None else time_ms
                return workflow_id, machine, name, event_id, payload, at_ms
        except (KeyError, TypeError, ValueError, AttributeError):
            pass  # somebody else has written it: the long way finds the event, or says what is missing
        return self._find_by_rules(record)

    def _find_by_rules(self, record: Record) -> Told:
        """Every other case: rules, CloudEvents, keys."""
        found = _Found(self._topic, record, _body(record), self._rules)
        workflow_id = found.text("workflow_id", found.workflow_id)
        if workflow_id is None or workflow_id == "":
            msg = "no workflow_id in the body, no subject of a CloudEvent, and no key"
            raise Undecodable(Reason.NO_WORKFLOW_ID, msg)
        name = found.text("event", found.event)
        if not name:
            msg = "no event name: neither `event` in the body nor the type of a CloudEvent"
            raise Undecodable(Reason.UNDECODABLE, msg)
        if name.startswith(RESERVED):
            msg = f"event {name[:80]!r}: names that begin with @ are the center's own; publish another"
            raise Undecodable(Reason.UNDECODABLE, msg)
        if "\ufffd" in workflow_id:
            found.check_bytes(workflow_id)
        payload, event_id = found.payload(), found.text("id", found.id)
        time_ms = found.time_ms()
        machine = found.text("machine", lambda: self._machine)
        return workflow_id, machine, name, event_id, payload, time_ms


def _rule(topic: str, name: str, text: str) -> Callable[[Mapping[str, Any]], Any]:
    """A rule as a function of what its expression can name; a constant is a function of nothing."""
    if not text.startswith("="):
        return lambda _: text
    return compile_expression(text[1:], ROOTS, f"[topics.{topic}] {name}").evaluate


def _body(record: Record) -> Json:
    """The record's value as JSON."""
    if record.value is None:
        msg = "the record has no value"
        raise Undecodable(Reason.UNDECODABLE, msg)
    try:
        body = _loads(record.value)
    except orjson.JSONDecodeError as error:
        msg = f"the value is not JSON: {error}"
        raise Undecodable(Reason.UNDECODABLE, msg) from error
    if len(record.value) >= _DEEP_BYTES:
        _check_depth(body)
    return body


def _check_depth(body: Json) -> None:
    """JSON can be read deeper than it can be written again: refuse it before it gets into a snapshot."""
    level = [body] if isinstance(body, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    msg = f"the value is nested deeper than {MAX_DEPTH} levels"
    raise Undecodable(Reason.UNDECODABLE, msg)


class _Found:
    """Looks for the parts of one event in one record."""

    def __init__(
        self,
        topic: str,
        record: Record,
        body: Json,
        rules: Mapping[str, Callable[[Mapping[str, Any]], Any]],
    ) -> None:
        self._record = record
        self._body: dict[str, Json] = body if isinstance(body, dict) else {}
        self._whole = body
        self._rules = rules
        self._headers = _header_texts(record.headers)
        self._key = None if record.key is None else record.key.decode("utf-8", "replace")
        self._values = {"body": body, "key": self._key, "headers": self._headers, "topic": topic}
        self._structured = "specversion" in self._body
        self._binary = "ce_specversion" in self._headers

    def _by_rule(self, name: str) -> Json:
        try:
            return self._rules[name](self._values)
        except ExpressionError as error:
            reason = Reason.NO_WORKFLOW_ID if name == "workflow_id" else Reason.UNDECODABLE
            raise Undecodable(reason, str(error)) from error

    def text(self, name: str, otherwise: Callable[[], Json]) -> str | None:
        """A part that is a text; whole numbers are taken as their digits."""
        value = self._by_rule(name) if name in self._rules else otherwise()
        if value is None or type(value) is str:
            return value
        if type(value) is int:
            return str(value)
        msg = f"{name} is {type(value).__name__}, expected a text"
        raise Undecodable(Reason.UNDECODABLE, msg)

    def workflow_id(self) -> Json:
        """`workflow_id` of the body, else the subject of a CloudEvent, else the record's key."""
        for value in (
            self._body.get("workflow_id"),
            self._headers.get("ce_workflow_id") if self._binary else None,
            self._headers.get("ce_subject") if self._binary else None,
            self._body.get("subject") if self._structured else None,
        ):
            if value is not None:
                return value
        return self._key

    def check_bytes(self, workflow_id: str) -> None:
        """
        Refuse a workflow_id in which U+FFFD stands for bytes: others would be the same workflow.

        Raises:
            Undecodable: the key or a header, one of which names the workflow, is not UTF-8.
        """
        values = [value for _, value in self._record.headers]
        for value in values if self._record.key is None else [*values, self._record.key]:
            text = value.decode("utf-8", "replace")
            if text.encode() != value:
                msg = f"the workflow_id {workflow_id[:80]!r} comes of bytes that are not UTF-8"
                raise Undecodable(Reason.BAD_WORKFLOW_ID, msg)

    def event(self) -> Json:
        """`event` of the body, else the type of a CloudEvent; the body of a binary one is its payload."""
        if self._binary:
            return self._headers.get("ce_type")
        if self._structured:
            return self._body.get("event", self._body.get("type"))
        return self._body.get("event")

    def id(self) -> Json:
        """
        `id` of the body. A CloudEvent's is `source` and `id` with a space between them.

        Its id alone is unlike others only among those of its source.
        """
        if self._binary:
            source, event_id = self._headers.get("ce_source"), self._headers.get("ce_id")
        else:
            source = self._body.get("source") if self._structured else None
            event_id = self._body.get("id")
        if type(event_id) not in {str, int} or type(source) is not str:
            return event_id
        return f"{source} {event_id}"

    def payload(self) -> Json:
        """`payload` of the body, else `data`, else the body."""
        if "payload" in self._rules:
            return self._by_rule("payload")
        if self._binary or not self._body:
            return self._whole
        if "payload" in self._body:
            return self._body["payload"]
        return self._body.get("data", self._whole)

    def time_ms(self) -> int:
        """When it happened, as its publisher says; else when the log received it."""
        value = None
        if "time" in self._rules:
            value = self._by_rule("time")
        elif self._binary:
            value = self._headers.get("ce_time")
        elif self._structured:
            value = self._body.get("time")
        if type(value) is int:
            return value
        if type(value) is not str:
            return self._record.timestamp_ms
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:  # on every machine the same moment, whatever its own zone is
                moment = moment.replace(tzinfo=UTC)
            return (moment - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError) as error:
            msg = f"time is not in the form of RFC 3339: {value[:40]!r}"
            raise Undecodable(Reason.UNDECODABLE, msg) from error


def _header_texts(headers: Headers) -> dict[str, str]:
    return {name: value.decode("utf-8", "replace") for name, value in headers}


FORWARDED_FROM = "__event_center.forwarded.from"
"""The header in which a forwarded event keeps where it was read first."""


def inbox_record(  # noqa: PLR0917 - the parts of one event, in the order of `Event`
    topic: str, partition: int, workflow_id: str, machine: str | None, event: Event
) -> Outgoing:
    """An event on its way to another workflow's home."""
    headers = event.headers
    if event.offset >= 0:
        headers = (*headers, (FORWARDED_FROM, event.origin.encode()))
    value = plain_form(
        workflow_id, event.name, event.payload, event.id, machine, time_ms=event.time_ms
    )
    return Outgoing(topic, workflow_id.encode(), value, headers, partition)


def plain_form(  # noqa: PLR0917 - called per event that is emitted
    workflow_id: str,
    event: str,
    payload: Json,
    event_id: str | None,
    machine: str | None,
    *,
    time_ms: int = 0,
) -> bytes:
    """An event as the value of a record, in the plain form that every envelope reads."""
    body: dict[str, Json] = {"workflow_id": workflow_id, "event": event, "payload": payload}
    if event_id is not None:
        body["id"] = event_id
    if time_ms:
        body["time"] = time_ms
    if machine is not None:
        body["machine"] = machine
    return _dumps(body)


def inbox_envelope(topic: str) -> Envelope:
    """The envelope of the inbox: what `inbox_record` wrote."""
    return Envelope(topic, INBOX_RULES)


INBOX_RULES = Rules(
    machine="=body.machine if 'machine' in body else None",
    workflow_id="=body.workflow_id",
    event="=body.event",
    id="=body.id if 'id' in body else None",
    payload="=body.payload",
    time="=body.time if 'time' in body else None",
)
