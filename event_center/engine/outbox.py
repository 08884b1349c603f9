"""
What callbacks send: events go through the inbox to the home of whom they are for, records to topics.

Everything leaves in the cut that accepts the transition or marks the run done, or not at all. `deciding`
and `effect` check what a callback returned here, and send what its context collected. After the check
nothing can fail any more: it leaves copies that no callback holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from event_center.engine.attempt import failure_of
from event_center.engine.job import JobRun
from event_center.engine.ledger import Ledger
from event_center.engine.plan import Plan
from event_center.engine.run import Run
from event_center.errors import PluginError, TopicClosed
from event_center.machine.decision import Emission
from event_center.model import RESERVED, Event, Failure, Json, Outgoing, Snapshot
from event_center.plugins.context import Context, Emitted
from event_center.plugins.signatures import checked_result
from event_center.wire.envelope import inbox_record

WRONG = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError)
"""What looking at a callback's result can raise: parts of it may be objects of the user's classes."""


class Postponed(NamedTuple):
    """Who has tried to send to a topic that is closed: why that is so, and when to try again."""

    failure: Failure
    due_ms: int


class Outbox:
    """Sends for the callbacks of one shard."""

    def __init__(self, ledger: Ledger, plan: Plan) -> None:
        self._ledger = ledger
        self._inbox = plan.topics.inbox
        self._home = plan.home
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
                _keep_sent(context, self._max_bytes)
            if value is None:
                return None
            if type(value) is str and value and value.isascii() and value[0] != RESERVED:
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
        return None if sent is None else self.closed((one.topic for one in sent), run.callback.name)

    def result(self, run: JobRun, value: Json) -> Json | PluginError:
        """What a job returned, as a restart would find it; an error if the log could not hold it."""
        context, callback = run.context, run.callback
        try:
            if context.emitted is not None or context.published is not None:
                _keep_sent(context, self._max_bytes)
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

    def send(self, context: Context) -> None:
        """Everything that the callback emitted and published leaves with the next cut."""
        if context.emitted is not None:
            events = []
            for number, emitted in enumerate(context.emitted):
                event_id = emitted.id
                if self._named and event_id is None:
                    event_id = f"{context.idempotency_key}/{number}"
                event = Event(emitted.event, emitted.payload, event_id)
                events.append(self._to(emitted.workflow_id, emitted.machine, event))
            self._ledger.send(events)
        if context.published is not None:
            self._ledger.send([Outgoing(*published) for published in context.published])

    def declared(
        self, snapshot: Snapshot, event: Event, emits: tuple[Emission, ...]
    ) -> list[Outgoing]:
        """
        The records of what a transition emits by itself, made before its accept, which can not fail.

        Raises:
            PluginError: one is larger than the log can hold.
        """
        records = []
        for number, emit in enumerate(emits):
            key = f"{snapshot.workflow_id}/{event.origin}/emit/{number}" if self._named else None
            sent = Event(emit.event, emit.payload, key)
            if emit.topic is None:
                record = self._to(emit.workflow_id, emit.machine, sent)
            else:
                # The plain form again, which every envelope reads; the log partitions by the key.
                record = inbox_record(emit.topic, 0, emit.workflow_id, None, sent)
                record = record._replace(partition=None)
            size = len(record.value or b"")
            _check_size(size, self._max_bytes, f"the event {emit.event!r} that is emitted")
            records.append(record)
        return records

    def forward(self, workflow_id: str, machine: str | None, event: Event) -> bool:
        """Send an event to its workflow's home; False if it is larger so than the log can hold."""
        if self._named and event.id is None:
            event.id = event.origin
        record = self._to(workflow_id, machine, event)
        if record.value is not None and len(record.value) > self._max_bytes:
            return False
        self._ledger.send([record])
        return True

    def _to(self, workflow_id: str, machine: str | None, event: Event) -> Outgoing:
        """The record of an event for a workflow's home."""
        home = self._home.of(workflow_id)
        return inbox_record(self._inbox, home, workflow_id, machine, event)


def _keep_sent(context: Context, max_bytes: int) -> None:
    """
    Copies take the place of what was emitted: callbacks may hold it, and change it until it leaves.

    Raises:
        TypeError: a part of what was emitted or published is not JSON.
        PluginError: it is larger than the log can hold.
    """
    if context.emitted is not None:
        plain = []
        for one in context.emitted:
            sent = orjson.dumps(tuple(one))
            _check_size(len(sent), max_bytes, f"the event {one.event!r} that was emitted")
            plain.append(Emitted._make(orjson.loads(sent)))
        context.emitted = plain
    for published in context.published or ():
        orjson.dumps([name for name, _ in published.headers])
        size = sum(len(name) + len(value) for name, value in published.headers)
        size += len(published.key or b"") + len(published.value or b"")
        _check_size(size, max_bytes, f"the record that was published to {published.topic!r}")


def _as_read_back(event: Event, max_bytes: int) -> Event:
    """The event as a restart would find it: a copy that its callback can not change any more."""
    parts = orjson.dumps((event.name, event.payload, event.id))
    _check_size(len(parts), max_bytes, f"the event {event.name!r} that was returned")
    name, payload, event_id = orjson.loads(parts)
    return Event(name, payload, None if event_id is None else str(event_id))


def _check_size(size: int, max_bytes: int, what: str) -> None:
    if size > max_bytes:
        raise PluginError(
            f"{what} has {size} bytes, and a record of this log at most {max_bytes}: keep what is "
            "large elsewhere, and send its name"
        )
