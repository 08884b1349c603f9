"""
An app as its clients see it: the names of its topics, how their records are read, where workflows
live.

Made from the settings by whoever opens a log (the CLI, a program of the user) and handed to every
view and command of this room. It holds no state and does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from event_center.model import Shard
from event_center.wire.envelope import Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class App:
    """What a client has to know of an app besides its log."""

    inbox: str
    commands: str
    history: str
    dead_letters: str
    envelopes: Mapping[str, Envelope]
    """Per topic that carries events, the inbox included."""
    shards: int
    home: Callable[[str], Shard]
    """The shard in which the workflow of this id lives."""

    def consumed(self) -> list[str]:
        """The topics that the app's daemon reads."""
        return [self.commands, *self.envelopes]
