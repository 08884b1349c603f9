"""
The settings of the log: the table `[log]`, with its tables for retention and for Kafka.

`settings.py` has the table; `wiring.py` opens the log that it describes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from event_center.app.kafka_settings import KafkaSettings
from event_center.app.quantity import BytesOrUnlimited, Seconds, SecondsOrUnlimited
from event_center.app.section import FilePath, Section

_OTHER_ENGINES = {
    "memory": 'is "memory", which forgets everything when the process ends and serves tests only; '
    'write "sqlite"',
}


def _engine(kind: object) -> object:
    if isinstance(kind, str) and kind in _OTHER_ENGINES:
        raise ValueError(_OTHER_ENGINES[kind])
    return kind


class Keep(Section):
    """How long consumed events stay in the log."""

    max_age: SecondsOrUnlimited = Field(
        default=7 * 86_400.0,
        description='Older records go: a duration, or "unlimited". A week lets a bug of last Friday'
        " be looked at on Monday.",
    )
    max_bytes: BytesOrUnlimited = Field(
        default=4 * 1024**3,
        description='The oldest records of a topic that is larger go: a size, or "unlimited".'
        " It keeps a busy center from filling the disk within the age.",
    )


class KeepHistory(Keep):
    """How long history stays in the log."""

    max_age: SecondsOrUnlimited = Field(
        default=30 * 86_400.0,
        description='Older records go: a duration, or "unlimited". History answers why a workflow'
        " is where it is, and people ask late.",
    )


class RetentionSettings(Section):
    """What leaves the log by itself; dead letters and what is not consumed yet never do."""

    events: Keep = Field(
        default=Keep(),
        description="Of the topics that the center consumes: records it is done with.",
    )
    history: KeepHistory = Field(
        default=KeepHistory(), description="Of the topic `<app>.history`: every outcome."
    )


class LogSettings(Section):
    """Where the log lies: events, snapshots and history."""

    kind: Annotated[Literal["sqlite", "kafka"], BeforeValidator(_engine)] = Field(
        default="sqlite",
        description="The engine of the log. `sqlite` is one file on this machine; `kafka` is a"
        " cluster, for more than one daemon.",
    )
    path: FilePath = Field(
        default=Path("event-center.db"),
        description="The file of the log, relative to the project's root. Put it on a local disk:"
        " file locks of network file systems do not hold.",
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Partitions of the center's own topics, and so the number of shards, 1 to 1024."
        " They are made with the topics and never change; one process needs one.",
    )
    on_data_loss: Literal["stop", "continue"] = Field(
        default="stop",
        description="When records are gone before they were read, or a topic was made anew: `stop`"
        " and say so, or `continue` with what is there, counted and told in the history.",
    )
    keep_cuts: bool = Field(
        default=False,
        description="Also keep every cut in a table that only grows, for audits. It doubles what is"
        " written, so it is off.",
    )
    poll_interval: Annotated[Seconds, Field(ge=0.001, le=10)] = Field(
        default=0.01,
        description="How often to look for events that other processes have published: a duration"
        " from 1ms to 10s. Shorter wakes sooner, longer idles cheaper.",
    )
    busy_timeout: Annotated[Seconds, Field(ge=0.001, le=3_600)] = Field(
        default=30.0,
        description="How long a write waits while another process holds the file: a duration from"
        " 1ms to 1h. Then nothing of it was written, and it is said so.",
    )
    retention: RetentionSettings = Field(
        default=RetentionSettings(), description="What leaves the log by itself."
    )
    kafka: KafkaSettings = Field(
        default=KafkaSettings(), description="Where the cluster is, if `kind` is `kafka`."
    )
