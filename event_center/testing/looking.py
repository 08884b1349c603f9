"""
What a test may ask of its center: workflows, history, letters, what was sent, and which callbacks ran.

All of it is what is durable, read from the log in memory at once, without waiting. `TestCenter` is
this, and all that makes it live.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from event_center.client.app import App
from event_center.client.history import line
from event_center.errors import NoSuchWorkflow, UnknownTopic
from event_center.log.memory import MemoryBroker
from event_center.machine.spelling import hint
from event_center.model import Headers, Json, Record, Shard, Snapshot
from event_center.testing.fakes import Call
from event_center.testing.telling import in_vain, told, told_of_none
from event_center.wire import history as history_wire
from event_center.wire import letter as letter_wire
from event_center.wire import snapshot as snapshot_wire
from event_center.wire.entries import SNAPSHOTS, snapshot_key, workflow_of
from event_center.wire.letter import Letter


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A record that callbacks or machines have sent to a topic."""

    topic: str
    key: str | None
    body: Json
    """What its JSON says; bytes if it is none."""
    headers: Headers


class Looking:
    """The answers of a center in a test."""

    _broker: MemoryBroker
    _app: App
    _noted: list[Call]

    def _clock(self) -> int:
        raise NotImplementedError

    @property
    def now(self) -> datetime:
        """The time that machines and callbacks are told, in UTC."""
        return datetime.fromtimestamp(self._clock() / 1000, UTC)

    def workflow(self, workflow_id: str) -> Snapshot:
        """
        A workflow: its `state`, `data`, `status`, `result`, `timers`, `owed`, `refusals`, and more.

        Raises:
            NoSuchWorkflow: there is none of this id; it says which are, or what became of its event.
        """
        store = self._broker.store(self._app.home(workflow_id))
        value = store.get(snapshot_key(workflow_id))
        if value is None:
            known = sorted(one.workflow_id for one in self.workflows())
            why = in_vain(self.history(workflow_id)) or hint(workflow_id, known, "workflows")
            raise NoSuchWorkflow(f"there is no workflow {workflow_id!r}{why}")
        return snapshot_wire.decode(workflow_id, value)

    def workflows(self) -> list[Snapshot]:
        """All workflows that there are."""
        return [
            snapshot_wire.decode(workflow_of(key), value)
            for shard in range(self._app.shards)
            for key, value in self._broker.store(Shard(shard)).items()
            if key.startswith(SNAPSHOTS)
        ]

    def history(self, workflow_id: str) -> list[dict[str, Any]]:
        """What happened to a workflow, oldest first, as `event-center history --json` tells it."""
        key = workflow_id.encode()
        records = self._broker.line((self._app.history, self._app.home(workflow_id)))
        return [
            line(history_wire.read(one.value))
            for one in records
            if one.key == key and one.value is not None
        ]

    @property
    def letters(self) -> list[Letter]:
        """All dead letters: each has a `reason`, and `workflow_id`, `event`, `error`, `message`."""
        topic = self._app.dead_letters
        return [
            letter_wire.read(topic, partition, record) for partition, record in self._records(topic)
        ]

    def emitted(self, topic: str | None = None) -> list[Sent]:
        """
        What callbacks and machines have sent, oldest first.

        Args:
            topic: one of `[publish] topics`; None: events for workflows, which go through the inbox.

        Raises:
            UnknownTopic: there is no such topic.
        """
        name = self._app.inbox if topic is None else topic
        return [_sent(name, record) for _, record in self._records(name)]

    def calls(self, name: str | None = None) -> list[Call]:
        """The calls of callbacks, of all or of one name, oldest first; fakes count as what they are for."""
        return [one for one in self._noted if name in {None, one.name}]

    def told(self) -> str:
        """What has happened, workflow by workflow, to be read by a person."""
        there = {
            one.workflow_id: told(one, self.history(one.workflow_id)) for one in self.workflows()
        }
        keys = {record.key for _, record in self._records(self._app.history)}
        ids = {key.decode(errors="replace") for key in keys if key is not None} - set(there)
        refused = {one: told_of_none(one, self.history(one)) for one in ids}
        return "\n".join(text for _, text in sorted((there | refused).items()))

    def _records(self, topic: str) -> Iterable[tuple[int, Record]]:
        info = self._broker.infos.get(topic)
        if info is None:
            raise UnknownTopic(
                f"there is no topic {topic!r}{hint(topic, sorted(self._broker.infos), 'topics')}; "
                "callbacks and machines send to those of `[publish] topics`",
                topic=topic,
            )
        found = [(q, one) for q in range(info.partitions) for one in self._broker.line((topic, q))]
        return sorted(found, key=lambda pair: pair[1].timestamp_ms)


def _sent(topic: str, record: Record) -> Sent:
    body: Any = record.value
    try:
        body = None if record.value is None else orjson.loads(record.value)
    except orjson.JSONDecodeError:
        body = record.value  # somebody else's bytes are shown as they are
    key = None if record.key is None else record.key.decode(errors="replace")
    return Sent(topic=topic, key=key, body=body, headers=record.headers)
