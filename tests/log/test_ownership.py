"""The balance of shards among members, and the turns of partitions: promises for any numbers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from event_center.log.gates import SIDE_BY_SIDE, Gates
from event_center.log.ownership import balance, offset_key, partitions_of
from event_center.model import Shard, Token

MEMBERS = st.lists(st.sampled_from("abcdefg"), min_size=1, unique=True)
HELD = st.dictionaries(st.integers(0, 19), st.sampled_from("abcdefgxyz"))


@given(MEMBERS, HELD, st.integers(1, 20))
def test_balanced(members: list[str], held: dict[int, str], shards: int) -> None:
    """Every shard has a member, members differ by one shard at most, asking again moves none."""
    held = {shard: member for shard, member in held.items() if shard < shards}
    wanted = balance(members, held, shards)
    counts = Counter(dict.fromkeys(members, 0))
    counts.update(wanted.values())
    assert sorted(wanted) == list(range(shards))
    assert set(counts) == set(members)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert balance(members, wanted, shards) == wanted


@given(MEMBERS, st.integers(1, 20))
def test_a_new_member_moves_only_its_part(members: list[str], shards: int) -> None:
    """When a member joins, a shard stays where it is or goes to the new one."""
    before = balance(members, {}, shards)
    after = balance([*members, "new"], before, shards)
    assert all(after[shard] in {before[shard], "new"} for shard in range(shards))


def test_without_members() -> None:
    """Where nobody is, nobody owns anything."""
    assert balance([], {0: "a"}, 3) == {}


@given(st.integers(1, 30), st.integers(1, 30))
def test_every_partition_has_one_shard(partitions: int, shards: int) -> None:
    """Each partition belongs to one shard, and its offset's name tells it from the others."""
    owned = [(s, q) for s in range(shards) for q in partitions_of(s, partitions, shards)]
    assert sorted(q for _, q in owned) == list(range(partitions))
    names = {(shard, offset_key("t", q, shard)) for shard, q in owned}
    assert len(names) == partitions


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(1, 40))
def test_turns(backlogs: list[int], limit: int) -> None:
    """A fetch takes all that fits its limit, and everyone is served within a round of turns."""
    shards = len(backlogs)
    gates = Gates([("t", shards)], shards)
    ready = {Shard(shard): Token(1) for shard in range(shards)}
    for shard, token in ready.items():
        gates.open(shard, token, {})
    left = dict(enumerate(backlogs))
    served: set[int] = set()
    waiting = {shard for shard, backlog in left.items() if backlog}
    for _ in range(-(-shards // min(limit, SIDE_BY_SIDE))):
        total = sum(left.values())
        portions = gates.portions(ready, lambda place: backlogs[place[1]], limit)
        assert sum(count for _, count in portions) == min(limit, total)
        for tap, count in portions:
            tap.next += count
            left[tap.partition] -= count
            served.add(tap.partition)
    assert waiting <= served


class GatesBesideLists(RuleBasedStateMachine):
    """Gates that open and close while partitions grow, beside lists of the offsets that were read."""

    PLACES = (("urgent", 0), ("t", 0), ("urgent", 1), ("t", 1), ("t", 2))
    """Topic t has three partitions: the first shard reads two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = Gates([("urgent", 2), ("t", 3)], 2, {"urgent"})
        self.watermarks = dict.fromkeys(self.PLACES, 0)
        self.opened: dict[Shard, Token] = {}
        self.read: dict[tuple[str, int], int] = {}
        """The next offset of each place behind an open gate."""

    def _places(self, shard: Shard) -> list[tuple[str, int]]:
        return [place for place in self.PLACES if place[1] % 2 == shard]

    @rule(place=st.sampled_from(PLACES), count=st.integers(1, 5))
    def grow(self, place: tuple[str, int], count: int) -> None:
        self.watermarks[place] += count

    @rule(
        shard=st.sampled_from([Shard(0), Shard(1)]), token=st.integers(1, 3), at=st.integers(0, 3)
    )
    def open(self, shard: Shard, token: int, at: int) -> None:
        offsets = {}
        for topic, partition in self._places(shard):
            start = min(at, self.watermarks[topic, partition])
            offsets[offset_key(topic, partition, shard)] = start
            self.read[topic, partition] = start
        self.gates.open(shard, Token(token), offsets)
        self.opened[shard] = Token(token)

    @rule(shard=st.sampled_from([Shard(0), Shard(1)]))
    def close(self, shard: Shard) -> None:
        self.gates.close(shard)
        self.opened.pop(shard, None)

    @rule(
        ready=st.dictionaries(st.sampled_from([Shard(0), Shard(1)]), st.integers(1, 3).map(Token)),
        limit=st.integers(0, 7),
        paused=st.sets(st.sampled_from([Shard(0), Shard(1)])),
    )
    def fetch(self, ready: dict[Shard, Token], limit: int, paused: set[Shard]) -> None:
        allowed = {
            place: self.watermarks[place] - self.read[place]
            for shard, token in ready.items()
            if self.opened.get(shard) == token
            for place in self._places(shard)
            if place[0] == "urgent" or shard not in paused
        }
        portions = self.gates.portions(ready, self.watermarks.__getitem__, limit, paused)
        counts: Counter[tuple[str, int]] = Counter()
        for tap, count in portions:
            assert tap.next == self.read[tap.place], "in order, and without gaps"
            assert 0 < count <= allowed[tap.place]
            counts[tap.place] += count
            tap.next += count
            self.read[tap.place] += count
        assert counts.total() == min(limit, sum(allowed.values()))
        urgent = sum(left for place, left in allowed.items() if place[0] == "urgent")
        taken = sum(count for place, count in counts.items() if place[0] == "urgent")
        assert taken == min(limit, urgent), "urgent topics come first"

    @invariant()
    def nothing_is_read_that_is_not_there(self) -> None:
        assert all(following <= self.watermarks[place] for place, following in self.read.items())


TestGates = GatesBesideLists.TestCase
