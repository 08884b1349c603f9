"""
Which member has which shard: the assignor of the consumer group, and what members tell each other.

A shard that somebody has stays with its holder. One that should move is only *called back*: its
holder finishes its work, gives the shard up and joins again without it; then it is free for the
member that should have it. Promises: of two members that claim a shard the one whose claim is newer
has it; members differ by at most one shard in the end; partitions follow their shard in all topics.
`membership.py` puts this into the consumer.
What another release tells is read as far as it is known here: new fields are passed over, and what can
not be read counts as a member that has nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from event_center.log.ownership import balance, partitions_of


class Claim(NamedTuple):
    """What one member tells when it joins."""

    name: str
    epoch: int
    """The generation of the last assignment that it knows."""
    shards: tuple[int, ...]
    """Those that it has."""


class Share(NamedTuple):
    """What one member gets."""

    shards: tuple[int, ...]
    called_back: tuple[int, ...]
    """Those of its shards that it shall give up."""


def shares(claims: Mapping[str, Claim], shards: int) -> dict[str, Share]:
    """Who has what from now on, by the members' names in `claims`."""
    holders: dict[int, str] = {}
    for member, claim in sorted(claims.items(), key=lambda item: (item[1].epoch, item[1].name)):
        holders.update((shard, member) for shard in claim.shards if shard < shards)
    members = sorted(claims, key=lambda member: claims[member].name)
    wanted = balance(members, holders, shards)
    given = wanted | holders
    return {
        member: Share(
            tuple(shard for shard in sorted(given) if given[shard] == member),
            tuple(shard for shard in sorted(given) if given[shard] == member != wanted[shard]),
        )
        for member in claims
    }


class KeepPlace:
    """The assignor as aiokafka calls it: an instance, whose claim is this member's own."""

    name = "event-center-shards"

    def __init__(
        self, shards: int, claim: Callable[[], Claim], received: Callable[[Share], None]
    ) -> None:
        self._shards = shards
        self._claim = claim
        self._received = received

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this member tells the leader."""
        claim = self._claim()
        told = orjson.dumps({"name": claim.name, "epoch": claim.epoch, "held": claim.shards})
        return ConsumerProtocolMemberMetadata(0, sorted(topics), told)

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Work out everybody's share: the leader of the group does it for all."""
        claims = {member: _claim(told.user_data) for member, told in members.items()}
        given = shares(claims, self._shards)
        return {
            member: ConsumerProtocolMemberAssignment(
                0,
                # Only topics that it knows: a member of another release may not consume all of them.
                [
                    (topic, self._partitions(share, len(cluster.partitions_for_topic(topic) or ())))
                    for topic in sorted(members[member].subscription)
                ],
                orjson.dumps(share._asdict()),
            )
            for member, share in given.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Hear this member's share."""
        self._received(_share(assignment))

    def _partitions(self, share: Share, count: int) -> list[int]:
        return sorted(q for s in share.shards for q in partitions_of(s, count, self._shards))


def _claim(told: bytes | None) -> Claim:
    match _object(told):
        case {"name": str(name), "epoch": int(epoch), "held": [*shards]}:
            return Claim(name, epoch, tuple(one for one in shards if isinstance(one, int)))
        case _:
            return Claim("", 0, ())


def _share(assignment: Any) -> Share:
    match _object(assignment.user_data):
        case {"shards": [*shards], "called_back": [*called_back]}:
            return Share(tuple(shards), tuple(called_back))
        case _:
            # The leader's release says it otherwise: shards are numbered as their partitions.
            numbers = {q for _, partitions in assignment.assignment for q in partitions}
            return Share(tuple(sorted(numbers)), ())


def _object(told: bytes | None) -> Any:
    try:
        return orjson.loads(told or b"null")
    except orjson.JSONDecodeError:
        return None
