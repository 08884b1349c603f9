"""
The settings of retention: how long the log keeps what the center is done with.

`settings.py` has them as `[log.retention]`, and reads and checks them; the wiring hands them to the log
on SQLite. The descriptions are the reference, as in `settings.py`.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from event_center.app.quantity import BytesOrUnlimited, SecondsOrUnlimited


class Keep(BaseModel):
    """How long consumed events stay in the log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class Retention(BaseModel):
    """What leaves the log by itself; dead letters and what is not consumed yet never do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    events: Keep = Field(
        default=Keep(),
        description="Of the topics that the center consumes: records it is done with.",
    )
    history: KeepHistory = Field(
        default=KeepHistory(), description="Of the topic `<app>.history`: every outcome."
    )
