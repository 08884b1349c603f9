"""
What an administrator asks of topics: their partitions and settings, and whether these fit their use.

Nouns only. The engines of the log fill them in, `port.Log` names the questions, and `event-center
topics` prints the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Use(StrEnum):
    """What the center does with a topic."""

    EVENTS = "events"
    INBOX = "inbox"
    COMMANDS = "commands"
    HISTORY = "history"
    LETTERS = "dead letters"
    SNAPSHOTS = "snapshots"
    PUBLISHED = "published"


class PartitionDetail(NamedTuple):
    """One partition: the offset of its oldest record, and the one that the next will have."""

    partition: int
    first: int
    next: int


class TopicDetail(NamedTuple):
    """One topic as its log keeps it."""

    name: str
    partitions: tuple[PartitionDetail, ...]
    replicas: int
    """Copies of the partition that has the fewest."""
    in_sync: int
    """Of these, the copies that are up to date."""
    settings: Mapping[str, str]
    """The engine's own settings of the topic; none where it has none."""


class Flaw(NamedTuple):
    """A topic's setting that does not fit its use."""

    topic: str
    setting: str
    found: str
    wanted: str
    risk: str
    """What can happen, as a sentence."""
    grave: bool
    """State or events can be lost, or the center can not work; else it only works less well."""
