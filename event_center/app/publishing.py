"""
Publishers for programs: events into the topics of a center, from asyncio or from plain threads.

    async with Publisher.open("config/event-center.toml") as publisher:
        await publisher.publish("orders", workflow_id="o-1", event="flow_begin", payload={"n": 1})

What was returned is durable. A center does not have to run meanwhile: the events wait in its log.
Any number of asyncio tasks or threads may share one publisher; calls at the same time share a
write. `client.publisher` has the next step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from event_center.app.machines import machines_at_hand
from event_center.app.opening import open_log
from event_center.app.settings import Settings, load_settings
from event_center.app.wiring import app_of, max_event_bytes
from event_center.client.active import NONE, Machines
from event_center.client.publisher import EventPublisher, event_record
from event_center.client.reaching import Awaited, Goal, wait_for
from event_center.errors import UnknownTopic
from event_center.log.port import Log
from event_center.machine.spelling import hint
from event_center.model import Json, Outgoing, Position

Config = Path | str | Settings | None
"""A settings file, settings made in code, or None for the default places."""


def known_topics(settings: Settings) -> list[str]:
    """The topics that may be published to: consumed ones, and `[publish] topics`."""
    return sorted({*settings.topics, *settings.publish.topics})


def check_topic(topic: str, known: Iterable[str]) -> None:
    """
    Refuse a topic that the settings do not name.

    Raises:
        UnknownTopic: with the topic that was probably meant.
    """
    known = list(known)
    if topic not in known:
        raise UnknownTopic(
            f"there is no topic {topic!r} in the settings{hint(topic, known, 'topics')} (a table "
            f"[topics.{topic}] makes one)"
        )


class Publisher:
    """Publishes events from asyncio programs. Make it with `open`."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._log = log
        self._settings = settings
        self._known = frozenset(known_topics(settings))
        self._machines = NONE
        """Loaded when somebody waits for a state."""
        self._events = EventPublisher(log, max_event_bytes(settings))

    @classmethod
    @asynccontextmanager
    async def open(
        cls, config: Config = None, *, overrides: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Publisher]:
        """
        Open the log that the settings name.

        Args:
            config: a settings file, settings made in code, or None for the default places.
            overrides: settings over those of the file, nested as in it.

        Raises:
            ConfigurationError: the settings can not be used; it says what is wrong with them.
            LogUnavailable: the log can not be opened.
        """
        settings = config
        if not isinstance(settings, Settings):
            path = None if settings is None else Path(settings)
            settings = load_settings(path, overrides or {})
        log = await open_log(settings)
        try:
            yield cls(settings, log)
        finally:
            await log.close()

    async def publish(
        self,
        topic: str,
        *,
        workflow_id: str,
        event: str,
        payload: Json = None,
        id: str | None = None,  # noqa: A002 - the word of the domain and of CloudEvents
    ) -> Position:
        """
        Publish one event; it is durable when this returns.

        Args:
            topic: one of the topics in the settings.
            workflow_id: the workflow that it is for: up to 512 bytes, no control characters.
            event: its name, as the machine has it.
            payload: what JSON can hold.
            id: the event's own id, by which a workflow finds out that it was sent twice; a new one
                is made if none is given.

        Raises:
            UnknownTopic: the settings have no such topic.
            ValueError, TypeError: the event can not be written.
            NotCommitted: certain, it was not published. Unknown: it may have been.
        """
        check_topic(topic, self._known)
        return await self._events.publish(
            topic, workflow_id=workflow_id, event=event, payload=payload, event_id=id
        )

    async def publish_many(
        self, topic: str, events: Iterable[Mapping[str, Json]]
    ) -> list[Position]:
        """
        Publish events in their order, several hundred to a write; all are durable when this
        returns.

        Args:
            topic: one of the topics in the settings.
            events: each a mapping with `workflow_id`, `event` and, if wanted, `payload` and `id`.

        Raises:
            UnknownTopic, ValueError, TypeError, NotCommitted, Unknown: as `publish`. Writes before
                the one that failed stand.
        """
        check_topic(topic, self._known)
        return await self._events.publish_many(_record(topic, event) for event in events)

    async def wait_for(
        self, workflow_id: str, *, state: str | None = None, timeout_s: float | None = None
    ) -> Awaited:
        """
        Wait until a workflow has ended, or has been in a state: the reply to what was published.

        What happens after this is called is seen, however short; a workflow that is there
        already is returned at once, and one that does not exist yet is waited for. A center
        has to run.

        Args:
            workflow_id: which workflow.
            state: a state of its machine, also one with states inside; None: until it has ended, however.
            timeout_s: how long to wait; None: for ever.

        Raises:
            NotReached: it has not, in this time; a TimeoutError, too.
            NeverReached: it has ended elsewhere.
            UnknownState: its machine has no such state, as far as the settings' machines are here.
        """
        if state is not None and self._machines is NONE:
            self._machines = Machines(await to_thread.run_sync(machines_at_hand, self._settings))
        goal, app = Goal(state, self._machines), app_of(self._settings)
        return await wait_for(self._log, app, workflow_id, goal, within_s=timeout_s)


def _record(topic: str, event: Mapping[str, Json]) -> Outgoing:
    unknown = event.keys() - {"workflow_id", "event", "payload", "id"}
    missing = {"workflow_id", "event"} - event.keys()
    if unknown or missing:
        what = f"lacks {sorted(missing)}" if missing else f"has unknown keys {sorted(unknown)}"
        raise ValueError(f"an event {what}; it has workflow_id, event and perhaps payload and id")
    return event_record(
        topic,
        workflow_id=event["workflow_id"],
        event=event["event"],
        payload=event.get("payload"),
        event_id=event.get("id"),
    )


class SyncPublisher:
    """Publishes events from threads, with an event loop of its own. Make it with `open`."""

    def __init__(self, publisher: Publisher, portal: BlockingPortal) -> None:
        self._publisher = publisher
        self._portal = portal

    @classmethod
    @contextmanager
    def open(
        cls, config: Config = None, *, overrides: Mapping[str, Any] | None = None
    ) -> Iterator[SyncPublisher]:
        """Open the log that the settings name; takes and raises what `Publisher.open` does."""
        with start_blocking_portal("asyncio", name="event-center publisher") as portal:
            opening = Publisher.open(config, overrides=overrides)
            with portal.wrap_async_context_manager(opening) as publisher:
                yield cls(publisher, portal)

    def publish(
        self,
        topic: str,
        *,
        workflow_id: str,
        event: str,
        payload: Json = None,
        id: str | None = None,  # noqa: A002 - as in `Publisher.publish`
    ) -> Position:
        """Publish one event and wait until it is durable; as `Publisher.publish`."""
        call = partial(
            self._publisher.publish,
            topic,
            workflow_id=workflow_id,
            event=event,
            payload=payload,
            id=id,
        )
        return self._portal.call(call)

    def publish_many(self, topic: str, events: Iterable[Mapping[str, Json]]) -> list[Position]:
        """Publish events in their order, wait until all are durable: `Publisher.publish_many`."""
        return self._portal.call(self._publisher.publish_many, topic, list(events))

    def wait_for(
        self, workflow_id: str, *, state: str | None = None, timeout_s: float | None = None
    ) -> Awaited:
        """Wait until a workflow has ended, or has been in a state: `Publisher.wait_for`."""
        wait = partial(self._publisher.wait_for, workflow_id, state=state, timeout_s=timeout_s)
        return self._portal.call(wait)
