"""
What a center asks of its topics: how many partitions, the same topic as before, nothing gone unread.

Promises: nothing is passed over or read twice in silence. A topic that does not fit stops the daemon
with a message that says what to do; where `[log] on_data_loss` is `continue`, what is gone is counted
in the shard entry, told in the history and logged. The wiring asks about sizes before anything is
read, `restoring` and `parts` about losses, `member` looks at both while it runs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from event_center.engine.ledger import Ledger
from event_center.errors import ConfigurationError, DataLost, UnknownTopic
from event_center.log.ownership import offset_key
from event_center.log.port import TopicInfo
from event_center.wire import history

log = structlog.get_logger()

WAYS_OUT = (
    'bring the records back, or go on without what is gone: on_data_loss = "continue" in [log]'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How many partitions the topics of an app have to have."""

    shards: int
    own: Collection[str]
    """Inbox and commands: partition p is shard p's, and there is no other."""
    written: Collection[str]
    """History and dead letters: each shard writes into its own partition."""
    strict: Collection[str]
    """Topics of events whose records may not be forwarded: key and home have to agree."""

    def check(self, infos: Mapping[str, TopicInfo]) -> None:
        """
        Does each topic that is there fit?

        Raises:
            ConfigurationError: one does not; the message names the way out.
        """
        for name, info in infos.items():
            has = f"topic {name!r} has {info.partitions} partitions, but [log] partitions is"
            if name in self.own and info.partitions != self.shards:
                msg = (
                    f"{has} {self.shards}, and workflows live where that number puts them: if the "
                    f"setting was changed, write partitions = {info.partitions} again; if the topic "
                    f"was, let a center with the old setting read it to its end, make it anew with "
                    f"{self.shards} partitions, and start once with on_data_loss = "
                    '"continue" in [log]'
                )
                raise ConfigurationError(msg)
            if name in self.written and info.partitions < self.shards:
                msg = f"{has} {self.shards}: give it {self.shards}, one for each shard"
                raise ConfigurationError(msg)
            if name in self.strict and info.partitions != self.shards:
                msg = (
                    f"{has} {self.shards}: its events have to find their shards by other ways than "
                    f'their keys; write wrong_partition = "forward" in [topics.{name}], or give it '
                    f"{self.shards} partitions"
                )
                raise ConfigurationError(msg)


def check_same(known: Mapping[str, str], infos: Mapping[str, TopicInfo]) -> None:
    """
    Are the topics those that they were when this process began?

    Raises:
        UnknownTopic: one was deleted.
        DataLost: one was deleted and made anew.
    """
    for topic, topic_id in known.items():
        info = infos.get(topic)
        if info is None:
            raise UnknownTopic(
                f"topic {topic!r} was deleted while the center read it: create it again, then start "
                'the center with on_data_loss = "continue" in [log]; or take it out of the settings'
            )
        if info.id != topic_id:
            raise DataLost(
                f"topic {topic!r} was deleted and made anew while the center read it: start again, "
                "and see what it says then"
            )


class Gap(NamedTuple):
    """Records that are gone: from `since` to before `until`."""

    topic: str
    partition: int
    since: int
    until: int


class Losses:
    """What of its topics one shard could not read."""

    def __init__(self, ledger: Ledger, shard: int, *, goes_on: bool) -> None:
        self._ledger = ledger
        self._shard = shard
        self._goes_on = goes_on

    def passed(self, gap: Gap) -> None:
        """
        The log has removed records; those that the shard never began to read are no loss.

        Raises:
            DataLost: they were to be read, and the center is not to go on without.
        """
        source = offset_key(gap.topic, gap.partition, self._shard)
        count = gap.until - gap.since
        lost = count if source in self._ledger.entry.offsets else 0
        if lost:
            if not self._goes_on:
                raise DataLost(
                    f"{gap.topic}/{gap.partition}: {count} records from offset {gap.since} to before "
                    f"{gap.until} are gone from the log, and shard {self._shard} had not read them: "
                    f"retention was faster than the center. Nothing was skipped: {WAYS_OUT}"
                )
            self._tell(gap, count, "retention")
        self._ledger.passed_over(source, gap.until, lost)
        told = {"topic": gap.topic, "partition": gap.partition, "records": count}
        log.warning("intake.passed_over", shard=self._shard, **told)

    def check(self, topics: Collection[str], infos: Mapping[str, TopicInfo]) -> None:
        """
        A topic that was deleted and made anew counts its offsets from the start again.

        Raises:
            UnknownTopic: a topic is not there.
            DataLost: one was made anew, and the center is not to go on with it.
        """
        entry = self._ledger.entry
        for topic in topics:
            if topic not in infos:
                raise UnknownTopic(f"the log has no topic {topic!r}: create it, or start again")
            topic_id = infos[topic].id
            if entry.topic_ids.setdefault(topic, topic_id) != topic_id:
                self._made_anew(topic, topic_id)

    def _made_anew(self, topic: str, topic_id: str) -> None:
        entry = self._ledger.entry
        sources = [one for one in entry.offsets if one.partition("/")[0] == topic]
        read = ", ".join(f"{one} up to {entry.offsets[one]}" for one in sources) or "nothing"
        if not self._goes_on:
            raise DataLost(
                f"topic {topic!r} was deleted and made anew: shard {self._shard} had read {read}, "
                "which means nothing in the new one. Nothing was skipped or read again: rename the "
                'topic, or write on_data_loss = "continue" in [log] to read the new one from its start'
            )
        self._ledger.made_anew(topic, topic_id, sources)
        self._tell(Gap(topic, self._shard, 0, 0), None, "made_anew")
        log.warning("intake.topic_made_anew", shard=self._shard, topic=topic, read=read)

    def _tell(self, gap: Gap, count: int | None, reason: str) -> None:
        self._ledger.tick()
        data = {"records": count, "reason": reason, "next": gap.until}
        data |= {"topic": gap.topic, "partition": gap.partition, "since": gap.since}
        origin = f"{gap.topic}/{gap.partition}/{gap.since}"
        if count is None:
            origin = f"{gap.topic}@{self._ledger.entry.renewed[gap.topic]}"
        self._ledger.tell(history.LOST, "", origin, data)
