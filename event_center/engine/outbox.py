"""
What callbacks send: events go through the inbox to the home of whom they are for, records to topics.

Everything leaves in the cut that accepts the transition or marks the run done, or not at all. `deciding`
and `effect` check what a callback returned here, and get records of what its context collected. After that
nothing can fail any more, and no callback holds a part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from event_center.engine.attempt import failure_of
from event_center.engine.job import JobRun
from event_center.engine.ledger import Ledger
from event_center.engine.plan import Plan
from event_center.engine.run import Run
from event_center.errors import PluginError, TopicClosed
from event_center.machine.decision import Emission
from event_center.model import (
    MAX_NAME,
    RESERVED,
    Event,
    Failure,
    Json,
    OutgoingParts,
    Shard,
    Snapshot,
    size_of,
)
from event_center.plugins.context import Context, Emitted
from event_center.plugins.signatures import checked_result
from event_center.wire.envelope import inbox_record, plain_form

WRONG = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError)
"""What looking at a callback's result can raise: parts of it may be objects of the user's classes."""


class Postponed(NamedTuple):
    """Who has tried to send to a topic that is closed: why that is so, and when to try again."""

    failure: Failure
    due_ms: int


class Outbox:
    """Sends for the callbacks of one shard."""

    def __init__(self, ledger: Ledger, plan: Plan, shard: Shard) -> None:
        self._ledger = ledger
        self._inbox = plan.topics.inbox
        self._home, self._shard = plan.home, shard
        self._closed_topics = plan.closed_topics
        self._max_bytes = plan.limits.record_bytes
        self._named = plan.at_least_once
        """Give every event an id: the log may hold it twice, and its workflow has to see that."""

    def returned(self, run: Run, value: Any) -> Event | PluginError | None:
        """
        The event that a callback returned, if any; an error if the log could not hold it.

        What the callback has emitted is looked at as well: once its run is marked done it is too late.
        """
        context = run.context
        try:
            if context.emitted is not None or context.published is not None:
                run.sends = self._sent(context)
            if value is None:
                return None
            plain = type(value) is str and 0 < len(value) <= MAX_NAME and value.isascii()
            if plain and value[0] != RESERVED:
                return Event(value)
            event = checked_result(run.callback, value)
            return None if event is None else _as_read_back(event, self._max_bytes)
        except PluginError as error:
            return error
        except WRONG as error:
            callback = run.callback
            why = failure_of(callback.name, error, 0, run.context.attempt)
            return PluginError(
                f"{callback.file_line}: callback {callback.name!r} returned or sent what is not "
                f"JSON: {why.message}; names and ids are texts, payloads what JSON can say"
            )

    def closed(self, topics: Iterable[str], callback: str) -> Postponed | None:
        """Why nothing can be sent to one of these topics now, as the failure of who has tried to."""
        if not self._closed_topics.by_name:
            return None
        now = self._ledger.clock()
        closed = self._closed_topics.first(topics, now)
        if closed is None:
            return None
        again_s = (closed.until_ms - now) / 1000
        error = TopicClosed(
            f"nothing can be published to {closed.topic!r} now: {closed.why}; it is tried again in "
            f"{again_s:g} s, and no attempt is lost"
        )
        return Postponed(failure_of(callback, error, now, 0), closed.until_ms)

    def published(self, run: Run) -> Postponed | None:
        """The same for what a callback has published."""
        sent = run.context.published
        if sent is None or not self._closed_topics.by_name:
            return None
        return self.closed((one.topic for one in sent), run.callback.name)

    def result(self, run: JobRun, value: Json) -> Json | PluginError:
        """What a job returned, as a restart would find it; an error if the log could not hold it."""
        context, callback = run.context, run.callback
        try:
            if context.emitted is not None or context.published is not None:
                run.sends = self._sent(context)
            if value is None:
                return None
            parts = orjson.dumps(value)
            run.weight = len(parts)
            _check_size(run.weight, self._max_bytes, "the result")
        except PluginError as error:
            return error
        except WRONG as error:
            why = failure_of(callback.name, error, 0, context.attempt)
            return PluginError(
                f"{callback.file_line}: job {callback.name!r} returned or sent what is not JSON: "
                f"{why.message}; its result is the payload of `on_done`, and `ctx.emit` sends events"
            )
        return orjson.loads(parts)

    def handed_on(self, snapshot: Snapshot, run: Run, returned: Event) -> OutgoingParts:
        """The record of an event that a decide callback returned: it goes through the inbox."""
        context = run.context
        event_id = returned.id
        if self._named and event_id is None:
            event_id = f"{context.idempotency_key}/{len(context.emitted or ())}"
        workflow_id = snapshot.workflow_id
        value = plain_form(workflow_id, returned.name, returned.payload, event_id, None)
        return self._to_home(workflow_id, value, workflow_id)

    def declared(
        self, snapshot: Snapshot, event: Event, emits: Sequence[Emission]
    ) -> list[OutgoingParts] | Postponed | PluginError:
        """
        The records of what a transition emits by itself, made before its accept, which can not fail.

        Else why they can not leave: a topic takes nothing now, or one is larger than the log can hold.
        """
        if self._closed_topics.by_name:
            closed = self.closed((topic or "" for _, _, _, topic, _ in emits), "emit")
            if closed is not None:
                return closed
        records: list[OutgoingParts] = []
        for number, (name, workflow_id, payload, topic, machine) in enumerate(emits):
            event_id = None
            if self._named:
                event_id = f"{snapshot.workflow_id}/{event.origin}/emit/{number}"
            value = plain_form(workflow_id, name, payload, event_id, machine)
            if topic is None:
                record = self._to_home(workflow_id, value, snapshot.workflow_id)
            else:
                record = topic, workflow_id.encode(), value, (), None, 0
            size = size_of(record[1], value, record[3])
            if size > self._max_bytes:
                return _too_large(size, self._max_bytes, f"the event {name!r} that is emitted")
            records.append(record)
        return records

    def forward(self, workflow_id: str, machine: str | None, event: Event) -> bool:
        """Send an event to its workflow's home; False if it is larger so than the log can hold."""
        if self._named and event.id is None:
            event.id = event.origin
        home = self._home.of(workflow_id)
        record = inbox_record(self._inbox, home, workflow_id, machine, event)
        if size_of(record.key, record.value, record.headers) > self._max_bytes:
            return False
        self._ledger.send([record])
        return True

    def _sent(self, context: Context) -> list[OutgoingParts]:
        """
        The records of what a callback has sent, as bytes: it may hold what it sent, and change it.

        Raises:
            TypeError and others of `WRONG`: a part of what was emitted or published is not JSON.
            PluginError: it is larger than the log can hold.
        """
        records: list[OutgoingParts] = []
        for one in () if context.emitted is None else context.emitted:
            if type(one) is not Emitted:
                raise TypeError("ctx.emitted has what ctx.emit did not put there")
            workflow_id, name, payload, event_id, machine = one
            if self._named and event_id is None:
                event_id = f"{context.idempotency_key}/{len(records)}"
            value = plain_form(workflow_id, name, payload, event_id, machine)
            record = self._to_home(workflow_id, value)
            size = size_of(record[1], value, record[3])
            if size > self._max_bytes:
                what = f"the event {name!r} that was emitted"
                raise _too_large(size, self._max_bytes, what)
            records.append(record)
        for published in () if context.published is None else context.published:
            topic, key, value, headers = published
            size = size_of(key, value, headers)
            if size > self._max_bytes:
                what = f"the record that was published to {topic!r}"
                raise _too_large(size, self._max_bytes, what)
            records.append((topic, key, value, headers, None, 0))
        return records

    def _to_home(self, workflow_id: str, value: bytes, sender: str = "") -> OutgoingParts:
        """The record of an event for a workflow's home; its sender's, if that is known, is this shard."""
        home = self._shard if workflow_id == sender else self._home.of(workflow_id)
        return self._inbox, workflow_id.encode(), value, (), home, 0


def _as_read_back(event: Event, max_bytes: int) -> Event:
    """The event as a restart would find it: a copy that its callback can not change any more."""
    parts = orjson.dumps((event.name, event.payload, event.id))
    _check_size(len(parts), max_bytes, f"the event {event.name!r} that was returned")
    name, payload, event_id = orjson.loads(parts)
    return Event(name, payload, None if event_id is None else str(event_id))


def _check_size(size: int, max_bytes: int, what: str) -> None:
    if size > max_bytes:
        raise _too_large(size, max_bytes, what)


def _too_large(size: int, max_bytes: int, what: str) -> PluginError:
    return PluginError(
        f"{what} has {size} bytes, and a record of this log at most {max_bytes}: keep what is "
        "large elsewhere, and send its name"
    )
