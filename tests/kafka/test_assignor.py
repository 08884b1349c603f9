"""Who gets which shard: what the leader of the group works out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from event_center.log.kafka.assignor import Claim, Share, shares


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
        shared = shares(told, count)
        owned = sorted(shard for share in shared.values() for shard in share.shards)
        assert owned == list(range(count))
        told = {
            name: Claim(name, epoch, tuple(set(share.shards) - set(share.called_back)))
            for name, share in shared.items()
        }
    sizes = [len(share.shards) for share in shared.values()]
    assert max(sizes) - min(sizes) <= 1
    assert not any(share.called_back for share in shared.values())
