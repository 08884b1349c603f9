"""
What is wrong with the topics of an app: those that are missing, and settings that do not fit their use.

The commands `topics check` and `doctor` ask; the log knows its own settings (`Log.flaws`).
"""

from __future__ import annotations

from collections.abc import Mapping

from event_center.app.settings import Settings
from event_center.app.wiring import sizes_of
from event_center.errors import ConfigurationError
from event_center.log.detail import Flaw, TopicDetail, Use
from event_center.log.port import Log, TopicInfo

FOREIGN = frozenset({Use.EVENTS, Use.PUBLISHED})
"""Topics that are not the center's own."""
MISSING = "topic"
"""The setting of a flaw that says that there is no such topic."""


def told(flaw: Flaw) -> str:
    """A flaw in a line, with what can happen."""
    wanted = "" if flaw.setting == MISSING else f", not {flaw.wanted}"
    return f"{flaw.topic}: {flaw.setting} is {flaw.found}{wanted}: {flaw.risk}"


def flaws_of(
    settings: Settings, log: Log, details: Mapping[str, TopicDetail], uses: Mapping[str, Use]
) -> list[Flaw]:
    """The flaws of these topics; `details` has what the log has of them."""
    return [
        flaw
        for name, use in uses.items()
        for flaw in _flaws(settings, log, details.get(name), (name, use))
    ]


def _flaws(
    settings: Settings, log: Log, detail: TopicDetail | None, topic: tuple[str, Use]
) -> list[Flaw]:
    name, use = topic
    if detail is None:
        events = " --events" if use in FOREIGN else ""
        risk = f"nothing can be written or read; `event-center topics create{events}` makes it"
        return [Flaw(name, MISSING, "missing", "there", risk, grave=True)]
    found = log.flaws(detail, use)
    count, wanted = len(detail.partitions), settings.log.partitions
    if use is Use.SNAPSHOTS and count != wanted:
        risk = "workflows live where the number of partitions puts them, and would not be found"
        found.append(Flaw(name, "partitions", str(count), str(wanted), risk, grave=True))
    try:
        sizes_of(settings).check({name: TopicInfo(name, count, "")})
    except ConfigurationError as error:
        found.append(Flaw(name, "partitions", str(count), str(wanted), str(error), grave=True))
    return found
