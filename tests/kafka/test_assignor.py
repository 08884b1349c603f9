"""Who gets which shard: what the leader of the group works out."""

from __future__ import annotations

from typing import Any

import orjson
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from hypothesis import given
from hypothesis import strategies as st

from event_center.log.kafka.assignor import Claim, KeepPlace, Share, shares


def claims(**held: tuple[int, ...]) -> dict[str, Claim]:
    """Claims of members with these shards, all of one generation."""
    return {name: Claim(name, 7, shards) for name, shards in held.items()}


def test_a_first_member_gets_all() -> None:
    """Without claims the only member has every shard."""
    assert shares(claims(a=()), 4) == {"a": Share((0, 1, 2, 3), ())}


def test_a_held_shard_is_called_back_not_taken() -> None:
    """What should move stays with its holder, who is told to give it up."""
    given = shares(claims(a=(0, 1, 2, 3), b=()), 4)
    assert given["a"].shards == (0, 1, 2, 3)
    assert len(given["a"].called_back) == 2
    assert given["b"] == Share((), ())


def test_what_was_given_up_moves() -> None:
    """A shard that nobody claims goes to the member that has too few."""
    assert shares(claims(a=(0, 1), b=()), 4) == {
        "a": Share((0, 1), ()),
        "b": Share((2, 3), ()),
    }


def test_the_newest_claim_counts() -> None:
    """A member that slept while the group went on has lost what others claim since."""
    told = {"slept": Claim("slept", 3, (0, 1)), "awake": Claim("awake", 4, (0,))}
    given = shares(told, 2)
    assert 0 in given["awake"].shards
    assert given["slept"].shards == (1,)


def test_nothing_moves_without_need() -> None:
    """Where members differ by one shard at most, all stay where they are."""
    given = shares(claims(a=(0, 3), b=(1,), c=(2,)), 4)
    assert {name: share.shards for name, share in given.items()} == {
        "a": (0, 3),
        "b": (1,),
        "c": (2,),
    }
    assert not any(share.called_back for share in given.values())


@given(
    st.integers(1, 12),
    st.dictionaries(st.sampled_from("abcde"), st.sets(st.integers(0, 11)), min_size=1),
)
def test_it_settles(count: int, held: dict[str, set[int]]) -> None:
    """From any claims, a few rounds of giving up what is called back end in an even share for all."""
    told = {name: Claim(name, 1, tuple(shards)) for name, shards in held.items()}
    for epoch in range(2, 6):
        given = shares(told, count)
        owned = sorted(shard for share in given.values() for shard in share.shards)
        assert owned == list(range(count))
        told = {
            name: Claim(name, epoch, tuple(set(share.shards) - set(share.called_back)))
            for name, share in given.items()
        }
    settled = shares(told, count)
    sizes = [len(share.shards) for share in settled.values()]
    assert max(sizes) - min(sizes) <= 1
    assert not any(share.called_back for share in settled.values())


@given(
    st.integers(1, 12),
    st.dictionaries(st.sampled_from("abcde"), st.sets(st.integers(0, 11)), min_size=1),
    st.sampled_from("abcdef"),
)
def test_a_member_that_comes_or_goes_moves_only_what_must_move(
    count: int, held: dict[str, set[int]], name: str
) -> None:
    """In a settled group one member more or less calls back no more shards than balance needs."""
    settled = settle({one: tuple(shards) for one, shards in held.items()}, count)
    told = {one: Claim(one, 9, shards) for one, shards in settled.items()}
    if name in told and len(told) > 1:
        del told[name]
        assert not any(share.called_back for share in shares(told, count).values())
    elif name not in told:
        told[name] = Claim(name, 9, ())
        given = shares(told, count)
        assert sum(len(share.called_back) for share in given.values()) == count // len(told)


def settle(held: dict[str, tuple[int, ...]], count: int) -> dict[str, tuple[int, ...]]:
    """Who has what once everybody has given up what was called back."""
    for epoch in range(1, 5):
        told = {name: Claim(name, epoch, shards) for name, shards in held.items()}
        held = {
            name: tuple(set(share.shards) - set(share.called_back))
            for name, share in shares(told, count).items()
        }
    return held


@given(st.integers(1, 8), st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7)), st.integers(0, 5))
def test_a_zombies_claim_takes_nothing(
    count: int, old: set[int], new: set[int], epoch: int
) -> None:
    """What a member claims from before the others went on is its only where nobody claims it since."""
    told = {"zombie": Claim("zombie", epoch, tuple(old)), "a": Claim("a", 6, tuple(new))}
    given = shares(told, count)
    assert {s for s in new if s < count} <= set(given["a"].shards)
    assert not set(given["zombie"].shards) & new


class Cluster:
    """Topics and how many partitions they have, as the client's metadata tell it."""

    def __init__(self, **counts: int) -> None:
        self._counts = counts

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._counts[topic])) if topic in self._counts else None


def member(told: bytes, *topics: str) -> ConsumerProtocolMemberMetadata:
    """What the leader is told by a member."""
    return ConsumerProtocolMemberMetadata(0, list(topics), told)


def assigned(
    members: dict[str, ConsumerProtocolMemberMetadata], cluster: Cluster, shards: int
) -> tuple[dict[str, Any], dict[str, Share]]:
    """The partitions and the share of each member, as it hears them."""
    received: list[Share] = []
    assignor = KeepPlace(shards, lambda: Claim("", 0, ()), received.append)
    answers = assignor.assign(cluster, members)
    for answer in answers.values():
        assignor.on_assignment(
            ConsumerProtocolMemberAssignment(0, answer.assignment, answer.user_data)
        )
    partitions = {name: dict(answer.assignment) for name, answer in answers.items()}
    return partitions, dict(zip(answers, received, strict=True))


def told_by(name: str, *held: int, **more: object) -> bytes:
    """What a member of this release, or of a later one, tells."""
    return orjson.dumps({"name": name, "epoch": 1, "held": held, **more})


def test_partitions_follow_their_shard_in_all_topics() -> None:
    """Partition p of every topic goes with shard p; those beyond N go round."""
    members = {"a": member(told_by("a", 0), "x", "y"), "b": member(told_by("b", 1), "x", "y")}
    partitions, given = assigned(members, Cluster(x=2, y=5), 2)
    assert given == {"a": Share((0,), ()), "b": Share((1,), ())}
    assert partitions == {"a": {"x": [0], "y": [0, 2, 4]}, "b": {"x": [1], "y": [1, 3]}}


def test_members_of_other_releases() -> None:
    """New fields are passed over, a topic goes to those who know it, nonsense claims nothing."""
    members = {
        "old": member(told_by("old", 0), "x"),
        "new": member(told_by("new", 1, colour="red"), "x", "y"),
        "other": member(b"\xff not ours", "x"),
        "silent": member(b"", "x"),
        "odd": member(b'{"name": 7, "held": "all"}', "x"),
    }
    partitions, given = assigned(members, Cluster(x=2, y=2), 2)
    assert given["old"] == Share((0,), ())
    assert given["new"] == Share((1,), ())
    assert partitions["old"] == {"x": [0]}
    assert partitions["new"] == {"x": [1], "y": [1]}
    assert [given[one].shards for one in ("other", "silent", "odd")] == [(), (), ()]


def test_a_leader_of_another_release() -> None:
    """A share that is told in a way we do not know is read from the partitions."""
    received: list[Share] = []
    assignor = KeepPlace(4, lambda: Claim("", 0, ()), received.append)
    for told in (b"", b"\x00\x01", b'{"mine": [1]}'):
        answer = ConsumerProtocolMemberAssignment(0, [("x", [1, 3]), ("y", [1])], told)
        assignor.on_assignment(answer)
    assert received == [Share((1, 3), ())] * 3
