"""
What callbacks send: their events go to the target's home through the inbox, their records to topics.

Everything leaves in the cut that accepts the transition or marks the run done, or not at all. Turn and
effect check what a callback returned here, and send what its context collected.
"""

from __future__ import annotations

from typing import Any

from event_center.engine.home import Home
from event_center.engine.ledger import Ledger
from event_center.engine.run import Run
from event_center.errors import PluginError
from event_center.model import Event, Outgoing
from event_center.plugins.context import Context
from event_center.plugins.signatures import checked_result
from event_center.wire.envelope import inbox_record


class Outbox:
    """Sends for the callbacks of one shard."""

    def __init__(self, ledger: Ledger, inbox: str, home: Home) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self._home = home

    def returned(self, run: Run, value: Any) -> Event | PluginError | None:
        """The event that a callback returned, if any; an error if it is something else."""
        if value is None:
            return None
        try:
            return checked_result(run.callback, value)
        except PluginError as error:
            return error

    def send(self, context: Context) -> None:
        """Everything that the callback emitted and published leaves with the next cut."""
        if context.emitted is not None:
            for emitted in context.emitted:
                event = Event(emitted.event, emitted.payload, emitted.id)
                self.to(emitted.workflow_id, emitted.machine, event)
        if context.published is not None:
            for topic, key, value, headers in context.published:
                self._ledger.records.append(Outgoing(topic, key, value, headers))

    def to(self, workflow_id: str, machine: str | None, event: Event) -> None:
        """One event to a workflow's home."""
        home = self._home.of(workflow_id)
        record = inbox_record(self._inbox, home, workflow_id, machine, event)
        self._ledger.records.append(record)
