"""
Who owns what: which partitions a shard has, which member has which shard, which partition a key
has.

Pure functions that every engine of the log shares, so that a shard means the same on all of them.
Promises: the answer depends on the arguments alone, a shard that need not move stays where it is,
and members differ by at most one shard. The engines call this; `gates.py` has the next step of a
fetch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from event_center.errors import ConfigurationError
from event_center.log.partitioner import Partitioner

KEYS_REMEMBERED = 65_536
"""Homes of keys that a log remembers: murmur2 in Python costs some 3 us a key, a look-up 0.1 us."""

TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""Kafka's rule, kept everywhere, so that a system can move from one log to another."""

MemberT = TypeVar("MemberT", bound=Hashable)


def check_topic(name: str, partitions: int) -> None:
    """
    Can there be a topic of this name and size on every log?

    Raises:
        ConfigurationError: there can not.
    """
    if not TOPIC_NAME.fullmatch(name):
        raise ConfigurationError(
            f"topic {name!r}: a name has letters, digits, '.', '_' and '-', at most 249 of them"
        )
    if partitions < 1:
        raise ConfigurationError(f"topic {name!r}: it needs 1 partition or more, not {partitions}")


def partitions_of(shard: int, partitions: int, shards: int) -> range:
    """The partitions of a topic that a shard has: its own number, and every Nth from there."""
    return range(shard, partitions, shards)


def offset_key(topic: str, partition: int, shard: int) -> str:
    """The name of a partition's offset in a cut and at the gate."""
    return topic if partition == shard else f"{topic}/{partition}"


def remembering(partitioner: Partitioner) -> Partitioner:
    """Return the same partitioner with a memory for the keys seen last."""
    return functools.lru_cache(maxsize=KEYS_REMEMBERED)(partitioner)


def balance(
    members: Sequence[MemberT], holders: Mapping[int, MemberT], shards: int
) -> dict[int, MemberT]:
    """
    Which member should have each shard, given who has what now; empty without members.

    Members keep what they have up to their fair share, lowest shards first; whoever has most gets
    the odd ones. The other shards fill the members up in the order of `members`.
    """
    if not members:
        return {}
    counts = dict.fromkeys(members, 0)
    for member in holders.values():
        if member in counts:
            counts[member] += 1
    least, odd = divmod(shards, len(members))
    ranked = sorted(members, key=lambda member: -counts[member])
    room = {member: least + (rank < odd) for rank, member in enumerate(ranked)}
    wanted: dict[int, MemberT] = {}
    for shard in range(shards):
        holder = holders.get(shard)
        if holder is not None and room.get(holder, 0) > 0:
            wanted[shard] = holder
            room[holder] -= 1
    places = [member for member in members for _ in range(room[member])]
    moving = [shard for shard in range(shards) if shard not in wanted]
    wanted.update(zip(moving, places, strict=True))
    return wanted
