"""
Kafka's settings for the center's topics: what new ones are made with, and what is wrong with others.

Promises: what `settings_for` says has no flaw in the eyes of `flaws`. The reasons stand beside the
rules, and docs/kafka.md has the same table for people. `catalog.py` makes topics with these settings,
`event-center topics check` prints the flaws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from event_center.log.detail import Flaw, TopicDetail, Use
from event_center.log.kafka.options import MAX_EVENT_BYTES, MAX_RECORD_BYTES, KafkaOptions

DEFAULT_BYTES = 1_048_588
"""Kafka's own default: batches of the center are smaller, records of others may be as large."""
LARGEST_BATCH_BYTES = DefaultRecordBatchBuilder.estimate_size_in_bytes(
    None, bytes(MAX_RECORD_BYTES), []
)
"""A batch that has nothing but the largest record that the center writes, as the client estimates it."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIB = 1_048_576


class Demand(NamedTuple):
    """What one setting has to be like."""

    setting: str
    fits: Callable[[str], bool]
    wanted: str
    risk: str
    grave: bool = True


def _at_least(least: int) -> Callable[[str], bool]:
    return lambda value: int(value) == -1 or int(value) >= least


def _at_most(most: float) -> Callable[[str], bool]:
    return lambda value: float(value) <= most


def _is(wanted: str) -> Callable[[str], bool]:
    return lambda value: value == wanted


def _keeps(value: str) -> bool:
    return "compact" not in value


EVERYWHERE = (
    Demand(
        "unclean.leader.election.enable",
        _is("false"),
        "false",
        "a broker that lags behind may become leader: records that were confirmed are lost, and new "
        "ones get their offsets",
    ),
    Demand(
        "max.message.bytes",
        _at_least(LARGEST_BATCH_BYTES),
        f"{DEFAULT_BYTES} or more",
        "cuts of the center are refused, and the shard stands still",
    ),
)
SNAPSHOTS = (
    Demand(
        "cleanup.policy",
        _is("compact"),
        "compact",
        "with delete, workflows that nothing happens to are forgotten when their age is over",
    ),
    Demand(
        "delete.retention.ms",
        _at_least(HOUR_MS),
        f"{HOUR_MS} or more",
        "a takeover that reads for longer than this can miss a removal, and see an old entry again",
    ),
    Demand(
        "min.compaction.lag.ms",
        _at_most(HOUR_MS),
        f"{HOUR_MS} or less",
        "old versions of snapshots stay so long, and every takeover reads them",
        grave=False,
    ),
    Demand(
        "max.compaction.lag.ms",
        _at_most(DAY_MS),
        f"{DAY_MS} or less",
        "the newest segment of a quiet partition is never compacted, and every takeover reads it",
        grave=False,
    ),
    Demand(
        "segment.bytes",
        _at_most(256 * MIB),
        f"{256 * MIB} or less",
        "the newest segment is not compacted: every takeover reads all of it",
        grave=False,
    ),
    Demand(
        "min.cleanable.dirty.ratio",
        _at_most(0.5),
        "0.5 or less",
        "old versions of snapshots stay for longer, and every takeover reads them",
        grave=False,
    ),
)
UNCOMPACTED = (
    Demand(
        "cleanup.policy",
        _keeps,
        "delete",
        "compaction removes all but the last record of a key, read or not",
    ),
)
READ = (
    *UNCOMPACTED,
    Demand(
        "retention.ms",
        _at_least(DAY_MS),
        f"{DAY_MS} or more, or -1",
        "events that the center has not read within this time, because it was down, are lost",
        grave=False,
    ),
)
LARGE = Demand(
    "max.message.bytes",
    _at_most(DEFAULT_BYTES),
    f"{DEFAULT_BYTES} or less",
    f"events above {MAX_EVENT_BYTES} bytes are rejected (too_large)",
    grave=False,
)
LETTERS = (
    *UNCOMPACTED,
    Demand("retention.ms", _is("-1"), "-1", "letters that nobody has dealt with are lost"),
    Demand("retention.bytes", _is("-1"), "-1", "letters that nobody has dealt with are lost"),
)
RULES = {
    Use.EVENTS: (*READ, LARGE),
    Use.INBOX: (*EVERYWHERE, *READ),
    Use.COMMANDS: (*EVERYWHERE, *READ),
    Use.HISTORY: (*EVERYWHERE, *UNCOMPACTED),
    Use.LETTERS: (*EVERYWHERE, *LETTERS),
    Use.SNAPSHOTS: (*EVERYWHERE, *SNAPSHOTS),
    Use.PUBLISHED: (),
}


def settings_for(options: KafkaOptions, name: str) -> dict[str, str]:
    """What a topic of this plain name is made with."""
    settings = {
        "min.insync.replicas": str(max(1, options.replication_factor - 1)),
        "unclean.leader.election.enable": "false",
    }
    if name == options.snapshots:
        settings |= {
            "cleanup.policy": "compact",
            "max.compaction.lag.ms": str(HOUR_MS),
            "segment.bytes": str(128 * MIB),
            "min.cleanable.dirty.ratio": "0.25",
            "delete.retention.ms": str(DAY_MS),
        }
    else:
        settings["cleanup.policy"] = "delete"
    return {**settings, **options.topic_configs.get(name, {})}


def flaws(detail: TopicDetail, use: Use, options: KafkaOptions) -> list[Flaw]:
    """What of a topic's settings does not fit its use, the grave flaws first."""
    found = [
        Flaw(detail.name, rule.setting, value, rule.wanted, rule.risk, rule.grave)
        for rule in RULES[use]
        if (value := detail.settings.get(rule.setting)) is not None and not rule.fits(value)
    ]
    if use not in {Use.EVENTS, Use.PUBLISHED}:
        found += _copies(detail, options)
    return sorted(found, key=lambda flaw: not flaw.grave)


def _copies(detail: TopicDetail, options: KafkaOptions) -> list[Flaw]:
    """Whether a broker can be lost without losing records, and be down without stopping writes."""
    found = []
    name, copies, wanted = detail.name, detail.replicas, options.replication_factor
    least = int(detail.settings.get("min.insync.replicas", 1))
    if copies < wanted:
        risk = "its records are lost when as few brokers are lost"
        flaw = Flaw(name, "replication factor", str(copies), f"{wanted} or more", risk, grave=True)
        found.append(flaw)
    if least > copies:
        risk = "more copies are asked for than there are: nothing can be written"
        found.append(
            Flaw(name, "min.insync.replicas", str(least), f"{copies - 1}", risk, grave=True)
        )
    elif copies > 1 and least == copies:
        risk = "while one broker is down nothing can be written"
        found.append(
            Flaw(name, "min.insync.replicas", str(least), f"{copies - 1}", risk, grave=False)
        )
    elif copies > 2 and least < 2:  # noqa: PLR2004 - a copy besides the leader's
        risk = "what was confirmed may be on one broker alone, and be lost with it"
        found.append(Flaw(name, "min.insync.replicas", str(least), "2 or more", risk, grave=True))
    return found
